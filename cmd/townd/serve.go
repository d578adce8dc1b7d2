package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"

	"townd/container"
	"townd/coordinator"
	"townd/coordinator/tools"
	"townd/gitmgr"
	"townd/gitmgr/forge"
	"townd/llm"
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
	if err := closeProcess(); err != nil {
		return err
	}
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
	t, err := openTown(ctx, c, listener.Addr(), token, secrets, log)
	if err != nil {
		return err
	}
	log.Info("serving", "address", listener.Addr().String(), "home", c.Home, "version", version, "isolation", t.agents.Stats().Isolation)
	if dir := blockedPath(c.Home); dir != "" && t.agents.Stats().Isolation == "uid" {
		log.Error("agents' users cannot reach their worktrees: make this directory passable (chmod o+x) or choose another TOWND_HOME", "directory", dir)
	}
	if err := keepBallast(c.Home); err != nil {
		log.Warn("no disk is laid by for a start on a full one", "error", err)
	}
	t.agents.PrepareRigs(c.Git.Repos)
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
	models *llm.Gateway
	probe  *llm.Probe // nil where none is set
	hall   *townHall  // nil where the coordinator is elsewhere
	link   *coordinator.Link
	agents *supervisor.Supervisor
	socket *tools.Server
	face   *container.Server
}

// openTown wires the rooms of a town that is reached at address, and adopts the
// agents that run already.
func openTown(ctx context.Context, c *Config, address net.Addr, token string, secrets *container.Secrets, log *slog.Logger) (_ *townServer, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find our own program: %w", err)
	}
	forAgents, err := programForAgents(c.Home, self)
	if err != nil {
		return nil, err
	}
	metrics := container.NewMetrics()
	t := &townServer{log: log, budget: c.StopBudget}
	defer func() {
		if err != nil {
			err = multierror.Append(err, t.closeRooms()).ErrorOrNil()
		}
	}()
	tokens := newGitTokens(c.Git, secrets)
	if t.git, err = openGit(c, tokens, metrics, log); err != nil {
		return nil, err
	}
	if tokens.app, err = c.Git.App.open(t.git.HTTPClient(), func(token string) { secrets.Add(token) }); err != nil {
		return nil, err
	}
	if t.models, err = openModels(c, address, secrets, log); err != nil {
		return nil, err
	}
	if t.hall, err = withBallast(c.Home, func() (*townHall, error) { return openTownHall(ctx, c, token, secrets, log) }); err != nil {
		return nil, err
	}
	if t.link, err = withBallast(c.Home, func() (*coordinator.Link, error) {
		return openCoordinator(ctx, c, token, t.hall.handlerOf(), secrets, log)
	}); err != nil {
		return nil, err
	}
	socket := filepath.Join(c.Home, "agents.sock")
	if t.agents, err = supervisor.Open(ctx, supervisor.Config{
		Home:            c.Home,
		Git:             t.git,
		KeeperArgv:      []string{self, "keeper", "--dir", keeperDir(c.Home)},
		Townd:           forAgents,
		MaxAgents:       c.MaxAgents,
		UIDBase:         c.UIDBase,
		UIDCount:        c.UIDCount,
		Env:             secrets.AddEnv,
		Models:          t.models,
		GitProxy:        "http://" + forThisMachine(address.String()),
		PushCheckpoints: c.Git.Push,
		Author:          c.Git.Author,
		PoolSize:        c.Git.Pool,
		Socket:          socket,
		ProjectHooks:    c.ProjectHooks,
		Rules:           c.Rules,
		Tools:           tools.Names,
		ToolUsed:        metrics.ToolUsed,
		Retention:       supervisor.Retention{TotalBytes: c.TranscriptBytes, GzipAfter: c.GzipAfter, DeleteAfter: c.DeleteAfter},
		Housekeeping:    c.House.Housekeeping,
		Reports:         t.link,
		Log:             log,
	}); err != nil {
		return nil, err
	}
	if t.socket, err = tools.New(tools.Config{
		Path: socket, Agents: t.agents, Desk: openDesk(c, t.link, t.agents, t.hall.handlerOf(), log.With("room", "tools")), Log: log.With("room", "tools"),
	}); err != nil {
		return nil, err
	}
	warnings, err := warningsOf(c, log)
	if err != nil {
		return nil, err
	}
	shares, warning, err := container.OpenShares(filepath.Join(c.Home, "shares.json"), c.ShareFor, log)
	if err != nil {
		return nil, err
	}
	if warning != "" {
		warnings = append(warnings, warning)
	}
	if c.Models.QuotaProbe != "" {
		t.probe = llm.StartProbe(c.Models.QuotaProbe, secrets.Mask, log.With("room", "llm"))
	}
	t.face = container.New(container.Config{
		Supervisor: t.agents, Models: t.models, QuotaProbe: t.probe, Git: t.git, SetGitToken: tokens.set, TownID: c.Coordinator.TownID, Token: token, Version: version, Home: c.Home, Loopback: loopbackOnly(c.Listen),
		PullRequests:  c.Git.proposals(forge.ProposalsConfig{Git: t.git, Merge: t.agents.Merge}, tokens),
		ByPullRequest: c.Git.byPullRequest,
		Metrics:       metrics, Secrets: secrets, Log: log, Warnings: warnings,
		Shares: shares, PublicURL: c.PublicURL,
		Coordinator: linkFace{t.link, t.hall != nil}, Hall: t.hall.handlerOf(),
	})
	t.link.Start(&linkTown{agents: t.agents, face: t.face, token: token, log: log})
	if t.hall != nil {
		t.hall.start(ctx, t.face.Handler(), token, c.Coordinator.Polecats)
	}
	return t, nil
}

