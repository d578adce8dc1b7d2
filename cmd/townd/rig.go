package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"townd/supervisor/agentcli"
	"townd/town"
)

func newRigCommand(std stdio) *cobra.Command {
	return group("rig", "The repositories of the town and how their work is done",
		newRigAddCommand(std), newRigLsCommand(std), newRigShowCommand(std), newRigRmCommand(std))
}

func newRigAddCommand(std stdio) *cobra.Command {
	var s town.RigSettings
	var gates, env []string
	var mode string
	cmd := &cobra.Command{
		Use:     "add RIG",
		Aliases: []string{"set"},
		Short:   "Make a rig, or change the settings that are given of one that is there",
		Example: `  townd rig add site --repo https://github.com/acme/site --cli claude --gate "make test"
  townd rig add site --max-agents 8 --merge pull-request`,
		Args:              exactly("a name for the rig"),
		ValidArgsFunction: completeRigs(std),
	}
	flags := cmd.Flags()
	flags.StringVar(&s.GitURL, "repo", "", "URL or path of its repository (default: origin of the one here)")
	flags.StringVar(&s.DefaultBranch, "default-branch", "", "branch that work goes into (default: the remote's own)")
	flags.StringVar(&s.CLI, "cli", "", "program of its agents (default "+town.DefaultCLI+")")
	flags.StringArrayVar(&s.Command, "command", nil, "with --cli command: the program and its arguments, one each")
	flags.StringVar(&s.Model, "model", "", "model of its agents, or fast, standard or strong")
	flags.IntVar(&s.MaxAgents, "max-agents", 0, fmt.Sprintf("agents at work at once (default %d)", town.DefaultRigAgents))
	flags.BoolVar(&s.Paused, "paused", false, "nobody takes its beads")
	flags.StringArrayVar(&gates, "gate", nil, "command that must pass before a merge; may be repeated")
	flags.StringVar(&mode, "merge", "", "merge, pull-request or none (default merge)")
	flags.StringVar(&s.Merge.Strategy, "strategy", "", "merge, squash or rebase (default merge)")
	flags.BoolVar(&s.Merge.DeleteBranch, "delete-branch", false, "delete merged branches")
	flags.BoolVar(&s.Merge.Review, "review", false, "a refinery agent looks at each branch first")
	flags.StringArrayVarP(&env, "env", "e", nil, "NAME=VALUE for its agents, or NAME for its value here; may be repeated")
	flags.Int64Var(&s.Limits.Turns, "turns", 0, "turns that one agent may take")
	flags.Int64Var(&s.Limits.Tokens, "tokens", 0, "tokens that one agent may use")
	flags.Float64Var(&s.Limits.CostUSD, "cost", 0, "US dollars that one agent may cost")
	flags.Float64Var(&s.Limits.Seconds, "seconds", 0, "time that one agent may take")
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (town.Rig, error) {
		if all := agentcli.Names(); s.CLI != "" && !slices.Contains(all, s.CLI) {
			return town.Rig{}, &exitError{code: exitUsage, err: fmt.Errorf("--cli must be one of %s, not %q", strings.Join(all, ", "), s.CLI)}
		}
		s.Merge.Mode = town.MergeMode(mode)
		for _, g := range gates {
			s.Gates = append(s.Gates, town.Gate{Command: g})
		}
		var err error
		if s.EnvVars, err = environment(env, std.getenv); err != nil {
			return town.Rig{}, err
		}
		settings := s
		if before, err := h.Rig(ctx, args[0]); err == nil {
			settings = before.RigSettings
			overlay(flags.Changed, &settings, &s)
		}
		if settings.GitURL, err = (&requestFlags{repo: settings.GitURL}).repository(ctx); err != nil {
			return town.Rig{}, err
		}
		rig, _, err := h.PutRig(ctx, args[0], settings)
		return rig, err
	}, func(w io.Writer, r town.Rig) error { return printRigs(w, []town.Rig{r}) })
}

