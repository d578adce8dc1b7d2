package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"townd/api"
	"townd/supervisor/agentcli"
)

// sample is the repository of `townd try`: a program with a failing test.
//
//go:embed sample
var sample embed.FS

// The first bead, and the rig it is of.
const (
	sampleRig   = "slug"
	sampleTitle = "sh test.sh fails"
	sampleTask  = "Find out why, fix slug.sh, run sh test.sh until it passes, commit, push your branch and hand it over."
	sampleTest  = "sh test.sh"
)

func newTryCommand(std stdio) *cobra.Command {
	t := &trial{std: std}
	programs := slices.DeleteFunc(agentcli.Names(), func(name string) bool { return name == "command" })
	cmd := &cobra.Command{
		Use:   "try",
		Short: "Show it all: a town for the moment, from a failing test to a merged fix",
		Long: `Start a town on this machine and give it a first piece of work: a small repository with
a failing test. It shows how an agent takes the work, what that does, and how the fix is
tested and merged, and then what to type in another terminal: more work, watching,
talking, stopping. Ctrl-C ends the town and removes everything it made.

The agent is the first program that is installed and for whose models the environment
has a key, else one built in that needs no model. Keys and model settings are those of
townd serve, as ANTHROPIC_API_KEY, OPENROUTER_API_KEY or LLM_PROVIDER; they stay with
the town, the agent gets none.`,
		Example: "  townd try\n  townd try --cli opencode",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if t.cli != "" && !slices.Contains(programs, t.cli) {
				return &exitError{code: exitUsage, err: fmt.Errorf("--cli must be one of %s, not %q", strings.Join(programs, ", "), t.cli)}
			}
			ctx, release := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			defer release()
			return t.run(ctx)
		},
	}
	cmd.Flags().StringVar(&t.cli, "cli", "", "agent program: "+strings.Join(programs, ", ")+" (default: see above)")
	_ = cmd.RegisterFlagCompletionFunc("cli", cobra.FixedCompletions(programs, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// trial is one run of `townd try`.
type trial struct {
	std    stdio
	cli    string // asked for, "" for the best there is
	home   string // temporary; everything the town makes is in it
	listen string
	r      *remote
	keeper *exec.Cmd
	ended  chan struct{} // closed at the keeper's end, of which endErr tells
	endErr error
}

func (t *trial) run(ctx context.Context) (err error) {
	if err := t.open(ctx); err != nil {
		return errors.Join(err, t.close())
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err = t.work(ctx); err == nil {
		t.invite()
		select {
		case <-ctx.Done():
		case <-t.ended:
			return fmt.Errorf("the town ended by itself: %w", t.endErr)
		}
	}
	if ctx.Err() != nil {
		return nil // Ctrl-C is how this ends
	}
	return err
}

// open makes the repository and starts a town.
func (t *trial) open(ctx context.Context) error {
	if err := t.address(); err != nil {
		return err
	}
	var err error
	if t.home, err = makeTrialHome(); err != nil {
		return err
	}
	if err := makeSample(ctx, t.remote()); err != nil {
		return err
	}
	t.say("a town for the moment in %s, at %s", t.home, urlOf(t.listen))
	return t.startTown(ctx)
}

// address settles where the town listens and that nobody else does. Settings that
// no server starts with are told here: the keeper would try for ever.
func (t *trial) address() error {
	var c Config
	if err := c.load(pflag.NewFlagSet("", pflag.ContinueOnError), c.settings(), t.std.getenv); err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	t.listen = c.Listen
	l, err := net.Listen("tcp", t.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program; choose another address: TOWND_LISTEN=127.0.0.1:8081 make run", t.listen)
	}
	if err != nil {
		return fmt.Errorf("TOWND_LISTEN: %w", err)
	}
	t.listen = l.Addr().String() // with the port that 0 became
	return l.Close()
}

// makeTrialHome makes a directory that the agents' users can pass through.
func makeTrialHome() (string, error) {
	parent := os.TempDir()
	if blockedPath(parent) != "" {
		parent = "/tmp"
	}
	home, err := os.MkdirTemp(parent, "townd-try-")
	if err != nil {
		return "", err
	}
	return home, os.Chmod(home, 0o711)
}

func (t *trial) remote() string { return filepath.Join(t.home, "slug.git") }

// makeSample makes the sample repository at dir, bare, as a remote.
func makeSample(ctx context.Context, dir string) error {
	work := dir + ".work"
	files, err := fs.Sub(sample, "sample")
	if err != nil {
		return err
	}
	if err := os.CopyFS(work, files); err != nil {
		return fmt.Errorf("write the sample repository: %w", err)
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", work},
		{"-C", work, "add", "-A"},
		{"-C", work, "-c", "user.name=townd", "-c", "user.email=townd@localhost", "commit", "-q", "-m", "slug: titles to addresses"},
		{"clone", "-q", "--bare", work, dir},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		// The person's own hooks, templates and signing have no part in this.
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TEMPLATE_DIR=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %s: %w", args[0], strings.TrimSpace(string(out)), err)
		}
	}
	return os.RemoveAll(work)
}

// startTown starts keeper and server as a container does, and waits until the
// town answers.
func (t *trial) startTown(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(t.log())
	if err != nil {
		return err
	}
	defer log.Close()
	t.keeper = exec.Command(self, "keeper", "--", self, "serve")
	t.keeper.Env = append(withoutSecrets(os.Environ()),
		"TOWND_HOME="+t.home, "TOWND_LISTEN="+t.listen, "TOWND_TOKEN=", "TOWND_GIT_PROTOCOLS=https,ssh,file")
	t.keeper.Env = append(t.keeper.Env, t.modelEnv()...)
	if os.Geteuid() == 0 {
		base, err := freeUsers(Config{Home: t.home, UIDCount: 100})
		if err != nil {
			return err
		}
		t.keeper.Env = append(t.keeper.Env, "TOWND_UID_COUNT=100", fmt.Sprintf("TOWND_UID_BASE=%d", base), fmt.Sprintf("TOWND_GID_BASE=%d", base))
	}
	t.keeper.Stdout, t.keeper.Stderr = log, log
	t.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for us: we end it in order
	if err := t.keeper.Start(); err != nil {
		return fmt.Errorf("start the town: %w", err)
	}
	t.ended = make(chan struct{})
	go func() { // close waits for it
		defer close(t.ended)
		t.endErr = t.keeper.Wait()
	}()
	return t.awaitTown(ctx)
}

// withoutSecrets leaves out what may be a credential: without root agents could
// read the server's environment, which so holds no more than it needs.
func withoutSecrets(env []string) []string {
	return slices.DeleteFunc(env, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.Contains(name, "KEY") || strings.Contains(name, "TOKEN") || strings.Contains(name, "SECRET") || strings.Contains(name, "PASSWORD")
	})
}

// modelEnv is what the environment says of model providers, for the town's gateway.
func (t *trial) modelEnv() []string {
	var env []string
	for _, s := range new(modelSettings).settings() {
		env = append(env, s.env+"="+t.std.getenv(s.env))
	}
	return env
}

func (t *trial) log() string { return filepath.Join(t.home, "server.log") }

// awaitTown waits until the town answers and connects to it.
func (t *trial) awaitTown(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond) // a socket that is listened on has no event
	defer tick.Stop()
	probe := api.New(urlOf(t.listen), "", &http.Client{Timeout: time.Second})
	for {
		select {
		case <-t.ended:
			log, _ := os.ReadFile(t.log()) // it explains the other error
			return fmt.Errorf("the town did not start: %w\n%s", t.endErr, log)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if _, err := probe.Health(ctx); err == nil {
			break
		}
	}
	outer := t.std.getenv
	t.std.getenv = func(name string) string {
		switch name {
		case "TOWND_HOME":
			return t.home
		case "TOWND_URL":
			return urlOf(t.listen)
		case "TOWND_TOKEN":
			return ""
		}
		return outer(name)
	}
	var err error
	t.r, err = connect(t.std)
	return err
}

// invite tells what to type next.
func (t *trial) invite() {
	program := t.program()
	t.say("the town goes on and waits for work. In another terminal:")
	fmt.Fprintf(t.std.out, `
  export TOWND_HOME=%s TOWND_URL=%s
  %s sling %s "write a haiku"    # more work
  %s town status                # who does what, and why
  %s bead ls                    # all work, and what became of it
  %s logs -f AGENT              # watch an agent; %s attach AGENT for one on a terminal
  kill -9 $(cat %s/server.lock)  # the server comes back; no agent notices

`, t.home, urlOf(t.listen), program, sampleRig, program, program, program, program, t.home)
	t.say("Ctrl-C ends the town and removes all of it")
}

// program is how to call ourselves from any directory.
func (t *trial) program() string {
	self, err := os.Executable()
	if err != nil {
		return "townd"
	}
	if found, err := exec.LookPath("townd"); err == nil && found == self {
		return "townd"
	}
	return self
}

// closePatience is how long a town may take beyond its own stop budget.
const closePatience = 10 * time.Second

// close ends the town and removes everything.
func (t *trial) close() error {
	var errs []error
	if t.ended != nil {
		p := newProgress(t.std.err, func() string { return "ending the town" })
		if err := t.keeper.Process.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
		select {
		case <-t.ended: // its exit code says how the server ended, which its log tells better
		case <-time.After(8*time.Second + closePatience):
			errs = append(errs, errors.New("the town did not end in time and was killed"), t.keeper.Process.Kill())
			<-t.ended
		}
		p.done()
	}
	if t.home != "" {
		if err := os.RemoveAll(t.home); err != nil {
			errs = append(errs, err)
		} else {
			t.say("ended; nothing is left of it")
		}
	}
	return errors.Join(errs...)
}

// say prints a line of our own among what agents print.
func (t *trial) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if terminalOf(t.std.out) != nil && t.std.getenv("NO_COLOR") == "" {
		line = cyan.paint("▸ ") + bold.paint(line)
	} else {
		line = "▸ " + line
	}
	fmt.Fprintln(t.std.out, line)
}
