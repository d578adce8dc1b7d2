package coordinator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"townd/town"
)

// The times of heartbeats.
const (
	beatTimeout = 10 * time.Second
	beatSoon    = 50 * time.Millisecond // after a change, for those that come with it
	beatApart   = time.Second           // between two that changes ask for
	goneMost    = 2                     // answers of 410 in a row that are believed
)

// heart sends heartbeats, one at a time: the newest counts, none is kept.
type heart struct {
	link *Link
	kick chan struct{} // of one: something changed
	rush chan struct{} // of one: somebody waits for the next one

	mu       sync.Mutex
	begun    int64         // heartbeats
	ended    int64         // the newest of them that has
	turn     chan struct{} // closed when the next one has ended
	epoch    int64
	reached  time.Time // when one was answered last
	lost     time.Time // since when none was, zero while they are
	why      string    // of the newest failure
	replaced bool
	beats    int64
	failures int64
	took     time.Duration // all of them
	shown    []string      // runs that the newest answered one showed
}

func newHeart(l *Link) *heart {
	return &heart{link: l, kick: make(chan struct{}, 1), rush: make(chan struct{}, 1), turn: make(chan struct{})}
}

// soon has a heartbeat sent within about a second.
func (h *heart) soon() { signal(h.kick) }

// introduce returns once a heartbeat that showed a run was answered; news is false
// when that had been so before.
func (h *heart) introduce(ctx context.Context, runID string) (news bool, err error) {
	for {
		h.mu.Lock()
		shown, turn := slices.Contains(h.shown, runID), h.turn
		h.mu.Unlock()
		if shown {
			return news, nil
		}
		news = true
		h.soon()
		select {
		case <-turn:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// now sends a heartbeat at once and returns when it was answered, else why it was
// not, or ctx's error; an error of kind town.ErrGone in a container that was replaced.
func (h *heart) now(ctx context.Context) error {
	h.mu.Lock()
	want := h.begun + 1 // one that is under way may have looked at the town before
	h.mu.Unlock()
	signal(h.rush)
	for {
		h.mu.Lock()
		ended, replaced, lost, why, turn := h.ended >= want, h.replaced, !h.lost.IsZero(), h.why, h.turn
		h.mu.Unlock()
		switch {
		case replaced:
			return errReplaced
		case ended && lost:
			return fmt.Errorf("heartbeat not answered: %s", why)
		case ended:
			return nil
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-h.link.ctx.Done():
			return context.Cause(h.link.ctx)
		}
	}
}

// failing reports whether heartbeats are not answered.
func (h *heart) failing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.lost.IsZero()
}

func (h *heart) isReplaced() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.replaced
}

// run beats until ctx ends or the container was replaced. After the first one the
// outbox is sent.
func (h *heart) run(ctx context.Context) {
	sending, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	failures, gone, started := 0, 0, false
	for {
		began := time.Now()
		a, err := h.beat(ctx)
		wait := h.link.cfg.Every
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && a.status == http.StatusGone:
			if gone++; gone >= goneMost {
				stop(errReplaced)
				h.retire(ctx)
				return
			}
			wait = beatApart
		case err != nil:
			failures++
			gone = 0
			wait = max(min(backoff(failures), wait), a.after)
		default:
			failures, gone = 0, 0
			h.link.outbox.resume()
		}
		if !started && gone == 0 {
			started = true
			h.link.send(sending)
		}
		timer.Reset(wait)
		if !h.pause(ctx, timer, began, failures+gone > 0) {
			return
		}
	}
}

// pause waits for the timer, or less when something changed. While heartbeats fail
// changes hasten none, but for somebody who waits.
func (h *heart) pause(ctx context.Context, timer *time.Timer, began time.Time, failing bool) bool {
	kick := h.kick
	if failing {
		kick = nil
	}
	select {
	case <-timer.C:
		return true
	case <-h.rush:
		return true
	case <-ctx.Done():
		return false
	case <-kick:
	}
	timer.Reset(max(beatSoon, beatApart-time.Since(began)))
	select {
	case <-timer.C:
		signalled(h.kick) // its change is told with this one
		return true
	case <-h.rush:
		return true
	case <-ctx.Done():
		return false
	}
}

// signalled takes back a signal.
func signalled(ch chan struct{}) {
	select {
	case <-ch:
	default:
	}
}

var errReplaced = fmt.Errorf("this container was replaced: %w", town.ErrGone)

// retire ends the agents of a container that another one has taken the place of.
func (h *heart) retire(ctx context.Context) {
	h.mu.Lock()
	h.replaced = true
	close(h.turn)
	h.turn = make(chan struct{})
	h.mu.Unlock()
	h.link.log.Error("another container has taken over: agents are stopped")
	h.link.town.Replaced(ctx)
}

// beat sends one heartbeat. err is set unless it was answered, by the reply or by 410.
func (h *heart) beat(ctx context.Context) (a answer, err error) {
	h.mu.Lock()
	h.begun++
	h.mu.Unlock()
	beat := h.link.town.Heartbeat()
	beat.InstanceID, beat.StartedAt = h.link.town.Instance()
	beat.SentAt = time.Now().UTC()
	told := h.link.orders.results()
	beat.OrdersDone = told
	if beat.Outbox, err = h.link.outbox.state(ctx); err != nil {
		h.link.log.Error("outbox cannot be read", "error", err)
	}
	body, err := json.Marshal(beat)
	if err != nil {
		return a, fmt.Errorf("encode heartbeat: %w", err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	a, err = h.link.call(ctx, h.link.root+"/heartbeat", http.Header{}, body)
	var reply town.HeartbeatReply
	switch {
	case err != nil:
	case a.status == http.StatusGone:
	case a.status < 200 || a.status >= 300:
		err = fmt.Errorf("the coordinator answered %d: %s", a.status, a.text)
	default:
		if err = json.Unmarshal(a.body, &reply); err == nil && !reply.Heartbeat {
			err = fmt.Errorf("the coordinator's answer is no reply to a heartbeat")
		}
	}
	h.note(a.status, reply.Epoch, time.Since(began), err, beat.Agents)
	if err == nil && a.status != http.StatusGone {
		h.link.orders.answered(told, reply.Orders)
	}
	return a, err
}

// note takes in how a heartbeat that showed agents went.
func (h *heart) note(status int, epoch int64, took time.Duration, err error, agents []town.AgentHeartbeat) {
	h.link.judgeTrust(status)
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = h.begun
	close(h.turn)
	h.turn = make(chan struct{})
	h.beats++
	h.took += took
	if err != nil {
		h.failures++
		if h.lost.IsZero() {
			h.lost = now
			h.link.log.Warn("heartbeat not answered, going on", "error", err)
		}
		h.why = err.Error()
		return
	}
	if !h.lost.IsZero() {
		h.link.log.Info("heartbeat answered again")
	}
	h.epoch, h.reached, h.lost, h.why = epoch, now, time.Time{}, ""
	if status == http.StatusGone {
		return
	}
	h.shown = h.shown[:0]
	for i := range agents {
		h.shown = append(h.shown, agents[i].RunID)
	}
}
