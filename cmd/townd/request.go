package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"townd/gitmgr"
	"townd/supervisor/agentcli"
	"townd/town"
)

// requestFlags are the flags of start and run: few are needed, the rest is made
// from them.
type requestFlags struct {
	req        town.StartRequest
	repo       string
	promptFile string
	systemFile string
	env        []string
	limitTime  time.Duration
	limitIdle  time.Duration
}

func (f *requestFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.repo, "repo", "", "URL of the repository (default: origin of the repository here)")
	flags.StringVarP(&f.req.Prompt, "prompt", "p", "", "what to do")
	flags.StringVar(&f.promptFile, "prompt-file", "", "file that says what to do, - for standard input")
	flags.StringVar(&f.req.CLI, "cli", "", "agent program: "+strings.Join(agentcli.Names(), ", ")+" (default "+town.DefaultCLI+", or command when one is given)")
	flags.StringVarP(&f.req.Model, "model", "m", "", "model, as the agent program names it")
	flags.StringVar(&f.req.Name, "name", "", "name of the agent (default: one that is free)")
	flags.StringVar(&f.req.AgentID, "id", "", "id of the agent (default: made from the name)")
	flags.StringVar(&f.req.RigID, "rig", "", "id of the rig, the town's copy of the repository (default: made from the URL)")
	flags.StringVar(&f.req.TownID, "town", "", "id of the town (default: $TOWND_TOWN_ID, else local)")
	flags.StringVar((*string)(&f.req.Role), "role", string(town.RolePolecat), "role: mayor, polecat, refinery, witness or triage")
	flags.StringVarP(&f.req.Branch, "branch", "b", "", "branch to work on (default: made from the name)")
	flags.StringVar(&f.req.StartPoint, "from", "", "branch or commit to start from (default: the repository's default branch)")
	flags.StringVar(&f.req.BeadID, "bead", "", "id of the piece of work")
	flags.StringVar(&f.systemFile, "system-prompt-file", "", "file with a system prompt instead of the role's own")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "environment variable NAME=VALUE, or NAME for its value here (repeat)")
	flags.BoolVar(&f.req.Resume, "resume", false, "go on with the earlier session of this agent")
	flags.BoolVar(&f.req.Fork, "fork", false, "with --resume: in a copy of that session")
	flags.StringVar((*string)(&f.req.Effort), "effort", "", "how hard the model thinks: low, medium, high, xhigh or max")
	flags.StringVar((*string)(&f.req.Restart), "restart", "", "when its program fails: never or on-failure (default never)")
	flags.DurationVar(&f.limitTime, "max-time", 0, "stop it after so long (0: never)")
	flags.DurationVar(&f.limitIdle, "max-idle", 0, "stop it after so long without output (0: never)")
	flags.Int64Var(&f.req.Limits.MemoryBytes, "max-memory", 0, "stop it when its processes hold more bytes (0: no limit)")
	flags.IntVar(&f.req.Limits.Processes, "max-processes", 0, "stop it when it has more processes (0: no limit)")
	flags.Int64Var(&f.req.Limits.Turns, "max-turns", 0, "stop it after so many turns (0: no limit)")
	flags.Int64Var(&f.req.Limits.Tokens, "max-tokens", 0, "stop it when it has used so many tokens (0: no limit)")
	flags.Float64Var(&f.req.Limits.CostUSD, "max-cost", 0, "stop it when it has cost so many US dollars (0: no limit)")
	f.complete(cmd)
}

func (f *requestFlags) complete(cmd *cobra.Command) {
	fixed := func(flag string, choices ...string) {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
	}
	fixed("cli", agentcli.Names()...)
	fixed("restart", string(town.RestartNever), string(town.RestartOnFailure))
	var roles []string
	for _, r := range town.Roles() {
		roles = append(roles, string(r))
	}
	fixed("role", roles...)
}

