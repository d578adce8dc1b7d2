package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"townd/town"
)

var reportStates = []string{string(town.ReasonDone), string(town.ReasonBlocked), string(town.ReasonWaiting)}

func newReportCommand(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "report done|blocked|waiting [TEXT…]",
		Short: "Say, as an agent, what became of your work",
		Long: `Say, as an agent, what became of your work: it is done, you are blocked and cannot
go on, or you wait for something that is under way. Works in the shell of an agent only.

The end of a turn says none of these.`,
		Example: `  townd report done "the flaky test is fixed, see the last commit"
  townd report blocked "the schema of invoices is not in this repository"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || !slices.Contains(reportStates, args[0]) {
				return errors.New("say done, blocked or waiting, and then why")
			}
			return nil
		},
		ValidArgs: reportStates,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := agentClient(std)
			if err != nil {
				return err
			}
			err = client.Report(cmd.Context(), town.Report{State: town.Reason(args[0]), Text: join(args[1:])})
			if errors.Is(err, town.ErrUnauthorized) {
				return fmt.Errorf("the town knows no living agent by this %s", capabilityVariable)
			}
			return err
		},
	}
}