// warningsOf says and logs what people should know of the place they gave the town.
func warningsOf(c *Config, log *slog.Logger) ([]string, error) {
	warning, err := homeWarning(c.Home)
	if warning == "" || err != nil {
		return nil, err
	}
	log.Warn("home is not on a real disk", "home", c.Home, "warning", warning)
	return []string{warning}, nil
}

func openGit(c *Config, tokens *gitTokens, metrics *container.Metrics, log *slog.Logger) (*gitmgr.Manager, error) {
	key, hosts, err := c.Git.SSH.read()
	if err != nil {
		return nil, err
	}
	config := gitmgr.Config{
		Home: filepath.Join(c.Home, "rigs"), Protocols: c.GitProtocols, Log: log.With("room", "git"), Observe: metrics.Observe,
		Credential: tokens.credential, Refused: tokens.refused, SSHKey: key, KnownHosts: hosts,
		PublicOnly: c.Git.PublicOnly, AllowHosts: c.Git.AllowHosts,
	}
	if os.Geteuid() == 0 && c.UIDCount > 0 {
		config.GIDBase = c.GIDBase
	}
	return gitmgr.New(config)
}

// openModels makes the gateway to model providers, whose keys stay in it.
func openModels(c *Config, address net.Addr, secrets *container.Secrets, log *slog.Logger) (*llm.Gateway, error) {
	config, err := c.Models.config()
	if err != nil {
		return nil, err
	}
	config.URL, config.Log = "http://"+forThisMachine(address.String()), log.With("room", "llm")
	secrets.Add(config.Secrets()...)
	return llm.New(config)
}

// forThisMachine is an address to be reached at from this machine: that of every
// interface is no address to dial everywhere.
func forThisMachine(address string) string {
	host, port, err := net.SplitHostPort(address)
	if addr, parseErr := netip.ParseAddr(host); err != nil || parseErr != nil || !addr.IsUnspecified() {
		return address
	}
	return net.JoinHostPort("127.0.0.1", port)
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
		endBy := time.Now().Add(t.budget)
		errs = multierror.Append(errs, t.stopAgents(ctx, signals))
		t.lastReports(ctx, time.Until(endBy))
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

// lastReports gives the reports of the agents' ends what is left of the budget to
// arrive, 1 s at least and 5 at most: the disk that keeps them may go with this machine.
func (t *townServer) lastReports(ctx context.Context, left time.Duration) {
	// Owed as stopAgents is; short, for whoever stops us counts the seconds.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(max(left, time.Second), 5*time.Second))
	defer cancel()
	if err := t.link.Flush(last); err != nil {
		t.log.Warn("reports are left for the next server", "error", err)
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
	if t.hall != nil {
		t.hall.endWaits()
	}
	t.face.Close()
	// Calls under way may finish, within reason.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := web.Shutdown(last); err != nil {
		errs = multierror.Append(errs, web.Close())
	}
	return multierror.Append(errs, t.closeRooms()).ErrorOrNil()
}

// closeRooms closes the rooms that are open, those that ask others first.
func (t *townServer) closeRooms() error {
	var errs *multierror.Error
	if t.link != nil { // orders first, for they ask agents
		t.link.Stop()
	}
	if t.socket != nil {
		errs = multierror.Append(errs, t.socket.Close())
	}
	if t.models != nil {
		errs = multierror.Append(errs, t.models.Close())
	}
	if t.probe != nil {
		t.probe.Close()
	}
	if t.agents != nil {
		errs = multierror.Append(errs, t.agents.Close())
	}
	if t.link != nil { // takes the agents' last reports
		errs = multierror.Append(errs, t.link.Close())
	}
	if t.hall != nil {
		errs = multierror.Append(errs, t.hall.close())
	}
	if t.git != nil {
		errs = multierror.Append(errs, t.git.Close())
	}
	return errs.ErrorOrNil()
}