// request returns the start request that the flags and the command after --
// make, ready to be sent. taken are the ids that are in use.
func (f *requestFlags) request(ctx context.Context, std stdio, command []string, taken []town.Agent) (town.StartRequest, error) {
	req := f.req
	req.Command = command
	if req.CLI == "" && len(command) > 0 {
		req.CLI = "command"
	}
	if err := f.texts(std, &req); err != nil {
		return req, err
	}
	var err error
	if req.GitURL, err = f.repository(ctx); err != nil {
		return req, err
	}
	if req.EnvVars, err = environment(f.env, std.getenv); err != nil {
		return req, err
	}
	req.Limits.Seconds, req.Limits.IdleSeconds = f.limitTime.Seconds(), f.limitIdle.Seconds()
	req.TownID = cmp.Or(req.TownID, std.getenv("TOWND_TOWN_ID"), defaultTown)
	req.RigID = cmp.Or(req.RigID, rigOf(req.GitURL))
	req.Name = cmp.Or(req.Name, freeName(taken))
	req.AgentID = cmp.Or(req.AgentID, slug(req.Name))
	req.Identity = cmp.Or(req.Identity, fmt.Sprintf("%s-%s-%s", req.Name, req.Role, req.RigID))
	if req.Branch == "" {
		id := town.NewID(time.Now())
		req.Branch = gitmgr.BranchName(slug(req.Name), cmp.Or(req.BeadID, id[len(id)-8:]))
	}
	if out := terminalOf(std.out); out != nil {
		if cols, rows, err := term.GetSize(int(out.Fd())); err == nil && cols > 0 && rows > 0 {
			req.Cols, req.Rows = uint16(cols), uint16(rows)
		}
	}
	return req, req.Validate()
}

// texts reads the prompts that are given as files.
func (f *requestFlags) texts(std stdio, req *town.StartRequest) error {
	if f.promptFile != "" && req.Prompt != "" {
		return errors.New("give --prompt or --prompt-file, not both")
	}
	for _, t := range []struct {
		file string
		text *string
	}{{f.promptFile, &req.Prompt}, {f.systemFile, &req.SystemPrompt}} {
		if t.file == "" {
			continue
		}
		b, err := readFile(std, t.file)
		if err != nil {
			return err
		}
		*t.text = string(b)
	}
	return nil
}

func readFile(std stdio, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(std.in)
	}
	return os.ReadFile(name)
}

// repository returns the URL of --repo, else of origin here. A path here becomes
// a file URL.
func (f *requestFlags) repository(ctx context.Context) (string, error) {
	if f.repo == "" {
		out, err := exec.CommandContext(ctx, "git", "remote", "get-url", "origin").Output()
		if err != nil {
			return "", errors.New("give --repo, the URL of the repository: there is no repository with an origin here")
		}
		return strings.TrimSpace(string(out)), nil
	}
	if path.IsAbs(f.repo) {
		return (&url.URL{Scheme: "file", Path: f.repo}).String(), nil
	}
	return f.repo, nil
}

// environment returns NAME=VALUE entries as a map; NAME alone is NAME's value here.
func environment(entries []string, getenv func(string) string) (map[string]string, error) {
	vars := make(map[string]string)
	for _, entry := range entries {
		name, value, given := strings.Cut(entry, "=")
		if name == "" {
			return nil, fmt.Errorf("--env %q: give NAME=VALUE", entry)
		}
		if !given {
			if value = getenv(name); value == "" {
				return nil, fmt.Errorf("--env %s: it is not set here; give %s=VALUE", name, name)
			}
		}
		vars[name] = value
	}
	return vars, nil
}

// rigOf makes a rig's id from its repository's URL: github.com/acme/site.git is site.
func rigOf(repo string) string {
	if plain, err := url.PathUnescape(repo); err == nil {
		repo = plain
	}
	repo = strings.TrimSuffix(strings.TrimRight(repo, "/"), ".git")
	return slug(repo[strings.LastIndexAny(repo, "/:")+1:])
}

// names are what agents are called that are not named.
var names = []string{
	"amber", "birch", "cedar", "dusty", "ember", "flint", "ginger", "hazel", "indigo", "juniper",
	"kestrel", "linden", "maple", "nettle", "onyx", "pepper", "quartz", "rusty", "sorrel", "toast",
}

// freeName returns a name that no agent has, with a number when all are taken.
func freeName(taken []town.Agent) string {
	used := make(map[string]bool)
	for _, a := range taken {
		used[a.AgentID], used[a.Name] = true, true
	}
	for round := 1; ; round++ {
		for _, i := range rand.Perm(len(names)) {
			name := names[i]
			if round > 1 {
				name = fmt.Sprintf("%s%d", name, round)
			}
			if !used[name] {
				return name
			}
		}
	}
}

// commandArgs lets arguments through only after --: they are a program's.
func commandArgs(cmd *cobra.Command, args []string) error {
	if dash := cmd.ArgsLenAtDash(); len(args) > 0 && dash != 0 {
		return fmt.Errorf("unknown argument %q: a program and its arguments come after --", args[0])
	}
	return nil
}
