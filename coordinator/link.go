// Package coordinator is a container's way to its coordinator: an outbox that keeps
// reports until the coordinator has them, heartbeats, and the orders that their
// answers bring. What a report means, and how an order is carried out, it does not
// know.
//
// What must hold:
//   - a fact is on disk before its giver is told that it is kept, and stays there until
//     the coordinator has answered that it has it, or refused it for good;
//   - reports of one lane arrive in order, each at least once; the coordinator knows
//     repetitions by their keys, and events by run and id;
//   - no lane waits for another one's failures;
//   - an order is carried out once by its id, as long as the coordinator repeats it.
package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"townd/town"
)

// Config is what a Link needs. Path, URL, TownID and Log are required.
type Config struct {
	Path   string            // of the outbox
	URL    string            // of the coordinator, as https://example.com; a path in it is a prefix of every call's
	Token  string            // shown as Bearer
	TownID string            //
	HTTP   http.RoundTripper // http.DefaultTransport when nil
	Every  time.Duration     // between heartbeats; 30 s when 0
	Log    *slog.Logger

	MaxPendingBytes int64 // of the outbox; 256 MiB when 0
}

// DefaultEvery is how often a heartbeat goes when nothing changes.
const DefaultEvery = 30 * time.Second

// Town is what the coordinator is told of, and what its orders are for. Its methods
// are called concurrently.
type Town interface {
	// Instance names the container: another one has another id.
	Instance() (id string, startedAt time.Time)
	// Heartbeat tells how all agents are now. What is the link's own in it is filled in
	// afterwards.
	Heartbeat() town.Heartbeat
	// Apply carries out an order and returns when that is done. The same order may
	// come again after a crash of this process.
	Apply(ctx context.Context, order town.Order) error
	// Replaced stops all agents, their work saved: another container does it now.
	Replaced(ctx context.Context)
}

// Link is the way to one coordinator. Safe for concurrent use.
type Link struct {
	cfg    Config
	log    *slog.Logger
	base   *url.URL
	root   string // path of the town below base
	client *http.Client
	token  atomic.Pointer[string]
	outbox *outbox
	orders *orders
	heart  *heart
	town   Town            // set by Start
	ctx    context.Context // ends with Close; the only stored context
	stop   context.CancelCauseFunc

	sendTimeout time.Duration // of one request with reports
	broke       bool          // outboxes were moved aside by the time of Open

	wg sync.WaitGroup

	mu    sync.Mutex
	sends map[int]int64 // by status, 0 for no answer
	trust string        // why our credential is refused, "" when it is not
}

// Open opens the outbox, so that reports can be given. Nothing is sent before Start.
// It returns town.ErrInvalid for a URL that is none, and the errors of the outbox's
// file: ErrConflict for one of a newer version, ErrUnavailable for a locked one,
// ErrNoSpace. The caller closes it, after all who give reports.
func Open(ctx context.Context, c Config) (*Link, error) {
	base, err := CheckURL(c.URL)
	if err != nil {
		return nil, err
	}
	if c.HTTP == nil {
		c.HTTP = http.DefaultTransport
	}
	if c.Every == 0 {
		c.Every = DefaultEvery
	}
	if c.MaxPendingBytes == 0 {
		c.MaxPendingBytes = maxPendingBytes
	}
	l := &Link{
		cfg: c, log: c.Log, base: base, root: "/api/towns/" + url.PathEscape(c.TownID), sends: make(map[int]int64),
		sendTimeout: sendTimeout,
		client: &http.Client{Transport: c.HTTP, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirected POST becomes a GET, and the credential is for this host
		}},
	}
	l.SetToken(c.Token)
	store, err := openStore(ctx, c.Path, c.Log)
	if err != nil {
		return nil, err
	}
	if l.outbox, err = newOutbox(ctx, store, c.MaxPendingBytes, c.Log); err == nil {
		l.orders, err = newOrders(ctx, l)
	}
	if err != nil {
		store.close()
		return nil, err
	}
	l.heart = newHeart(l)
	l.broke = len(asides(c.Path)) > 0
	l.ctx, l.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	go l.outbox.run() // ends with outbox.close
	return l, nil
}

// CheckURL returns the coordinator's URL, town.ErrInvalid for one that cannot be.
func CheckURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil: // whose text quotes what it could not read
		return nil, fmt.Errorf("the coordinator's URL cannot be read: %w", town.ErrInvalid)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("the coordinator's URL must begin with https:// or http:// and name a host: %w", town.ErrInvalid)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the coordinator's URL must hold no credential, query or fragment: %w", town.ErrInvalid)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

// Start begins to send: heartbeats of t, and what the outbox holds as soon as the
// first heartbeat was not answered by saying that this container was replaced.
func (l *Link) Start(t Town) {
	l.town = t
	alive := make(map[string]bool)
	for _, a := range t.Heartbeat().Agents {
		alive[a.AgentID] = true
	}
	l.outbox.keepCursors(alive)
	l.wg.Go(func() { l.heart.run(l.ctx) })
}

// Stop ends what is under way: nothing is sent and no order carried out any more.
// Reports are still taken. It may be called again.
func (l *Link) Stop() {
	l.stop(errClosed)
	l.wg.Wait()
}

// Close stops, and writes what was given. Reports that are given later are lost, so
// close those first that give some.
func (l *Link) Close() error {
	l.Stop()
	return l.outbox.close()
}

