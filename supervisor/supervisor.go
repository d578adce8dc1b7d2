// Package supervisor owns the lives of a town's agents: their states, starts and
// stops, turns, limits and restarts. Each agent has one goroutine that owns its
// state; everything else asks that goroutine or reads the snapshot it published.
//
// The processes themselves belong to the keeper, which outlives this package's
// process: Open adopts what is running. Worktrees come from gitmgr, what is run
// from agentcli. The supervisor knows no HTTP and no coordinator.
package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-multierror"

	"townd/gitmgr"
	"townd/supervisor/rules"
	"townd/town"
)

// Config is what a Supervisor needs. Home, Git, KeeperArgv and Log are required.
type Config struct {
	Home         string          // $TOWND_HOME; agents/, runs/ and keeper/ below it are ours
	Git          *gitmgr.Manager // makes the worktrees
	KeeperArgv   []string        // starts a keeper for Home when none runs
	Townd        string          // our own program, for the demo agent
	MaxAgents    int             // live at once; 0 means DefaultMaxAgents
	UIDBase      uint32          // first user id for agents, used when the keeper can isolate by user
	UIDCount     uint32          // how many there are; 0 means no isolation
	Retention    Retention
	Housekeeping Housekeeping
	Models       Models          // nil: agents reach models with their callers' credentials only
	GitProxy     string          // base URL of the town's git proxy for agents, as http://127.0.0.1:8080; "" for none
	Socket       string          // of the agents, absolute; CLIs' hooks are set up when it is set
	ProjectHooks map[string]bool // rigs whose repositories' own hooks and settings may run
	Rules        rules.Set       // what agents may not do, judged before each call of a tool
	// Tools, if set, names the town's tools of a role. CLIs get them by the server
	// `townd mcp`; needs Socket.
	Tools func(town.Role) []string
	// ToolUsed, if set, is told of every call of a tool that agents' CLIs tell of.
	ToolUsed func(tool string, ok bool, took time.Duration)
	Reports  Reports // what a coordinator is to be told; may be nil
	// Env, if set, is told of the environment that callers gave to agents adopted
	// from an earlier process, so that what is secret in it can be kept out of logs.
	Env func(map[string]string)
	Log *slog.Logger

	CheckpointEvery time.Duration // a live agent's worktree is saved so often, when its program has printed something; 0 means a minute
	PushCheckpoints bool          // what is saved is brought to the rig's remote, too

	ArtifactBytes int64 // of an agent's files that are kept of a run; 0 keeps none but empty ones

	Author   gitmgr.Identity // of agents' commits and of merges, if not who makes them
	PoolSize int             // worktrees that are kept ready for the next starts, in each rig; 0 for none
}

// Retention says what happens to the transcripts of runs that have ended.
type Retention struct {
	SegmentBytes int64         // 0 means the transcript package's default
	TotalBytes   int64         // bound of one run's transcript; 0 means the default
	GzipAfter    time.Duration // compress full segments last written so long ago; 0 never
	DeleteAfter  time.Duration // delete the transcripts of runs over for so long; 0 never
}

// DefaultMaxAgents bounds the live agents of a town that sets no bound.
const DefaultMaxAgents = 256

// Supervisor is a town's agents. Safe for concurrent use.
type Supervisor struct {
	cfg    Config
	log    *slog.Logger
	ctx    context.Context // ends with Close; the only stored context
	stop   context.CancelCauseFunc
	wg     sync.WaitGroup
	gate   chan struct{} // holds a token per spawn under way
	keeper *keeperLink
	users  *users
	strays map[string]bool // runs of no agent that are being ended; followKeeper's own

	mu           sync.Mutex
	agents       map[string]*agent
	runs         map[string]*agent        // by run id: whom the keeper's news is for
	capabilities map[capabilityKey]*agent // of live agents
	branches     map[string]string        // by branchKey: the id of the agent that holds it
	admitted     int                      // agents that are live or about to be
	draining     bool                     // set by Drain and Shutdown: nothing starts any more
	endBy        time.Time                // set by Shutdown: when everything has to be over

	rigs        rigs
	pools       pools
	rigSettings rigSettings
	disk        disk
	saveGate    chan struct{} // holds a token per worktree that is being saved
	counters    counters
	versions    versions // of the installed CLIs
}

