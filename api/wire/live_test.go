package wire

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"townd/town"
)

// follower takes what a Live sends when it is asked to.
type follower struct {
	http.ResponseWriter // that what is not used be there
	ctx                 context.Context
	header              http.Header
	sent                chan string
}

func (f *follower) Header() http.Header { return f.header }
func (f *follower) Flush()              {}

func (f *follower) Write(p []byte) (int, error) {
	select {
	case f.sent <- string(p):
		return len(p), nil
	case <-f.ctx.Done():
		return 0, context.Cause(f.ctx)
	}
}

// counter is a value that counts how often it was read.
type counter struct {
	value atomic.Int64
	reads atomic.Int64
	err   atomic.Pointer[error]

	mu      sync.Mutex
	changed chan struct{}
}

func newCounter() *counter { return &counter{changed: make(chan struct{})} }

func (c *counter) read(context.Context) (any, error) {
	c.reads.Add(1)
	if err := c.err.Load(); err != nil {
		return nil, *err
	}
	return c.value.Load(), nil
}

func (c *counter) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *counter) set(n int64) {
	c.value.Store(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

func event(n int) string { return "event: n\ndata: " + strconv.Itoa(n) + "\n\n" }

// follow lets one more follow l until ctx ends; ended tells why.
func follow(ctx context.Context, t *testing.T, l *Live) (f *follower, ended chan error) {
	t.Helper()
	r, err := l.Join(ctx)
	if err != nil {
		t.Fatalf("Join() = %v", err)
	}
	f, ended = &follower{ctx: ctx, header: http.Header{}, sent: make(chan string)}, make(chan error, 1)
	go func() { ended <- r.Send(ctx, f) }()
	return f, ended
}

// gets checks what comes next, and after how long.
func (f *follower) gets(t *testing.T, want string, after time.Duration) {
	t.Helper()
	began := time.Now()
	if got := <-f.sent; got != want || time.Since(began) != after {
		t.Errorf("%q came after %v, want %q after %v", got, time.Since(began), want, after)
	}
}

func TestValueIsSentAtOnceAndWhenItIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		c := newCounter()
		f, ended := follow(ctx, t, NewLive("n", c.read, c.next))
		f.gets(t, event(0), 0)
		if got := f.header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type is %q", got)
		}
		f.gets(t, Quiet, 15*time.Second)
		c.set(0) // which is no other
		f.gets(t, Quiet, 15*time.Second)
		c.set(1)
		f.gets(t, event(1), 0)
		c.set(2)
		c.set(3)
		f.gets(t, event(3), time.Second)
		c.value.Store(4) // and nobody says so
		f.gets(t, event(4), 11*time.Second)
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

func TestManyReadersCostWhatOneDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const readers, seconds = 20, 60
		c := newCounter()
		l := NewLive("n", c.read, func() <-chan struct{} { return closed })
		ctx, stop := context.WithCancel(t.Context())
		var got [readers]atomic.Int64
		var all sync.WaitGroup
		for i := range readers {
			f, ended := follow(ctx, t, l)
			all.Go(func() {
				for {
					select {
					case text := <-f.sent:
						if strings.HasPrefix(text, "event:") {
							got[i].Add(1)
						}
					case <-ended:
						return
					}
				}
			})
		}
		time.Sleep(time.Second / 2)
		for range seconds {
			c.value.Add(1)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := c.reads.Load(); n != readers+seconds {
			t.Errorf("%d readers, who came at once, had the value read %d times in %d s", readers, n, seconds)
		}
		for i := range got {
			if n := got[i].Load(); n < seconds-1 || n > seconds+1 {
				t.Errorf("reader %d was sent %d events in %d s", i, n, seconds)
			}
		}
		stop()
		all.Wait()
		before := c.reads.Load()
		time.Sleep(time.Hour)
		if n := c.reads.Load() - before; n != 0 {
			t.Errorf("the value was read %d times for nobody", n)
		}
		again, stop := context.WithCancel(t.Context())
		f, ended := follow(again, t, l)
		f.gets(t, event(seconds), 0)
		c.value.Add(1)
		f.gets(t, event(seconds+1), time.Second)
		stop()
		<-ended
	})
}

