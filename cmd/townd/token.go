package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newTokenCommand(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "token",
		Short: "Print the token of the town on this machine",
		Long: `Print the token of the town on this machine: $TOWND_TOKEN, else the one that its
server made. Clients elsewhere need it as TOWND_TOKEN.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			token := std.getenv("TOWND_TOKEN")
			if token == "" {
				var err error
				if token, err = readToken(homeOf(std.getenv)); err != nil {
					return fmt.Errorf("%w; townd serve makes it", err)
				}
			}
			fmt.Fprintln(std.out, token)
			return nil
		},
	}
}