// overlay sets in rig what was given.
func overlay(given func(string) bool, rig, s *town.RigSettings) {
	for flag, set := range map[string]func(){
		"repo":           func() { rig.GitURL = s.GitURL },
		"default-branch": func() { rig.DefaultBranch = s.DefaultBranch },
		"cli":            func() { rig.CLI = s.CLI },
		"command":        func() { rig.Command = s.Command },
		"model":          func() { rig.Model = s.Model },
		"max-agents":     func() { rig.MaxAgents = s.MaxAgents },
		"paused":         func() { rig.Paused = s.Paused },
		"gate":           func() { rig.Gates = s.Gates },
		"merge":          func() { rig.Merge.Mode = s.Merge.Mode },
		"strategy":       func() { rig.Merge.Strategy = s.Merge.Strategy },
		"delete-branch":  func() { rig.Merge.DeleteBranch = s.Merge.DeleteBranch },
		"review":         func() { rig.Merge.Review = s.Merge.Review },
		"turns":          func() { rig.Limits.Turns = s.Limits.Turns },
		"tokens":         func() { rig.Limits.Tokens = s.Limits.Tokens },
		"cost":           func() { rig.Limits.CostUSD = s.Limits.CostUSD },
		"seconds":        func() { rig.Limits.Seconds = s.Limits.Seconds },
		"env": func() {
			if rig.EnvVars == nil {
				rig.EnvVars = map[string]string{}
			}
			maps.Copy(rig.EnvVars, s.EnvVars)
		},
	} {
		if given(flag) {
			set()
		}
	}
}

func newRigLsCommand(std stdio) *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List the rigs", Args: cobra.NoArgs}
	return hallCommand(std, cmd, func(ctx context.Context, h hall, _ []string) (map[string][]town.Rig, error) {
		rigs, err := h.Rigs(ctx)
		return map[string][]town.Rig{"rigs": rigs}, err
	}, func(w io.Writer, v map[string][]town.Rig) error { return printRigs(w, v["rigs"]) })
}

func printRigs(w io.Writer, rigs []town.Rig) error {
	rows := [][]string{{"RIG", "REPOSITORY", "BRANCH", "CLI", "AGENTS", "MERGE", "GATES", ""}}
	for _, r := range rigs {
		var gates []string
		for _, g := range r.Gates {
			gates = append(gates, cmp.Or(g.Name, g.Command))
		}
		paused := ""
		if r.Paused {
			paused = "paused"
		}
		rows = append(rows, []string{
			r.RigID, r.GitURL, dash(r.DefaultBranch), cmp.Or(r.CLI, town.DefaultCLI), fmt.Sprint(cmp.Or(r.MaxAgents, town.DefaultRigAgents)),
			string(cmp.Or(r.Merge.Mode, town.MergeDirect)), clip(dash(strings.Join(gates, "; ")), 60), paused,
		})
	}
	return printTable(w, rows)
}

func newRigShowCommand(std stdio) *cobra.Command {
	cmd := &cobra.Command{Use: "show RIG", Short: "Show all settings of a rig", Args: exactly("a rig (townd rig ls)"), ValidArgsFunction: completeRigs(std)}
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (town.Rig, error) { return h.Rig(ctx, args[0]) },
		func(w io.Writer, r town.Rig) error {
			r.EnvVars = hidden(r.EnvVars)
			return printJSON(w, r)
		})
}

// hidden shows that a variable is set and not to what.
func hidden(env map[string]string) map[string]string {
	shown := make(map[string]string, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		shown[name] = "(set)"
	}
	return shown
}

func newRigRmCommand(std stdio) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm RIG", Short: "Forget a rig and its beads; its clone and remote stay", Args: exactly("a rig (townd rig ls)"),
		ValidArgsFunction: completeRigs(std),
	}
	return hallCommand(std, cmd, func(ctx context.Context, h hall, args []string) (string, error) {
		return args[0], h.DeleteRig(ctx, args[0])
	}, func(w io.Writer, id string) error {
		_, err := fmt.Fprintln(w, id, "forgotten")
		return err
	})
}
