package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"townd/supervisor/keeper"
	"townd/supervisor/screen"
	"townd/supervisor/transcript"
	"townd/supervisor/typing"
	"townd/town"
)

// typingLimit bounds the typing of one message: package typing ends by itself
// sooner, unless a program throws its text away again and again.
const typingLimit = 3 * time.Minute

// person is who types into a run's terminal besides us. The zero value has never
// typed. Safe for concurrent use.
type person struct {
	mu         sync.Mutex
	typed      time.Time
	unfinished bool
}

// note takes in keys that were typed.
func (p *person) note(keys []byte, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.typed, p.unfinished = now, typing.Unfinished(p.unfinished, keys)
}

func (p *person) last() (typed time.Time, unfinished bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.typed, p.unfinished
}

// typeMessage types a message into the terminal of a run and returns as
// typing.Type does. It is idempotent by the message's id as far as the keeper
// remembers, which opt.Again makes use of.
func (s *Supervisor) typeMessage(ctx context.Context, feed *runFeed, m message, opt typing.Options) error {
	ctx, cancel := context.WithTimeout(ctx, typingLimit)
	defer cancel()
	l := &typingLink{
		keeper: s.keeper.client(), feed: feed, message: m.ID,
		transcript: transcript.NewReader(s.runDir(feed.run)), drawer: screen.NewDrawer(feed.Terminal()),
	}
	return errors.Join(typing.Type(ctx, l, m.Text, opt), l.transcript.Close())
}

// typingLink is a run's terminal as package typing sees it, for one message.
type typingLink struct {
	keeper     *keeper.Client
	feed       *runFeed
	message    string
	transcript *transcript.Reader
	drawer     *screen.Drawer
}

// inputKey names what is typed of the message, for the keeper.
func (l *typingLink) inputKey(key string) string {
	if key == "" {
		return ""
	}
	return l.message + "/" + key
}

func (l *typingLink) Input(ctx context.Context, key string, p []byte) error {
	return l.keeper.Input(ctx, l.feed.run, l.inputKey(key), p)
}

func (l *typingLink) TakeBack(ctx context.Context) ([]byte, error) {
	return l.keeper.TakeBack(ctx, l.feed.run)
}

func (l *typingLink) State(ctx context.Context, key string) (typing.State, error) {
	t, err := l.keeper.Terminal(ctx, l.feed.run, l.inputKey(key))
	if err != nil {
		return typing.State{}, err
	}
	st := typing.State{Canonical: t.Canonical, Unread: t.Unread, Line: t.Line, Flushes: t.Flushes}
	switch t.Reading {
	case keeper.ReadingYes:
		st.Reading = typing.ReadingYes
	case keeper.ReadingNo:
		st.Reading = typing.ReadingNo
	case keeper.ReadingUnknown:
	}
	if t.Given != nil {
		st.Given, st.GivenFlushes = true, t.Given.Flushes
	}
	return st, nil
}

func (l *typingLink) Screen(ctx context.Context) (screen.Screen, error) {
	drawn, err := l.drawer.Draw(ctx, l.transcript, -1)
	if errors.Is(err, town.ErrNotFound) { // nothing printed yet
		return screen.Screen{}, nil
	}
	return drawn, err
}

func (l *typingLink) Printed(ctx context.Context, after int64) (int64, error) {
	size, ended, err := l.feed.Wait(ctx, after)
	if err == nil && ended {
		err = fmt.Errorf("run %s has ended: %w", l.feed.run, town.ErrConflict)
	}
	return size, err
}

func (l *typingLink) Person() (typed time.Time, unfinished bool) { return l.feed.person.last() }
