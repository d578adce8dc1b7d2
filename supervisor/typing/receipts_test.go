package typing_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/supervisor/typing"
)

var messages = flag.Int("messages", 2*len(misbehaviours), "how many messages TestReceiptsAreRight sends")

// outcome is what a call said.
type outcome string

const (
	delivered outcome = "delivered"
	failed    outcome = "not delivered"
	unproven  outcome = "unproven"
)

func outcomeOf(err error) outcome {
	var not *typing.NotDelivered
	var maybe *typing.Unproven
	switch {
	case err == nil:
		return delivered
	case errors.As(err, &not):
		return failed
	case errors.As(err, &maybe):
		return unproven
	}
	return outcome(fmt.Sprintf("neither: %v", err))
}

// misbehaviours are the programs of the test, and what must become of a message to
// each; "" when more than one outcome is honest.
var misbehaviours = map[string]struct {
	behaviour
	want  outcome
	lines bool // its messages have several lines
}{
	"reads lines":                        {behaviour{Canonical: true}, delivered, false},
	"reads lines, many":                  {behaviour{Canonical: true}, delivered, true},
	"reads lines, prints nothing":        {behaviour{Canonical: true, Quiet: true}, delivered, false},
	"reads lines, no echo":               {behaviour{Canonical: true, NoEcho: true}, delivered, false},
	"reads lines, starts slowly":         {behaviour{Canonical: true, StartMs: 700}, delivered, false},
	"reads lines, banner, slowly":        {behaviour{Canonical: true, StartMs: 1500, Banner: true}, delivered, false},
	"edits a line":                       {behaviour{}, delivered, false},
	"edits a line, pastes":               {behaviour{Paste: true}, delivered, true},
	"edits a line, starts slowly":        {behaviour{Paste: true, StartMs: 2000}, delivered, true},
	"edits a line, banner, slowly":       {behaviour{StartMs: 1000, Banner: true}, delivered, false},
	"edits a line, swallows an Enter":    {behaviour{Paste: true, Swallow: 1}, delivered, false},
	"edits a line, swallows 3 Enters":    {behaviour{Paste: true, Swallow: 3}, delivered, false},
	"edits a line, swallows every Enter": {behaviour{Paste: true, Swallow: 1 << 30}, failed, false},
	"edits a line, lags":                 {behaviour{Paste: true, LagMs: 400}, delivered, true},
	"edits a line, Enter is a line feed": {behaviour{Paste: true, Swallow: 1, Newline: true}, "", false},
	"edits a line, shows nothing":        {behaviour{NoEcho: true}, failed, false},
	"paints":                             {behaviour{Screen: true, Paste: true}, delivered, true},
	"paints, chips":                      {behaviour{Screen: true, Paste: true, Chips: true}, delivered, true},
	"paints, chips, swallows":            {behaviour{Screen: true, Paste: true, Chips: true, Swallow: 1}, delivered, true},
	"paints, swallows":                   {behaviour{Screen: true, Paste: true, Swallow: 1}, delivered, false},
	"storm":                              {behaviour{Screen: true, Paste: true, StormMs: 10}, delivered, true},
	"storm, no pastes":                   {behaviour{Screen: true, StormMs: 10}, delivered, false},
	"storm, starts slowly":               {behaviour{Screen: true, Paste: true, StormMs: 10, StartMs: 400, Banner: true}, delivered, false},
	"storm, swallows":                    {behaviour{Screen: true, Paste: true, StormMs: 10, Swallow: 1}, delivered, true},
	"storm, chips, swallows 3":           {behaviour{Screen: true, Paste: true, StormMs: 10, Chips: true, Swallow: 3}, delivered, true},
	"storm, swallows every Enter":        {behaviour{Screen: true, Paste: true, StormMs: 10, Swallow: 1 << 30}, failed, false},
	"storm, Enter is a line feed":        {behaviour{Screen: true, Paste: true, StormMs: 10, Swallow: 1, Newline: true}, "", false},
	"storm, shows nothing":               {behaviour{Screen: true, Paste: true, StormMs: 10, NoEcho: true}, failed, false},
	"never reads":                        {behaviour{Deaf: true}, failed, false},
	"never reads lines":                  {behaviour{Deaf: true, Canonical: true}, failed, false},
	"dies of the text":                   {behaviour{Paste: true, DieAt: "text"}, failed, false},
	"dies of Enter":                      {behaviour{Paste: true, DieAt: "enter"}, "", false},
	"dies of a line":                     {behaviour{Canonical: true, DieAt: "enter"}, "", false},
}

