package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"townd/api"
	"townd/town"
)

// The agents that print while the server is killed.
const (
	printers      = 20
	printedPerSec = 1_000_000 // bytes
	printedChunk  = 4099      // bytes a write; a prime, so that cuts fall anywhere
)

// measureCrash kills the server with -9 while agents print, and compares what
// its successors show of them with what they printed, byte by byte.
func measureCrash(ctx context.Context, s *server) error {
	b := s.b
	var empty, busy []float64
	for range pick(b, 3, 1) {
		if err := errors.Join(s.kill(), s.serve(ctx)); err != nil {
			return err
		}
		empty = append(empty, s.boot.Seconds())
	}
	kills := pick(b, 4, 1)
	total := int64(kills+2) * 2 * printedPerSec // they print on after the last kill
	agents, err := s.launchPrinters(ctx, total)
	if err != nil {
		return err
	}
	adopted := printers
	for range kills {
		if err := pause(ctx, 1500*time.Millisecond); err != nil {
			return err
		}
		if err := errors.Join(s.kill(), s.serve(ctx)); err != nil {
			return err
		}
		busy = append(busy, s.boot.Seconds())
		n, err := s.adopted(ctx, agents)
		if err != nil {
			return err
		}
		adopted = min(adopted, n)
	}
	same, err := s.intact(ctx, agents, total)
	if err != nil {
		return err
	}
	b.report(figure{
		name: "server killed under 20 x 1 MB/s: answers after", got: slices.Max(busy), unit: "s", bound: 1,
		reference: "empty town", ref: median(empty),
	})
	b.report(figure{name: "agents adopted", got: float64(adopted), bound: printers, atLeast: true, reference: "running", ref: printers})
	b.report(figure{
		name: "transcripts equal to what was printed", got: float64(same), bound: printers, atLeast: true,
		reference: "agents", ref: printers,
	})
	return nil
}

// launchPrinters starts agents that each print total bytes, 0 without end, the
// number of the agent being its seed.
func (s *server) launchPrinters(ctx context.Context, total int64) ([]town.Agent, error) {
	return s.launchAll(ctx, printers, "printer", func(i int) []string {
		return []string{"print", fmt.Sprint(i), fmt.Sprint(printedPerSec), fmt.Sprint(printedChunk), fmt.Sprint(total)}
	})
}

// adopted returns how many of agents run as they did.
func (s *server) adopted(ctx context.Context, agents []town.Agent) (int, error) {
	now, err := s.Agents(ctx)
	if err != nil {
		return 0, err
	}
	running := make(map[string]int)
	for _, a := range now {
		if a.Status == town.StatusRunning && a.PID != nil {
			running[a.RunID] = *a.PID
		}
	}
	n := 0
	for _, a := range agents {
		if a.PID != nil && running[a.RunID] == *a.PID {
			n++
		}
	}
	return n, nil
}

// intact waits until the agents have ended and returns how many transcripts are
// exactly what was printed.
func (s *server) intact(ctx context.Context, agents []town.Agent, total int64) (int, error) {
	var same atomic.Int64
	err := together(len(agents), func(i int) error {
		// An exit frame comes after the last byte.
		if _, err := s.Follow(ctx, agents[i].AgentID, api.StreamOptions{After: "live"}, func(api.Message) error { return nil }); err != nil {
			return err
		}
		t, err := s.Transcript(ctx, agents[i].AgentID, "", -1)
		if err != nil {
			return err
		}
		defer t.Body.Close()
		n, err := compare(t.Body, int64(i))
		if t.First == 0 && n == total {
			same.Add(1)
		}
		return err
	})
	return int(same.Load()), err
}

// compare returns how many bytes r holds if all are what the agent of that seed
// prints, else -1.
func compare(r io.Reader, seed int64) (int64, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	for i := int64(0); ; i++ {
		c, err := buffered.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return i, nil
		case err != nil:
			return 0, err
		case c != printed(seed, i):
			return -1, nil
		}
	}
}
