package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newRoot returns the command with every subcommand, connected to std.
func newRoot(std stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "townd",
		Short: "Run a town of coding agents, and talk to one",
		Long: `Townd runs coding agents: each on its own terminal, in its own git worktree.

"townd serve" is the server of a town. The other commands talk to one, at
$TOWND_URL (this machine's when unset) with the token $TOWND_TOKEN (that of
the town on this machine when unset). "townd try" shows all of it in a minute.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true, // run prints them
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(cmd, err)
	})
	root.AddGroup(
		&cobra.Group{ID: "work", Title: "Work:"},
		&cobra.Group{ID: "agents", Title: "Agents:"},
		&cobra.Group{ID: "watch", Title: "Watching:"},
		&cobra.Group{ID: "town", Title: "The town:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			wrapArgs(c)
			root.AddCommand(c)
		}
	}
	add("work", newRigCommand(std), newBeadCommand(std), newSlingCommand(std), newConvoyCommand(std), newAskCommand(std), newEscalationsCommand(std), newMailCommand(std))
	add("agents", newRunCommand(std), newStartCommand(std), newPsCommand(std), newMessageCommand(std), newStopCommand(std), newRmCommand(std), newReportCommand(std), newToolCommand(std))
	add("watch", newTopCommand(std), newAttachCommand(std), newLogsCommand(std), newScreenCommand(std), newPlayCommand(std), newDiffCommand(std), newArtifactsCommand(std), newEventsCommand(std), newShareCommand(std))
	add("town", newTownCommand(std), newTryCommand(std), newServeCommand(std), newKeeperCommand(std), newHealthCommand(std), newAgentsCommand(std), newPromptCommand(std), newTokenCommand(std))
	add("", newDemoAgentCommand(std), newDriveCommand(std), newHookCommand(std), newMCPCommand(std))
	root.SetCompletionCommandGroupID("town")
	root.SetHelpCommandGroupID("town")
	return root
}

// wrapArgs makes a command's complaint about its arguments a usage error.
func wrapArgs(c *cobra.Command) {
	check := c.Args
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError(cmd, err)
		}
		return nil
	}
}

func usageError(cmd *cobra.Command, err error) error {
	return &exitError{code: exitUsage, err: fmt.Errorf("%w\nusage: %s", err, cmd.UseLine())}
}

// agentArg wants one agent's id, agentArgs at least one.
func agentArg(_ *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return fmt.Errorf("give the id of one agent, not %d arguments; townd ps lists them", len(args))
}

func agentArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return nil
	}
	return errors.New("give the id of an agent; townd ps lists them")
}

// join is strings.Join of the arguments that make one text.
func join(args []string) string { return strings.Join(args, " ") }