// Flush returns when everything that was reported has been delivered, else ctx's error;
// at once an error of kind town.ErrGone in a container that was replaced.
func (l *Link) Flush(ctx context.Context) error {
	look := time.NewTicker(flushEvery)
	defer look.Stop()
	for !l.outbox.empty() {
		if l.heart.isReplaced() {
			return errReplaced
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Draining tells the coordinator at once how the town is, and returns when it knows:
// a town that ends says so before its agents are stopped, or their ends would look as
// if people had wanted them. Errors: why the coordinator does not know, or ctx's.
func (l *Link) Draining(ctx context.Context) error { return l.heart.now(ctx) }

// flushEvery is how often Flush looks.
const flushEvery = 10 * time.Millisecond

// SetToken changes the credential, from the next request on.
func (l *Link) SetToken(token string) {
	l.token.Store(&token)
	if l.outbox != nil {
		l.outbox.resume()
	}
}

// Introduce returns once the coordinator knows of a run by a heartbeat, which is sent
// for it if need be; news is false when it did before. It returns the cause of ctx.
func (l *Link) Introduce(ctx context.Context, runID string) (news bool, err error) {
	return l.heart.introduce(ctx, runID)
}

// Event reports an event of an agent. epoch is that of its event log. It waits for
// nothing; the newest event that is kept is Newest's after a crash.
func (l *Link) Event(epoch string, e town.AgentEvent) {
	l.outbox.event(epoch, e)
	if e.Event.Event == town.EventState {
		l.heart.soon()
	}
}

// Newest returns the id of the newest event of an agent's log that the outbox has
// taken; known is false for a log that it knows nothing of.
func (l *Link) Newest(agentID, epoch string) (id int64, known bool) {
	return l.outbox.newest(agentID, epoch)
}

// Ended reports the end of a run. It waits for nothing; stored is called once the
// report will outlive this process.
func (l *Link) Ended(c town.Completion, stored func()) {
	f := Fact{
		Lane: c.AgentID, Path: l.root + "/agents/" + url.PathEscape(c.AgentID) + "/completed",
		Key: fmt.Sprintf("completed-%s-%d", c.RunID, c.Generation), Body: c,
	}
	if err := l.outbox.fact(f, false, func(error) { stored() }); err != nil {
		l.log.Error("end of a run not reported yet: the next server does", "agent", c.AgentID, "run", c.RunID, "error", err)
	}
}

// Post reports a fact, with a path below the town's, as /mail. It returns when the
// report will outlive this process. Errors: those of the outbox's file, ErrUnavailable
// when the link is closed, or ctx's; then the report may be kept still.
func (l *Link) Post(ctx context.Context, f Fact) error {
	f.Path = l.root + f.Path
	return l.post(ctx, f)
}

func (l *Link) post(ctx context.Context, f Fact) error {
	kept := make(chan error, 1) // of one: done is called once, perhaps with nobody waiting
	if err := l.outbox.fact(f, true, func(err error) { kept <- err }); err != nil {
		return err
	}
	select {
	case err := <-kept:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// MergeEnded reports how the merge of a queue's entry ended. run tells one try from
// the next. callback, if not empty, is where it goes: a URL of the coordinator's.
func (l *Link) MergeEnded(ctx context.Context, rigID, run, callback string, o town.MergeOutcome) error {
	f := Fact{Lane: "merges:" + rigID, Key: fmt.Sprintf("merge-%s-%s", o.EntryID, run), Body: o}
	f.Path = l.root + "/rigs/" + url.PathEscape(rigID) + "/review-queue/" + url.PathEscape(o.EntryID) + "/complete"
	if callback != "" {
		path, err := l.CallbackPath(callback)
		if err != nil {
			return err
		}
		f.Path = path
		f.Body = callbackBody{o, o.EntryID, o.Commit}
	}
	return l.post(ctx, f)
}

// callbackBody has the names of earlier coordinators beside ours.
type callbackBody struct {
	town.MergeOutcome
	OldEntryID string `json:"entry_id"`
	OldCommit  string `json:"commit_sha"`
}

// CallbackPath returns the path of a URL below the coordinator's, town.ErrInvalid for
// one that is elsewhere: it would be shown our credential.
func (l *Link) CallbackPath(callback string) (string, error) {
	u, err := url.Parse(callback)
	if err != nil || u.Scheme != l.base.Scheme || u.Host != l.base.Host || u.User != nil || u.Fragment != "" {
		return "", fmt.Errorf("it must be a URL on the coordinator's host: %w", town.ErrInvalid)
	}
	path, below := strings.CutPrefix(u.EscapedPath(), l.base.EscapedPath())
	if !below || !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("it must be a URL below the coordinator's: %w", town.ErrInvalid)
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path, nil
}

func (l *Link) instanceID() string {
	id, _ := l.town.Instance()
	return id
}

// counted takes in how a report went.
func (l *Link) counted(status int, err error) {
	if err != nil {
		status = 0
	}
	if status != http.StatusForbidden { // that may be this report's alone
		l.judgeTrust(status)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sends[status]++
}

// judgeTrust notes whether our credential is taken.
func (l *Link) judgeTrust(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case status == http.StatusUnauthorized:
		l.trust = "the coordinator does not know our credential (401)"
	case status == http.StatusForbidden:
		l.trust = "the coordinator refuses our credential (403)"
	case status >= 200 && status < 300:
		l.trust = ""
	}
}

// send starts to send what the outbox holds.
func (l *Link) send(ctx context.Context) {
	s := &sender{o: l.outbox, link: l, events: l.root + "/events", gate: make(chan struct{}, maxInFlight)}
	l.wg.Go(func() { s.run(ctx) })
}
