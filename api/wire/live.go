package wire

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	livePace  = time.Second      // between two events at least
	liveLook  = 10 * time.Second // after which a value is read though nobody said that it has changed: some of it hangs on the time
	liveQuiet = 15 * time.Second // that a reader is sent nothing
)

// Live is a value that callers follow as server-sent events: each is sent it at
// once, and again when it is another, at most once a second. As long as there are
// readers one goroutine reads the value for all of them. Nothing is queued: a slow
// reader is sent the newest and misses what was between. Safe for concurrent use;
// make one with NewLive.
type Live struct {
	event   string
	read    func(context.Context) (any, error)
	changed func() <-chan struct{}

	turn sync.Mutex // held while the value is read, so that an older one never follows a newer

	mu      sync.Mutex
	readers int
	stop    context.CancelFunc // ends the producer
	done    chan struct{}      // closed when it has ended
	round   int                // counts what the producer has read
	text    string             // that, as an event
	err     error              // or why it could not be read
	over    chan struct{}      // closed with the round
}

// NewLive returns the Live of what read returns, sent in events of that name.
// changed returns a channel that is closed once the value may be another than at
// the call.
func NewLive(event string, read func(context.Context) (any, error), changed func() <-chan struct{}) *Live {
	return &Live{event: event, read: read, changed: changed, over: make(chan struct{})}
}

// LiveReader is one who follows a Live.
type LiveReader struct {
	live  *Live
	round int    // of the producer, that is known
	text  string // that is to be sent, or was
}

// Join reads the value for one more reader, whose Send must be called. It returns
// what read returns; then there is none.
func (l *Live) Join(ctx context.Context) (*LiveReader, error) {
	l.enter()
	l.turn.Lock()
	defer l.turn.Unlock()
	text, err := l.encode(ctx)
	if err != nil {
		l.leave()
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &LiveReader{l, l.round, text}, nil
}

// Send sends the value and what becomes of it, until ctx ends, the caller leaves or
// the value cannot be read. It returns why.
func (r *LiveReader) Send(ctx context.Context, w http.ResponseWriter) error {
	defer r.live.leave()
	out := NewEventStream(w)
	for next := r.text; ; {
		err := out.Send(next)
		if err != nil {
			return err
		}
		if next, err = r.next(ctx); err != nil {
			return err
		}
	}
}

// next waits for another text than the one that was sent. It returns Quiet when
// there is none for a while.
func (r *LiveReader) next(ctx context.Context) (string, error) {
	quiet := time.NewTimer(liveQuiet)
	defer quiet.Stop()
	for {
		l := r.live
		l.mu.Lock()
		round, text, err, over := l.round, l.text, l.err, l.over
		l.mu.Unlock()
		switch {
		case round == r.round: // nothing was read since
		case err != nil:
			return "", err
		default:
			r.round = round
			if text != r.text {
				r.text = text
				return text, nil
			}
		}
		select {
		case <-over:
		case <-quiet.C:
			return Quiet, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// enter counts a reader in. The first begins the producer.
func (l *Live) enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers++
	if l.readers > 1 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done, changed := make(chan struct{}), l.changed() // before anything is read
	l.stop, l.done = stop, done
	go func() { // ends when the last reader leaves, who waits for it
		defer close(done)
		l.produce(ctx, changed)
	}()
}

// leave counts a reader out. The last ends the producer.
func (l *Live) leave() {
	l.mu.Lock()
	l.readers--
	last, stop, done := l.readers == 0, l.stop, l.done
	l.mu.Unlock()
	if last {
		stop()
		<-done
	}
}

// produce reads the value when it may have changed, for all readers, until the last
// has left.
func (l *Live) produce(ctx context.Context, changed <-chan struct{}) {
	for pass(ctx, livePace, nil) && pass(ctx, liveLook, changed) {
		changed = l.changed()
		l.nextRound(ctx)
	}
}

// pass waits until d has passed, or for ready, and reports whether ctx goes on.
func pass(ctx context.Context, d time.Duration, ready <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ready:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// nextRound reads the value and wakes the readers.
func (l *Live) nextRound(ctx context.Context) {
	l.turn.Lock()
	defer l.turn.Unlock()
	text, err := l.encode(ctx)
	if ctx.Err() != nil {
		return // nobody is left; the next readers have a producer of their own
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.round, l.text, l.err = l.round+1, text, err
	close(l.over)
	l.over = make(chan struct{})
}

// encode reads the value as an event.
func (l *Live) encode(ctx context.Context) (string, error) {
	value, err := l.read(ctx)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = WriteEvent(&text, "", l.event, value)
	return text.String(), err
}
