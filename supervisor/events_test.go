package supervisor

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"townd/town"
)

func openLog(t *testing.T, dir string) *eventLog {
	t.Helper()
	l, err := openEventLog(dir, "epoch")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func appendText(t *testing.T, l *eventLog, text string, pos *position) {
	t.Helper()
	if _, _, err := l.append(town.EventText, town.TextData{Text: text}, "run", pos, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func TestEventsContinueAfterATornLine(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	for i := range 3 {
		appendText(t, l, fmt.Sprint(i), nil)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	twoLines := strings.LastIndex(strings.TrimSuffix(string(whole), "\n"), "\n") + 1
	for cut := twoLines; cut < len(whole); cut++ {
		if err := os.WriteFile(l.path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := openLog(t, dir)
		appendText(t, l, "new", nil)
		page, err := l.page("", 0, 10)
		if err != nil || len(page.Events) != 3 || page.Events[2].ID != 3 || !strings.Contains(string(page.Events[2].Data), "new") {
			t.Fatalf("cut at %d: page() = %+v, %v; want ids 1, 2 and a new 3", cut, page, err)
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Reading output again after a restart adds no event twice.
func TestDecodedEventsAreKeptOnce(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	appendText(t, l, "a", &position{Offset: 10})
	appendText(t, l, "b", &position{Offset: 10, Nth: 1})
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, dir)
	defer l.close()
	appendText(t, l, "a", &position{Offset: 10})
	appendText(t, l, "b", &position{Offset: 10, Nth: 1})
	appendText(t, l, "c", &position{Offset: 12})
	page, err := l.page("", 0, 10)
	if err != nil || len(page.Events) != 3 {
		t.Errorf("page() = %+v, %v; want a, b and c once each", page, err)
	}
}

func TestOldEventsAreReadFromDiskAndThenGap(t *testing.T) {
	l := openLog(t, t.TempDir())
	defer l.close()
	big := strings.Repeat("x", 10_000)
	const n = 1000 // about 10 MB: the first ones are gone from both files
	for range n {
		appendText(t, l, big, nil)
	}
	var got []int64
	for after := int64(0); ; {
		page, err := l.page("", after, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Events) == 0 {
			break
		}
		for _, e := range page.Events {
			if e.Event == town.EventGap {
				if len(got) > 0 {
					t.Fatalf("a gap after event %d", got[len(got)-1])
				}
				continue
			}
			got = append(got, e.ID)
		}
		after = page.Next
	}
	if len(got) == 0 || got[len(got)-1] != n || got[0] == 1 {
		t.Fatalf("events %v to %v were held, want a tail that ends with %d", got[0], got[len(got)-1], n)
	}
	for i, id := range got {
		if id != got[0]+int64(i) {
			t.Fatalf("event %d follows %d", id, got[i-1])
		}
	}
	if l.bytes > eventRecentBytes+len(big)+100 {
		t.Errorf("%d bytes are held in memory, the bound is %d", l.bytes, eventRecentBytes)
	}
}

func TestCursorBeyondTheEndComesBack(t *testing.T) {
	l := openLog(t, t.TempDir())
	defer l.close()
	appendText(t, l, "a", nil)
	for _, after := range []int64{5, 1 << 62, -1} {
		page, err := l.page("", after, 10)
		if err != nil || page.Next > 1 {
			t.Errorf("page(%d) = %+v, %v; want a Next of at most 1", after, page, err)
		}
	}
}

func TestWaitEndsWithTheEventOrTheContext(t *testing.T) {
	l := openLog(t, t.TempDir())
	defer l.close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.wait(ctx, 0); err == nil {
		t.Error("wait() on a dead context = nil")
	}
	done := make(chan error)
	go func() { done <- l.wait(t.Context(), 0) }()
	appendText(t, l, "a", nil)
	if err := <-done; err != nil {
		t.Errorf("wait() = %v", err)
	}
}

// Who may see one run gets its events alone, and goes on past those of others.
func TestPageOfOneRunHasNoOtherEvents(t *testing.T) {
	l := openLog(t, t.TempDir())
	defer l.close()
	big := strings.Repeat("x", 10_000) // so that the first are read from the files
	for i := range 60 {
		if _, _, err := l.append(town.EventText, town.TextData{Text: fmt.Sprint(i, big)}, []string{"r1", "r2", "r3"}[i%3], nil, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	var got []int64
	after := int64(0)
	for len(got) < 20 {
		page, err := l.page("r2", after, 7)
		if err != nil || len(page.Events) == 0 || page.Next <= after {
			t.Fatalf("page(r2, %d) = %d events, next %d, %v; want more", after, len(page.Events), page.Next, err)
		}
		for _, e := range page.Events {
			got = append(got, e.ID)
		}
		after = page.Next
	}
	for i, id := range got {
		if id != int64(3*i+2) {
			t.Errorf("event %d of r2 has the id %d, want %d", i, id, 3*i+2)
		}
	}
	if page, err := l.page("r2", after, 7); err != nil || len(page.Events) != 0 || page.Next != 60 {
		t.Errorf("page(r2) after the last = %+v, %v; want nothing, past the other runs", page, err)
	}
}