// closed says that a value may always have changed.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func TestSlowReaderMissesWhatWasBetweenAndHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter()
		l := NewLive("n", c.read, c.next)
		ctx, stop := context.WithCancel(t.Context())
		slow, slowEnded := follow(ctx, t, l)
		quick, quickEnded := follow(ctx, t, l)
		quick.gets(t, event(0), 0)
		slow.gets(t, event(0), 0)
		for n := range 5 {
			c.set(int64(n + 1))
			quick.gets(t, event(n+1), time.Second)
		}
		slow.gets(t, event(1), 0) // was under way
		slow.gets(t, event(5), 0)
		stop()
		<-slowEnded
		<-quickEnded
	})
}

// A reader who joined between two rounds may know a value that no round has.
func TestValueThatWentBackIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter()
		l := NewLive("n", c.read, c.next)
		ctx, stop := context.WithCancel(t.Context())
		first, firstEnded := follow(ctx, t, l)
		first.gets(t, event(0), 0)
		c.set(1)
		first.gets(t, event(1), time.Second)
		c.set(2)
		late, lateEnded := follow(ctx, t, l)
		late.gets(t, event(2), 0)
		c.set(1)
		late.gets(t, event(1), time.Second)
		first.gets(t, Quiet, 14*time.Second) // it has known 1 all the time
		stop()
		<-firstEnded
		<-lateEnded
	})
}

func TestValueThatCannotBeReadEndsTheStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter()
		l := NewLive("n", c.read, c.next)
		f, ended := follow(t.Context(), t, l)
		f.gets(t, event(0), 0)
		c.err.Store(new(town.ErrUnavailable))
		c.set(1)
		if err := <-ended; !errors.Is(err, town.ErrUnavailable) {
			t.Errorf("the stream ended with %v", err)
		}
		if _, err := l.Join(t.Context()); !errors.Is(err, town.ErrUnavailable) {
			t.Errorf("Join() = %v", err)
		}
		c.err.Store(nil)
		ctx, stop := context.WithCancel(t.Context())
		f, ended = follow(ctx, t, l)
		f.gets(t, event(1), 0)
		stop()
		<-ended
	})
}

// BenchmarkRound is what a second costs with 50 agents at work, by the number of
// readers: reading, and sending to nowhere.
func BenchmarkRound(b *testing.B) {
	agents := make([]town.Agent, 50)
	for i := range agents {
		agents[i] = town.Agent{
			AgentID: "agent-" + strconv.Itoa(i), RigID: "rig", TownID: "town", Role: town.RolePolecat, Name: "toast", CLI: "claude",
			Status: town.StatusRunning, RunID: town.NewID(time.Now()), Workdir: "/workspace/rigs/rig/worktrees/polecat/toast/1",
			Branch: "polecat/toast/1", Model: "claude-sonnet-4-5",
		}
	}
	for _, readers := range []int{1, 20} {
		b.Run(strconv.Itoa(readers), func(b *testing.B) {
			n := int64(0)
			l := NewLive("agents", func(context.Context) (any, error) {
				n++
				for i := range agents {
					agents[i].Resources.RSSBytes = n
				}
				return map[string]any{"agents": agents}, nil
			}, func() <-chan struct{} { return nil })
			ctx, stop := context.WithCancel(b.Context())
			var all, sent sync.WaitGroup
			sent.Add(readers)
			for range readers {
				r, err := l.Join(ctx)
				if err != nil {
					b.Fatal(err)
				}
				all.Go(func() { _ = r.Send(ctx, nowhere{&sent}) })
			}
			sent.Wait()
			for b.Loop() {
				sent.Add(readers)
				l.nextRound(ctx)
				sent.Wait()
			}
			stop()
			all.Wait()
		})
	}
}

// nowhere takes what is sent.
type nowhere struct{ sent *sync.WaitGroup }

func (nowhere) Header() http.Header { return http.Header{} }
func (nowhere) WriteHeader(int)     {}
func (nowhere) Flush()              {}

func (n nowhere) Write(p []byte) (int, error) {
	n.sent.Done()
	return len(p), nil
}
