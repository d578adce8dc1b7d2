// Package container is the town's face: the HTTP control server, live streams of
// agents' terminals and the tickets that open them, figures for Prometheus, and
// the log handler that keeps secrets out of logs. It asks the supervisor for
// everything and starts no process itself.
package container

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"townd/api/wire"
	"townd/gitmgr"
	"townd/llm"
	"townd/supervisor"
	"townd/town"
)

// Config is what a Server needs. Supervisor, Token and Log are required.
type Config struct {
	Supervisor *supervisor.Supervisor
	Models     *llm.Gateway    // served under /llm/ to the agents; may be nil
	QuotaProbe *llm.Probe      // may be nil
	Git        *gitmgr.Manager // its proxy is served under /git/ to the agents; may be nil
	// SetGitToken, if set, changes the town's credential for the git remotes of a host,
	// github.com when that is empty.
	SetGitToken func(host, token string) error
	// PullRequests makes branches into pull requests; nil where there are none. ByPullRequest,
	// if set, says which rigs' merges are by pull request when a request names no mode.
	PullRequests  PullRequests
	ByPullRequest func(rigID string) bool
	Coordinator   Coordinator  // the way to the town's coordinator; may be nil
	Hall          http.Handler // the coordinator in this process, served under /api/towns/ with its own authorization; may be nil
	TownID        string       // for the dashboard, which is told it without a token
	Token         string       // of any length; a Server without one refuses every call that needs it
	Shares        *Shares      // links that show one run; nil for none
	PublicURL     string       // how people reach this server, for those links; relative ones when empty
	Version       string
	Home          string   // the directory whose disk /health shows; "/" when empty
	Warnings      []string // for /health: what a person should know and need not see to at once
	Loopback      bool     // we listen on a loopback address: foreign Host and Origin are refused
	Metrics       *Metrics
	Secrets       *Secrets // told of secret-named envVars, and masked in error texts; may be nil
	Log           *slog.Logger
}

// Server is the control API. Handler is safe for concurrent use.
type Server struct {
	cfg      Config
	log      *slog.Logger
	token    wire.Token
	started  time.Time
	router   *mux.Router
	tickets  ticketStore
	writers  writerQueues
	merges   merges
	viewers  atomic.Int64
	drawers  drawers
	host     atomic.Pointer[hostSample]
	drawGate chan struct{} // holds a token per screen being drawn
	metrics  *Metrics

	pingEvery time.Duration

	ctx  context.Context // ends with Close; the only stored context
	stop context.CancelCauseFunc
	wg   sync.WaitGroup // tend, paint and the streams

	mu     sync.Mutex
	closed bool // no stream joins wg any more
}

// New returns a Server. The caller closes it.
func New(c Config) *Server {
	s := &Server{
		cfg:       c,
		log:       c.Log,
		token:     wire.NewToken(c.Token),
		started:   time.Now().UTC(),
		metrics:   c.Metrics,
		drawGate:  newDrawGate(),
		pingEvery: pingEvery,
	}
	if s.metrics == nil {
		s.metrics = NewMetrics()
	}
	if s.cfg.Secrets == nil {
		s.cfg.Secrets = NewSecrets()
	}
	if s.cfg.Shares == nil {
		s.cfg.Shares = new(Shares)
	}
	s.cfg.Secrets.Add(c.Token)
	s.metrics.follow(s)
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	s.router = s.newRouter()
	s.wg.Go(s.tend)
	s.wg.Go(s.paint)
	return s
}

// Handler serves the API. Streams take over their connection, so the server it
// runs in must speak HTTP/1.1.
func (s *Server) Handler() http.Handler { return s.router }

// Close ends every stream, telling viewers to come back, and waits for them.
// Close it before http.Server.Shutdown, which waits for event streams and knows
// nothing of WebSockets.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop(fmt.Errorf("server closed: %w", town.ErrUnavailable))
	s.wg.Wait()
}

// enter joins wg, unless the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	return true
}
