package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"townd/prompts"
	"townd/supervisor/agentcli"
	"townd/supervisor/rules"
	"townd/town"
)

func newPromptCommand(std stdio) *cobra.Command {
	d := prompts.Data{
		Name: "NAME", Identity: "TOWN/RIG/NAME", AgentID: "AGENT", TownID: "TOWN", RigID: "RIG", Branch: "polecat/NAME/BEAD", DefaultBranch: "main",
		BeadID: "BEAD", Workdir: "WORKTREE", Report: true, Rules: rules.All().Sentences(),
	}
	cli := town.DefaultCLI
	var roles []string
	for _, r := range town.Roles() {
		roles = append(roles, string(r))
	}
	cmd := &cobra.Command{
		Use:   "prompt ROLE",
		Short: "Print the system prompt of a role",
		Long: `Print the system prompt that an agent of a role is given, one of ` + strings.Join(roles, ", ") + `.
What is not told stands in it as a word in capitals. No server is needed.`,
		Example:   "  townd prompt polecat\n  townd prompt mayor --cli claude --tools gt_sling,gt_list_beads",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: roles,
		RunE: func(_ *cobra.Command, args []string) error {
			program, err := agentcli.Lookup(cli)
			if err != nil {
				return err
			}
			d.ToolPrefix = program.ToolPrefix("gastown")
			text, err := prompts.Render(town.Role(args[0]), d)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(std.out, text)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&cli, "cli", cli, "agent program, whose names for tools are used: "+strings.Join(agentcli.Names(), ", "))
	f.StringVar(&d.Name, "name", d.Name, "the agent's name")
	f.StringVar(&d.RigID, "rig", d.RigID, "its project")
	f.StringVar(&d.Branch, "branch", d.Branch, "its branch")
	f.StringVar(&d.BeadID, "bead", d.BeadID, "its piece of work")
	f.StringSliceVar(&d.Tools, "tools", nil, "tools of the town that it has, as gt_done")
	return cmd
}