// counters are figures for Stats.
type counters struct {
	starts      atomic.Int64
	escalations atomic.Int64
	mu          sync.Mutex
	stops       map[town.Reason]int64
}

// Stats are figures about the whole town.
type Stats struct {
	Agents      map[town.Status]int
	MaxAgents   int
	Starts      int64                 // programs started since this process began
	Stops       map[town.Reason]int64 // ends since this process began, by reason
	Escalations int64                 // ends that needed SIGKILL since this process began
	Isolation   string                // "uid" or "none"
	KillRung    string                // how trees are ended: "uid" or "subreaper"
	KeeperPID   int                   // 0 while there is none
	Draining    bool
	Disk        Disk
	Degraded    []string // what is wrong now, for /health; empty when all is well
}

// Output is where the output of an agent's newest run is.
type Output struct {
	RunID      string
	Dir        string // of the transcript
	Structured bool   // its bytes are a protocol, not a terminal's
	Status     town.Status
	Feed       *Feed
}

// Open starts or finds the keeper of c.Home and adopts the agents that are
// running, those of an earlier process included. Close releases it.
func Open(ctx context.Context, c Config) (*Supervisor, error) {
	if c.MaxAgents == 0 {
		c.MaxAgents = DefaultMaxAgents
	}
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = checkpointEvery
	}
	for dir, mode := range map[string]os.FileMode{"agents": 0o711, "runs": 0o700, "keeper": 0o700} {
		if err := makeDir(filepath.Join(c.Home, dir), mode); err != nil {
			return nil, fmt.Errorf("open supervisor: %w", err)
		}
	}
	s := &Supervisor{
		cfg:    c,
		log:    c.Log,
		gate:   make(chan struct{}, 2*runtime.NumCPU()), // limits.md section 1: more in flight only queues
		strays: make(map[string]bool),
		agents: make(map[string]*agent), runs: make(map[string]*agent), branches: make(map[string]string),
		capabilities: make(map[capabilityKey]*agent), saveGate: make(chan struct{}, 2*runtime.NumCPU()), pools: newPools(),
	}
	s.counters.stops = make(map[town.Reason]int64)
	s.ctx, s.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	s.keeper = &keeperLink{dir: filepath.Join(c.Home, "keeper"), argv: c.KeeperArgv, log: c.Log}
	if err := s.keeper.connect(ctx); err != nil {
		s.stop(err)
		return nil, err
	}
	if err := s.loadRigs(); err != nil {
		return nil, multierror.Append(err, s.Close()).ErrorOrNil()
	}
	s.users = newUsers(c.UIDBase, c.UIDCount, s.keeper.rung() == "uid")
	err := s.adopt(ctx)
	var surplus map[string][]gitmgr.Owner
	if err == nil {
		surplus, err = s.adoptPools()
	}
	if err != nil {
		return nil, multierror.Append(err, s.Close()).ErrorOrNil()
	}
	s.wg.Go(func() { s.keepPools(surplus) })
	s.wg.Go(s.followKeeper)
	s.wg.Go(s.sampleTrees)
	s.wg.Go(s.keepTranscripts)
	s.wg.Go(s.saveOnTime)
	s.wg.Go(s.keepHouse)
	return s, nil
}

// Close lets go of the agents, which go on running under their keeper, and
// waits for what this process still did for them.
func (s *Supervisor) Close() error {
	s.stop(fmt.Errorf("supervisor closed: %w", town.ErrUnavailable))
	s.wg.Wait()
	var errs *multierror.Error
	for _, a := range s.all() {
		errs = multierror.Append(errs, a.events.close())
	}
	s.keeper.close()
	return errs.ErrorOrNil()
}

