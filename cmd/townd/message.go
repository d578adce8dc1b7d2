package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"townd/api"
	"townd/town"
)

func newMessageCommand(std stdio) *cobra.Command {
	var deliver, key string
	cmd := &cobra.Command{
		Use:     "message AGENT TEXT…",
		Aliases: []string{"msg"},
		Short:   "Say something to an agent (- reads standard input)",
		Long: `Say something to an agent.

To an agent CLI it is the next thing its user says. Into the terminal of a command
it is typed, with Enter after it. An agent that has ended to wait for an answer is
started again with it.`,
		Example: `  townd message toast "also update the README"
  git log -3 | townd message toast -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("give an agent's id and what to say to it (- for standard input)")
			}
			return nil
		},
		ValidArgsFunction: completeAgents(std, liveAgent),
		RunE: withTown(std, func(ctx context.Context, r *remote, args []string) error {
			text := join(args[1:])
			if text == "-" {
				b, err := io.ReadAll(io.LimitReader(std.in, town.MaxPromptBytes+1))
				if err != nil {
					return fmt.Errorf("read standard input: %w", err)
				}
				text = strings.TrimRight(string(b), "\n")
			}
			if key == "" {
				key = town.NewID(time.Now()) // the client tries again under the same key
			}
			id, err := r.Message(ctx, args[0], town.MessageRequest{Prompt: text, Deliver: town.Delivery(deliver)}, key)
			if errors.Is(err, town.ErrConflict) { // it has ended; perhaps only to wait for this
				id, err = r.hall.Nudge(api.WithKey(ctx, key), args[0], api.NudgeRequest{Message: text})
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(std.out, cmp.Or(id, "it goes on with that"))
			return nil
		}),
	}
	cmd.Flags().StringVar(&deliver, "deliver", "", "when: now (interrupts), turn-end or idle (default turn-end)")
	cmd.Flags().StringVar(&key, "key", "", "idempotency key: the same key again sends nothing")
	_ = cmd.RegisterFlagCompletionFunc("deliver", cobra.FixedCompletions([]string{"now", "turn-end", "idle"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
