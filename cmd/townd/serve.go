package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"

	"townd/container"
	"townd/gitmgr"
	"townd/supervisor"
	"townd/town"
)

func newServeCommand(std stdio) *cobra.Command {
	var c Config
	settings := c.settings()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server of a town",
		Long: `Run the server of a town: the control API, and the lives of its agents.

SIGTERM or SIGINT stops every agent and ends, within TOWND_STOP_SECONDS; a second one
kills what is left at once. SIGHUP ends the server only. The agents also go on when the
server is killed or crashes, and the next one finds them.

Each setting is a flag or an environment variable; the flag wins. An empty variable
counts as unset. TOWND_TOKEN is read from the environment only.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.load(cmd.Flags(), settings, std.getenv); err != nil {
				return &exitError{code: exitUsage, err: err}
			}
			return serve(cmd.Context(), &c, std.err)
		},
	}
	addFlags(cmd.Flags(), settings)
	return cmd
}

// serve runs a town until it is told to end.
func serve(ctx context.Context, c *Config, logs io.Writer) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	secrets := container.NewSecrets()
	log := slog.New(container.NewRedactHandler(logs, &slog.HandlerOptions{Level: c.LogLevel}, secrets))
	if err := openHome(c.Home); err != nil {
		return err
	}
	lock, err := lockHome(c.Home)
	if err != nil {
		return err
	}
	defer lock.Close()
	token := c.Token
	if token == "" {
		if token, err = makeToken(c.Home); err != nil {
			return err
		}
	}
	listener, err := listen(c.Listen)
	if err != nil {
		return err
	}
	defer listener.Close() // again, where nothing came to serve on it
	if os.Geteuid() == 0 && c.UIDCount > 0 {
		claim, err := claimUsers(c)
		if err != nil {
			return err
		}
		defer claim.Close()
	}
	t, err := openTown(ctx, c, token, secrets, log)
	if err != nil {
		return err
	}
	log.Info("serving", "address", listener.Addr().String(), "home", c.Home, "version", version, "isolation", t.agents.Stats().Isolation)
	if dir := blockedPath(c.Home); dir != "" && t.agents.Stats().Isolation == "uid" {
		log.Error("agents' users cannot reach their worktrees: make this directory passable (chmod o+x) or choose another TOWND_HOME", "directory", dir)
	}
	return t.run(ctx, signals, listener)
}

func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use by another program: end that, or choose another address with TOWND_LISTEN", address)
	}
	if err != nil {
		return nil, fmt.Errorf("TOWND_LISTEN: %w", err)
	}
	return l, nil
}

// townServer is a running town.
type townServer struct {
	log    *slog.Logger
	budget time.Duration
	git    *gitmgr.Manager
	agents *supervisor.Supervisor
	face   *container.Server
}

// openTown wires the rooms of a town and adopts the agents that run already.
func openTown(ctx context.Context, c *Config, token string, secrets *container.Secrets, log *slog.Logger) (*townServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find our own program: %w", err)
	}
	forAgents, err := programForAgents(c.Home, self)
	if err != nil {
		return nil, err
	}
	metrics := container.NewMetrics()
	gitConfig := gitmgr.Config{
		Home: filepath.Join(c.Home, "rigs"), Protocols: c.GitProtocols, Log: log.With("room", "git"), Observe: metrics.Observe,
	}
	if os.Geteuid() == 0 && c.UIDCount > 0 {
		gitConfig.GIDBase = c.GIDBase
	}
	git, err := gitmgr.New(gitConfig)
	if err != nil {
		return nil, err
	}
	agents, err := supervisor.Open(ctx, supervisor.Config{
		Home:       c.Home,
		Git:        git,
		KeeperArgv: []string{self, "keeper", "--dir", keeperDir(c.Home)},
		Townd:      forAgents,
		MaxAgents:  c.MaxAgents,
		UIDBase:    c.UIDBase,
		UIDCount:   c.UIDCount,
		Env:        secrets.AddEnv,
		Retention:  supervisor.Retention{TotalBytes: c.TranscriptBytes, GzipAfter: c.GzipAfter, DeleteAfter: c.DeleteAfter},
		Log:        log,
	})
	if err != nil {
		return nil, multierror.Append(err, git.Close()).ErrorOrNil()
	}
	face := container.New(container.Config{
		Supervisor: agents, Token: token, Version: version, Home: c.Home, Loopback: loopbackOnly(c.Listen),
		Metrics: metrics, Secrets: secrets, Log: log,
	})
	return &townServer{log: log, budget: c.StopBudget, git: git, agents: agents, face: face}, nil
}

// loopbackOnly reports whether only this machine can reach address.
func loopbackOnly(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && isLoopback(host)
}

// errLeave ends a server that leaves its agents running.
var errLeave = errors.New("told to leave the agents running")

// run serves until a signal or the end of ctx, and then ends what is owed.
func (t *townServer) run(ctx context.Context, signals <-chan os.Signal, listener net.Listener) error {
	web := &http.Server{
		Handler:           t.face.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(t.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { served <- web.Serve(listener) }) // ends with Shutdown

	var why error
	select {
	case s := <-signals:
		t.log.Info("ending", "signal", s.String())
		if s == syscall.SIGHUP {
			why = errLeave
		}
	case <-ctx.Done():
		t.log.Info("ending", "cause", context.Cause(ctx).Error())
	case err := <-served:
		why = fmt.Errorf("serve: %w", err) // the agents go on: the next server finds them
	}
	var errs *multierror.Error
	if why == nil {
		errs = multierror.Append(errs, t.stopAgents(ctx, signals))
	} else if !errors.Is(why, errLeave) {
		errs = multierror.Append(errs, why)
	}
	errs = multierror.Append(errs, t.close(ctx, web))
	wg.Wait()
	t.log.Info("ended")
	return errs.ErrorOrNil()
}

// stopAgents ends every agent within the budget; another signal kills them at
// once.
func (t *townServer) stopAgents(ctx context.Context, signals <-chan os.Signal) error {
	// Agents are ended even though nobody waits for us any more: that is what the
	// signal asked for.
	owed, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.budget+10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- t.agents.Shutdown(owed, t.budget) }() // is waited for below
	for {
		select {
		case err := <-done:
			return err
		case <-signals:
			t.log.Info("killing agents")
			go t.kill(owed) // ends with owed at the latest
		}
	}
}

func (t *townServer) kill(ctx context.Context) {
	var wg sync.WaitGroup
	for _, a := range t.agents.Agents() {
		if a.Status.Live() {
			wg.Go(func() {
				if _, err := t.agents.Stop(ctx, a.AgentID, town.StopRequest{Signal: "SIGKILL"}); err != nil {
					t.log.Warn("not killed", "agent", a.AgentID, "error", err)
				}
			})
		}
	}
	wg.Wait()
}

// close lets go of everything, callers first. Viewers are told to come back.
func (t *townServer) close(ctx context.Context, web *http.Server) error {
	var errs *multierror.Error
	t.face.Close()
	// Calls under way may finish, within reason.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := web.Shutdown(last); err != nil {
		errs = multierror.Append(errs, web.Close())
	}
	return multierror.Append(errs, t.agents.Close(), t.git.Close()).ErrorOrNil()
}