// Shutdown tells the coordinator that the town ends, saves the worktrees of all agents while they still run, ends every agent,
// each with SIGTERM and what of budget is left before SIGKILL, saves what they
// changed since, and then ends the keeper if it was ours to end. Starts are refused
// from then on. Call Close afterwards.
func (s *Supervisor) Shutdown(ctx context.Context, budget time.Duration) error {
	endBy := time.Now().Add(budget)
	s.mu.Lock()
	s.draining, s.endBy = true, endBy
	s.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { s.tellDraining(ctx, budget/4) })
	s.saveUntil(ctx, time.Now().Add(budget/2))
	wg.Wait() // before the first end
	err := s.stopAll(ctx, time.Until(endBy))
	if s.cfg.PushCheckpoints { // each agent's end saved it, and began to push
		s.saveUntil(ctx, endBy)
	}
	return multierror.Append(err, s.keeper.shutdown(ctx)).ErrorOrNil()
}

// saveUntil is saveAll with what fails in the log.
func (s *Supervisor) saveUntil(ctx context.Context, deadline time.Time) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for _, saved := range s.saveAll(ctx) {
		if saved.Err != nil {
			s.log.Error("worktree not saved for the end of the town", "agent", saved.AgentID, "checkpoint", saved.Checkpoint.Commit, "error", saved.Err)
		}
	}
}

// stopAll ends every agent within budget.
func (s *Supervisor) stopAll(ctx context.Context, budget time.Duration) error {
	// The last second is for the kill and the records, a fifth for what the agents leave.
	grace := max(budget*4/5-time.Second, 0).Seconds()
	var mu sync.Mutex
	var errs *multierror.Error
	var wg sync.WaitGroup
	for _, a := range s.all() {
		wg.Go(func() {
			_, err := s.Stop(ctx, a.id, town.StopRequest{GraceSeconds: &grace})
			mu.Lock()
			defer mu.Unlock()
			errs = multierror.Append(errs, err)
		})
	}
	wg.Wait()
	return errs.ErrorOrNil()
}

// Agent returns what is known of one agent, ErrNotFound for an unknown one.
func (s *Supervisor) Agent(id string) (town.Agent, error) {
	a, err := s.find(id)
	if err != nil {
		return town.Agent{}, err
	}
	return a.view(), nil
}

// Agents returns every agent that is not forgotten, in order of id.
func (s *Supervisor) Agents() []town.Agent {
	views := []town.Agent{}
	for _, a := range s.all() {
		views = append(views, a.view())
	}
	slices.SortFunc(views, func(a, b town.Agent) int { return cmp.Compare(a.AgentID, b.AgentID) })
	return views
}

// Output returns where the output of the agent's newest run is. ErrConflict
// when it never had one.
func (s *Supervisor) Output(id string) (Output, error) {
	a, err := s.find(id)
	if err != nil {
		return Output{}, err
	}
	view, feed := a.view(), a.feed.Load()
	if feed == nil {
		return Output{}, fmt.Errorf("agent %s has had no run yet: %w", id, town.ErrConflict)
	}
	return Output{
		RunID:      feed.run,
		Dir:        s.runDir(feed.run),
		Structured: a.structured.Load(),
		Status:     view.Status,
		Feed:       feed.Feed,
	}, nil
}

// EarlierRun returns the directory of the transcript of a run that the agent had
// before its newest, ErrNotFound when it had no such run, ErrInvalid when run is no id.
func (s *Supervisor) EarlierRun(ctx context.Context, id, run string) (dir string, err error) {
	if err := town.CheckID(run); err != nil {
		return "", fmt.Errorf("run %.60q is no run's id: it %w", run, err)
	}
	a, err := s.find(id)
	if err != nil {
		return "", err
	}
	earlier, err := ask(ctx, a, func(reply func([]string, error)) { reply(a.rec.Runs, nil) })
	if err != nil {
		return "", err
	}
	if !slices.Contains(earlier, run) {
		return "", fmt.Errorf("run %s of agent %s: %w", run, id, town.ErrNotFound)
	}
	return s.runDir(run), nil
}

