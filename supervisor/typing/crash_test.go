package typing_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"townd/supervisor/screen"
	"townd/supervisor/typing"
)

// mortal is a terminal whose server dies in one of its calls: before what it asks
// for is done, or after it and before the answer.
type mortal struct {
	*tty
	left  int
	after bool
}

type death struct{}

func (m *mortal) call(f func()) {
	m.left--
	if m.left == 0 && !m.after {
		panic(death{})
	}
	f()
	if m.left == 0 {
		panic(death{})
	}
}

func (m *mortal) Input(ctx context.Context, key string, p []byte) (err error) {
	m.call(func() { err = m.tty.Input(ctx, key, p) })
	return err
}

func (m *mortal) TakeBack(ctx context.Context) (p []byte, err error) {
	m.call(func() { p, err = m.tty.TakeBack(ctx) })
	return p, err
}

func (m *mortal) State(ctx context.Context, key string) (st typing.State, err error) {
	m.call(func() { st, err = m.tty.State(ctx, key) })
	return st, err
}

func (m *mortal) Screen(ctx context.Context) (s screen.Screen, err error) {
	m.call(func() { s, err = m.tty.Screen(ctx) })
	return s, err
}

// TestASuccessorTypesNothingTwice lets the server die in each call that it makes
// to give a message, and has the next one give it again.
func TestASuccessorTypesNothingTwice(t *testing.T) {
	k := newKeeping(t)
	programs := map[string]behaviour{
		"line": {Canonical: true}, "editor": {Paste: true}, "screen": {Screen: true, Paste: true}, "swallows": {Paste: true, Swallow: 1},
	}
	gate := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for name, b := range programs {
		for n := range 40 {
			gate <- struct{}{}
			wg.Go(func() {
				defer func() { <-gate }()
				dieAndResume(t, k, fmt.Sprintf("%s, call %d", name, n), b, 1+n/2, n%2 == 1)
			})
		}
	}
	wg.Wait()
}

func dieAndResume(t *testing.T, k *keeping, name string, b behaviour, call int, after bool) {
	b.Record = filepath.Join(t.TempDir(), "submitted")
	config, err := json.Marshal(b)
	if err != nil {
		t.Error(err)
		return
	}
	y := k.spawn(t, nil, os.Args[0], "program", string(config))
	text := "message of " + name + " to be submitted once"
	if b.Canonical {
		text += "\nits second line"
	}
	first, died := typeUntilDeath(t, &mortal{tty: y, left: call, after: after}, text)
	if died {
		first = typing.Type(t.Context(), y, text, typing.Options{Again: true})
	}
	got := outcomeOf(first)
	shown := y.text(t)
	y.end(t)
	submitted := recorded(t, b.Record)
	times := 0
	for line := range strings.SplitSeq(text, "\n") {
		times = max(times, submitted[line])
	}
	times = max(times, submitted[text])
	delete(submitted, "")
	if times > 1 || got == delivered && times != 1 || got == failed && len(submitted) > 0 {
		t.Errorf("%s: %s (%v, died %v), submitted %v, keys %q\n%s", name, got, first, died, submitted, y.sent, shown)
	}
	t.Logf("%-24s died %v, %s %v", name, died, got, first)
}

func typeUntilDeath(t *testing.T, m *mortal, text string) (err error, died bool) { //nolint:revive // the error is the result
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(death); !ok {
				panic(r)
			}
			died = true
		}
	}()
	return typing.Type(t.Context(), m, text, typing.Options{}), false
}
