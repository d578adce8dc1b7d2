package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"townd/town"
)

// The bounds of an agent's event log. Older events are in two files at most;
// the newest are in memory as well, for those who follow.
const (
	eventFileBytes   = 4 << 20
	eventRecentBytes = 128 << 10
)

// EventPage is a part of an agent's events in order.
type EventPage struct {
	Epoch  string       // ids of another epoch are not comparable
	Events []town.Event // begins with a gap event when earlier ones are no longer held
	Next   int64        // the after of the next page
}

// position is where in a transcript an event was decoded: the offset after its
// line, and its number among the events of that line. It makes decoding again
// after a restart add nothing.
type position struct {
	Offset int64 `json:"offset"`
	Nth    int   `json:"nth"`
}

func (p position) after(q position) bool {
	return p.Offset > q.Offset || p.Offset == q.Offset && p.Nth > q.Nth
}

// storedEvent is a line of an event file.
type storedEvent struct {
	town.Event
	Run string    `json:"run,omitempty"`
	Pos *position `json:"pos,omitempty"` // set for events decoded from the run's transcript
}

// eventLog is an agent's events on disk, appended as they happen. Safe for
// concurrent use.
type eventLog struct {
	path  string // events.jsonl; the older half is in path+".1"
	epoch string

	mu      sync.Mutex
	file    *os.File
	size    int64
	next    int64 // id of the next event
	recent  []storedEvent
	bytes   int            // of recent
	kind    town.EventType // of the newest, "" when there is none
	at      time.Time      // of the newest
	run     string
	decoded position // newest decoded position of run
	changed chan struct{}
}

// openEventLog opens or creates the log in dir, cutting off a torn last line.
func openEventLog(dir, epoch string) (*eventLog, error) {
	l := &eventLog{path: filepath.Join(dir, "events.jsonl"), epoch: epoch, next: 1}
	for _, path := range []string{l.path + ".1", l.path} {
		if err := readEvents(path, l.remember); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open events: %w", err)
	}
	l.file = file
	if l.size, err = cutTornLine(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	return l, nil
}

// cutTornLine truncates file after its last newline and leaves it positioned there.
func cutTornLine(file *os.File) (size int64, err error) {
	data, err := os.ReadFile(file.Name())
	if err != nil {
		return 0, fmt.Errorf("read events: %w", err)
	}
	size = int64(bytes.LastIndexByte(data, '\n') + 1)
	if err := file.Truncate(size); err != nil {
		return 0, fmt.Errorf("cut torn event: %w", err)
	}
	if _, err := file.Seek(size, 0); err != nil {
		return 0, fmt.Errorf("seek events: %w", err)
	}
	return size, nil
}

// readEvents calls yield for every whole line of the file; a missing file has none.
func readEvents(path string, yield func(storedEvent)) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil // the end, or a torn last line
		}
		var e storedEvent
		if json.Unmarshal(line, &e) == nil {
			yield(e)
		}
	}
}

// remember keeps e in memory and moves the counters past it.
func (l *eventLog) remember(e storedEvent) {
	l.next, l.kind, l.at = e.ID+1, e.Event.Event, e.Timestamp
	if e.Pos != nil {
		l.run, l.decoded = e.Run, *e.Pos
	}
	l.recent = append(l.recent, e)
	l.bytes += len(e.Data)
	drop := 0
	for l.bytes > eventRecentBytes && drop < len(l.recent)-1 {
		l.bytes -= len(l.recent[drop].Data)
		drop++
	}
	l.recent = l.recent[drop:]
}

// append adds one event. pos is nil unless the event was decoded from run's
// transcript; one that was added before a restart is left out. An event can be added
// although there is an error: the log could not be continued in a new file.
func (l *eventLog) append(kind town.EventType, data any, run string, pos *position, now time.Time) (_ town.Event, added bool, err error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return town.Event{}, false, fmt.Errorf("encode event: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if pos != nil && run == l.run && !pos.after(l.decoded) {
		return town.Event{}, false, nil
	}
	e := storedEvent{Event: town.Event{ID: l.next, Event: kind, Data: raw, Timestamp: now.UTC()}, Run: run, Pos: pos}
	line, err := json.Marshal(e)
	if err != nil {
		return town.Event{}, false, fmt.Errorf("encode event: %w", err)
	}
	n, err := l.file.Write(append(line, '\n'))
	l.size += int64(n)
	if err != nil {
		// A half-written line would swallow the next one.
		l.size -= int64(n)
		return town.Event{}, false, errors.Join(fmt.Errorf("write event: %w", err), l.file.Truncate(l.size), seekTo(l.file, l.size))
	}
	l.remember(e)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	if l.size >= eventFileBytes {
		return e.Event, true, l.rotate()
	}
	return e.Event, true, nil
}

func seekTo(file *os.File, offset int64) error {
	_, err := file.Seek(offset, 0)
	return err
}

func (l *eventLog) rotate() error {
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		return fmt.Errorf("rotate events: %w", err)
	}
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("rotate events: %w", err)
	}
	_ = l.file.Close()
	l.file, l.size = file, 0
	return nil
}

// page returns at most limit events of run, "" for all, with an id above after.
func (l *eventLog) page(run string, after int64, limit int) (EventPage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	after = min(max(after, 0), l.next-1) // a cursor of another epoch may point past the end
	p := EventPage{Epoch: l.epoch, Events: []town.Event{}, Next: after}
	if len(l.recent) > 0 && after+1 >= l.recent[0].ID {
		for _, e := range l.recent {
			p.take(e, run, limit)
		}
		return p, nil
	}
	for _, path := range []string{l.path + ".1", l.path} {
		if err := readEvents(path, func(e storedEvent) { p.take(e, run, limit) }); err != nil {
			return EventPage{}, err
		}
	}
	return p, nil
}

// take adds e, the next event that is held, if it is of run and there is room for it.
func (p *EventPage) take(e storedEvent, run string, limit int) {
	if e.ID <= p.Next || len(p.Events) >= limit {
		return
	}
	if e.ID > p.Next+1 {
		gap, _ := json.Marshal(town.GapData{From: e.ID})
		p.Next = e.ID - 1
		p.Events = append(p.Events, town.Event{ID: p.Next, Event: town.EventGap, Data: gap, Timestamp: e.Timestamp})
		if len(p.Events) >= limit {
			return
		}
	}
	p.Next = e.ID
	if run == "" || e.Run == run {
		p.Events = append(p.Events, e.Event)
	}
}

// wait returns when an event with an id above after exists, else ctx's error.
func (l *eventLog) wait(ctx context.Context, after int64) error {
	for {
		l.mu.Lock()
		if l.next-1 > after {
			l.mu.Unlock()
			return nil
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// last returns the newest event's id, type and time; zero when there is none.
func (l *eventLog) last() (id int64, kind town.EventType, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next - 1, l.kind, l.at
}

// since calls yield for every event that is held with an id above after, from the
// files.
func (l *eventLog) since(after int64, yield func(storedEvent)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, path := range []string{l.path + ".1", l.path} {
		if err := readEvents(path, func(e storedEvent) {
			if e.ID > after {
				yield(e)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// newest returns the id of the last event, 0 when there is none.
func (l *eventLog) newest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next - 1
}

func (l *eventLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