// TestReceiptsAreRight (L8) sends messages to every misbehaviour, 16 at once, and compares
// each outcome with what the program wrote down: delivered if and only if it was
// submitted, once; failed only if it was not, also not later.
func TestReceiptsAreRight(t *testing.T) {
	k := newKeeping(t)
	names := slices.Sorted(maps.Keys(misbehaviours))
	gate := make(chan struct{}, 16)
	var mu sync.Mutex
	count := map[string]map[outcome]int{}
	var wg sync.WaitGroup
	for n := 0; n < *messages; n++ {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			name := names[n%len(names)]
			got := sendOne(t, k, name, n, n/len(names)%2 == 1)
			mu.Lock()
			defer mu.Unlock()
			if count[name] == nil {
				count[name] = map[outcome]int{}
			}
			count[name][got]++
		})
	}
	wg.Wait()
	for _, name := range names {
		t.Logf("%-36s %v", name, count[name])
	}
}

// sendOne sends a message to a new program, and returns the outcome, which is right.
// To the blind the kernel does not show what a program is blocked in.
func sendOne(t *testing.T, k *keeping, name string, n int, blind bool) outcome {
	m := misbehaviours[name]
	if blind && m.Banner {
		m.want = "" // it throws the line away when nobody can know that it is not reading it
	}
	m.Record = filepath.Join(t.TempDir(), "submitted")
	config, err := json.Marshal(m.behaviour)
	if err != nil {
		t.Error(err)
		return ""
	}
	y := k.spawn(t, nil, os.Args[0], "program", string(config))
	y.blind = blind
	text := message(n, m.lines)
	began := time.Now()
	err = typing.Type(t.Context(), y, text, typing.Options{})
	took := time.Since(began)
	got := outcomeOf(err)
	if got == delivered { // it has read the message, and may not have been given the time to write it down
		want := []string{text}
		if m.Canonical {
			want = strings.Split(text, "\n")
		}
		eventually(t, func() bool { return len(recorded(t, m.Record)) >= len(want) })
	}
	shown := y.text(t)
	y.end(t)
	submitted := recorded(t, m.Record)
	if m.Newline { // an Enter that the program took for a line feed stands at its end
		text = firstOf(submitted, text, text+"\n")
	}
	times := submitted[text]
	if m.Canonical {
		times = 1
		for line := range strings.SplitSeq(text, "\n") {
			times = min(times, submitted[line])
		}
	}
	others := maps.Clone(submitted)
	delete(others, text)
	delete(others, "") // an Enter more than was needed
	for line := range strings.SplitSeq(text, "\n") {
		if m.Canonical {
			delete(others, line)
		}
	}
	wrong := got == delivered && (times != 1 || len(others) != 0) || got == failed && len(submitted) > 0 || times > 1 || m.want != "" && got != m.want
	if wrong {
		t.Errorf("%s: message %d is %s after %v (%v), submitted %d times, others %.300v\nkeys %.300q\n%s", name, n, got, took, err, times, fmt.Sprint(others), y.sent, shown)
	}
	return got
}

// firstOf returns the first of texts that was submitted, else the first.
func firstOf(submitted map[string]int, texts ...string) string {
	for _, text := range texts {
		if submitted[text] > 0 {
			return text
		}
	}
	return texts[0]
}

// message returns a text like no other, of some length.
func message(n int, lines bool) string {
	rnd := rand.New(rand.NewPCG(uint64(n), 1)) //nolint:gosec // not for secrets
	words := strings.Fields("please fix the slug function so that ümläute and 日本語 become ascii, then run its tests and say what you found: /tmp/x #4 'quoted' \"twice\" 100%")
	var b strings.Builder
	fmt.Fprintf(&b, "message %d:", n)
	for range 1 + rnd.IntN(12) {
		b.WriteString(" " + words[rnd.IntN(len(words))])
	}
	if lines {
		for i := range rnd.IntN(6) {
			fmt.Fprintf(&b, "\n  %d. %s %s", i+1, words[rnd.IntN(len(words))], words[rnd.IntN(len(words))])
		}
	}
	return b.String()
}