// Events returns at most limit events of the agent with an id above after.
func (s *Supervisor) Events(id string, after int64, limit int) (EventPage, error) {
	return s.RunEvents(id, "", after, limit)
}

// RunEvents is Events of one run of the agent. Next is past the events of other runs too.
func (s *Supervisor) RunEvents(id, run string, after int64, limit int) (EventPage, error) {
	a, err := s.find(id)
	if err != nil {
		return EventPage{}, err
	}
	return a.events.page(run, after, limit)
}

// WaitEvents returns when the agent has an event with an id above after, else
// ctx's error.
func (s *Supervisor) WaitEvents(ctx context.Context, id string, after int64) error {
	a, err := s.find(id)
	if err != nil {
		return err
	}
	return a.events.wait(ctx, after)
}

// Diff returns what the agent changed since its worktree was made, committed or
// not, with a patch of at most maxBytes.
func (s *Supervisor) Diff(ctx context.Context, id string, maxBytes int64) (gitmgr.Diff, error) {
	a, err := s.find(id)
	if err != nil {
		return gitmgr.Diff{}, err
	}
	rec, err := ask(ctx, a, func(reply func(record, error)) { reply(a.rec, nil) })
	if err != nil {
		return gitmgr.Diff{}, err
	}
	if rec.Agent.Workdir == "" {
		return gitmgr.Diff{}, fmt.Errorf("agent %s has no worktree yet: %w", id, town.ErrConflict)
	}
	return s.cfg.Git.Diff(ctx, rec.Request.RigID, rec.Agent.Branch, rec.Base, rec.owner(), maxBytes)
}

// Stats returns figures about the whole town.
func (s *Supervisor) Stats() Stats {
	st := Stats{
		Agents:      make(map[town.Status]int),
		MaxAgents:   s.cfg.MaxAgents,
		Starts:      s.counters.starts.Load(),
		Escalations: s.counters.escalations.Load(),
		Isolation:   s.users.isolation(),
		Disk:        s.disk.get(),
		Degraded:    []string{},
	}
	for _, a := range s.all() {
		st.Agents[a.snapshot.Load().Status]++
		if why := a.stalled.Load(); why != nil && *why != "" {
			st.Degraded = append(st.Degraded, fmt.Sprintf("agent %s waits: %s", a.id, *why))
		}
	}
	st.Degraded = append(st.Degraded, st.Disk.wrong()...)
	s.counters.mu.Lock()
	st.Stops = make(map[town.Reason]int64, len(s.counters.stops))
	maps.Copy(st.Stops, s.counters.stops)
	s.counters.mu.Unlock()
	s.mu.Lock()
	st.Draining = s.draining
	s.mu.Unlock()
	st.KeeperPID, st.KillRung = s.keeper.describe()
	if st.KeeperPID == 0 {
		st.Degraded = append(st.Degraded, "the keeper is gone and could not be started again")
	}
	return st
}

func (s *Supervisor) find(id string) (*agent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.agents[id]; ok {
		return a, nil
	}
	return nil, fmt.Errorf("agent %q: %w", id, town.ErrNotFound)
}

func (s *Supervisor) all() []*agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	agents := make([]*agent, 0, len(s.agents))
	for _, a := range s.agents {
		agents = append(agents, a)
	}
	return agents
}

func (s *Supervisor) runDir(run string) string { return filepath.Join(s.cfg.Home, "runs", run) }

func (s *Supervisor) agentDir(id string) string { return filepath.Join(s.cfg.Home, "agents", id) }

// makeDir makes dir with exactly mode, whatever the umask.
func makeDir(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}
