package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// playFlags say how a recording is played.
type playFlags struct {
	speed float64
	idle  time.Duration // the longest pause
	run   string
}

func newPlayCommand(std stdio) *cobra.Command {
	var f playFlags
	cmd := &cobra.Command{
		Use:   "play FILE|AGENT",
		Short: "Play a recording, or what an agent printed, as it was",
		Long: `Play a recording in asciicast v2 on this terminal, with its timing: a file, as
townd logs --cast writes it, or else what an agent printed. Ctrl-C ends it.`,
		Example: `  townd play toast
  townd play --speed 4 --idle 1s toast.cast`,
		Args:              exactly("a file or an agent"),
		ValidArgsFunction: completeAgents(std, anyAgent),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.speed <= 0 || f.idle <= 0 {
				return &exitError{code: exitUsage, err: errors.New("--speed and --idle must be above 0")}
			}
			ctx, cancel := untilTold(cmd.Context(), syscall.SIGINT)
			defer cancel()
			cmd.SetContext(ctx)
			if file, err := os.Open(args[0]); err == nil {
				defer file.Close()
				return play(ctx, file, std.out, f)
			}
			return withTown(std, func(ctx context.Context, r *remote, args []string) error {
				return playAgent(ctx, r, args[0], std.out, f)
			})(cmd, args)
		},
	}
	cmd.Flags().Float64Var(&f.speed, "speed", 1, "how many times as fast")
	cmd.Flags().DurationVar(&f.idle, "idle", 2*time.Second, "the longest pause")
	cmd.Flags().StringVar(&f.run, "run", "", "an earlier run of the agent, by its id")
	return cmd
}

// playAgent plays what an agent printed while it is still read.
func playAgent(ctx context.Context, r *remote, id string, out io.Writer, f playFlags) error {
	from, to := io.Pipe()
	read := make(chan error, 1)
	go func() { // ends with the recording, or when play reads no more
		err := r.Recording(ctx, id, f.run, to)
		_ = to.CloseWithError(err) // of a pipe it never fails
		read <- err
	}()
	err := play(ctx, from, out, f)
	_ = from.Close()
	if readErr := <-read; err == nil && !errors.Is(readErr, io.ErrClosedPipe) {
		err = readErr
	}
	return err
}

// play writes what an asciicast v2 printed, with its pauses.
func play(ctx context.Context, cast io.Reader, out io.Writer, f playFlags) error {
	in := bufio.NewReader(cast)
	var head struct{ Version int }
	line, err := in.ReadBytes('\n')
	if err := json.Unmarshal(line, &head); err != nil || head.Version != 2 {
		return errors.New("this is no recording in asciicast v2; townd logs --cast AGENT makes one")
	}
	defer fmt.Fprint(out, terminalReset+"\r\n")
	screen := onScreen(out)
	shown := 0.0 // seconds
	for err == nil {
		if line, err = in.ReadBytes('\n'); len(line) < 2 {
			continue
		}
		var at float64
		var kind, data string
		if err := json.Unmarshal(line, &[]any{&at, &kind, &data}); err != nil {
			return fmt.Errorf("read the recording after %.1f s: %w", shown, err)
		}
		if kind != "o" {
			continue
		}
		if err := pause(ctx, min(time.Duration((at-shown)/f.speed*float64(time.Second)), f.idle)); err != nil {
			return nil //nolint:nilerr // Ctrl-C is how it is ended
		}
		shown = at
		if _, err := io.WriteString(screen, data); err != nil {
			return err
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read the recording: %w", err)
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
