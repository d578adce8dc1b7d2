package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"townd/api"
)

func newAgentsCommand(std stdio) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "List the agent programs, and which of them can be used here",
		Long: `List the agent programs that the town knows: which are installed where its server
runs, in which version, and what there is to do before an agent can use one. For the
agents themselves see townd ps.`,
		Args: cobra.NoArgs,
		RunE: withTown(std, func(ctx context.Context, r *remote, _ []string) error {
			clis, err := r.CLIs(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(std.out, api.CLIList{CLIs: clis})
			}
			return printTable(std.out, cliRows(clis))
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func cliRows(clis []api.CLI) [][]string {
	rows := [][]string{{"CLI", "VERSION", "TESTED", "INSTALLED", "CREDENTIAL", "TO DO"}}
	for _, c := range clis {
		rows = append(rows, []string{c.Name, orDash(c.Version), orDash(c.Tested), yesNo(c.Installed), yesNo(c.Credential), toDo(c)})
	}
	return rows
}

// toDo says what a person must do next so that agents can use the CLI, if anything.
func toDo(c api.CLI) string {
	switch {
	case !c.Installed:
		return c.Install
	case c.Error != "":
		return c.Error
	case !c.Credential:
		return "set " + keyOf(c.Name) + " for townd serve, or give an agent its key with --env"
	case !c.InRange:
		return fmt.Sprintf("works or not: tested with %s, which comes with: %s", c.Tested, c.Install)
	}
	return "-"
}

// keyOf names the settings of the server that hold a key for a model that the CLI
// speaks to.
func keyOf(cli string) string {
	switch cli {
	case "claude":
		return "ANTHROPIC_API_KEY or OPENROUTER_API_KEY"
	case "codex":
		return "OPENAI_API_KEY or OPENROUTER_API_KEY"
	case "gemini":
		return "GEMINI_API_KEY"
	}
	return "OPENROUTER_API_KEY or OPENAI_API_KEY"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
