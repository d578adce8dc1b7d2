package main

import (
	"fmt"
	"log/slog"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"townd/container"
	"townd/supervisor/keeper"
)

// keeperDir is where the keeper of the town in home listens.
func keeperDir(home string) string { return filepath.Join(home, "keeper") }

func newKeeperCommand(std stdio) *cobra.Command {
	var dir string
	budget := 8 * time.Second
	settings := []setting{{"stop-seconds", "TOWND_STOP_SECONDS", "time for ending every agent after SIGTERM", duration(&budget, time.Second, budget)}}
	cmd := &cobra.Command{
		Use:   "keeper [--dir DIR] [-- townd serve …]",
		Short: "Own the agents' terminals, so that they outlive the server",
		Long: `Own the agents' processes and terminals. Agents go on when the server is killed,
crashes or is upgraded; the next one finds them here.

With a command after -- the keeper runs it and starts it again whenever it ends: that
is the entry point of a container. SIGTERM ends the command, the agents and the keeper.
Without one it ends with its last agent and its last client; "townd serve" starts such
a keeper by itself.`,
		Args: commandArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := closeProcess(); err != nil { // its environment is the server's
				return err
			}
			if err := applyEnvironment(cmd.Flags(), settings, std.getenv); err != nil {
				return err
			}
			if dir == "" {
				dir = keeperDir(homeOf(std.getenv))
			}
			if len(args) > 0 {
				path, err := exec.LookPath(args[0])
				if err != nil {
					return fmt.Errorf("the server's program: %w", err)
				}
				if args[0], err = filepath.Abs(path); err != nil {
					return err
				}
			}
			ctx, release := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer release()
			return keeper.Serve(ctx, keeper.Config{
				Dir:        dir,
				Server:     args,
				StopBudget: budget,
				Log:        slog.New(container.NewRedactHandler(std.err, nil, container.NewSecrets())),
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory of the keeper's socket (default $TOWND_HOME/keeper)")
	addFlags(cmd.Flags(), settings)
	return cmd
}
