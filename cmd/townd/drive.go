package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"townd/supervisor/driver"
)

func newDriveCommand(std stdio) *cobra.Command {
	o := driver.Options{In: std.in, Out: std.out}
	cmd := &cobra.Command{
		Use:    "drive CLI PROGRAM [ARG...]",
		Short:  "Be between the town and an agent program whose protocol is a conversation",
		Hidden: true,
		Args:   cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Program, o.Args = args[1], args[2:]
			code, err := driver.Run(cmd.Context(), args[0], o)
			if err == nil && code != 0 {
				err = fmt.Errorf("%s exited with code %d", args[0], code)
			}
			if err != nil {
				return &exitError{code: max(code, 1), err: err}
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows PROGRAM is its own
	cmd.Flags().StringVar(&o.Session, "session", "", "session to go on with")
	cmd.Flags().BoolVar(&o.Fork, "fork", false, "go on in a copy of the session")
	cmd.Flags().StringVar(&o.Model, "model", "", "model")
	cmd.Flags().StringVar(&o.Effort, "effort", "", "how hard the model thinks")
	cmd.Flags().StringVar(&o.SystemFile, "system-file", "", "file of the system prompt")
	return cmd
}
