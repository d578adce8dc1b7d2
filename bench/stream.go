package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"townd/api"
)

// warmup is left out at the beginning of a flood.
const warmup = 300 * time.Millisecond

// measureStream measures how fast output reaches one viewer, and what a hundred
// viewers cost.
func measureStream(ctx context.Context, s *server) error {
	if err := measureFlood(ctx, s); err != nil {
		return err
	}
	return measureViewers(ctx, s)
}

// measureFlood compares one viewer of a program that prints as fast as it is
// read with a plain loop that reads the same program's terminal.
func measureFlood(ctx context.Context, s *server) error {
	b := s.b
	const window = time.Second
	var seen, bare, kept []float64
	for i := range pick(b, 11, 3) {
		reference := func() error {
			rate, err := readBare(ctx, b.agent, window)
			bare = append(bare, rate)
			return err
		}
		if i%2 == 0 {
			if err := reference(); err != nil {
				return err
			}
		}
		saw, printed, err := s.watchFlood(ctx, "flood"+strconv.Itoa(i), window)
		if err != nil {
			return err
		}
		seen, kept = append(seen, saw), append(kept, printed)
		if i%2 == 1 {
			if err := reference(); err != nil {
				return err
			}
		}
	}
	b.report(figure{
		name: "flood to one viewer", got: median(seen), unit: "MB/s", bound: 0.4 * median(bare), atLeast: true,
		reference: "bare loop on the same raw PTY", ref: median(bare),
	})
	b.report(figure{
		name: "what the flood prints meanwhile", got: median(kept), unit: "MB/s", bound: unbounded,
		reference: "bare loop on the same raw PTY", ref: median(bare),
	})
	return nil
}

// readBare returns how many MB/s a loop reads from a flood on a PTY, as fast as
// Go can: without blocking, which creack/pty does, and into what one read fills.
func readBare(ctx context.Context, program string, window time.Duration) (float64, error) {
	cmd := exec.CommandContext(ctx, program, agentArgument, "flood")
	blocking, err := pty.Start(cmd)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // "signal: killed"
		blocking.Close()
	}()
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	terminal := os.NewFile(uintptr(fd), blocking.Name())
	defer terminal.Close()
	buf := make([]byte, 4<<10)
	return rateOf(window, func() (int, error) { return terminal.Read(buf) })
}

// watchFlood returns how many MB/s one viewer gets of a flood, and how many
// are printed meanwhile.
func (s *server) watchFlood(ctx context.Context, id string, window time.Duration) (seen, printed float64, err error) {
	agent, stream, err := s.start(ctx, id, "flood")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.halt(ctx, agent)) }()
	began, offset := time.Now(), int64(0)
	seen, err = rateOf(window, func() (int, error) {
		m, err := stream.Next(ctx)
		return len(m.Data), err
	})
	if err == nil {
		offset, err = s.position(ctx, id)
	}
	printed = float64(offset) / 1e6 / time.Since(began).Seconds()
	_ = stream.Close() // in the middle of a flood there is no polite end
	return seen, printed, err
}

// rateOf returns MB/s of what read returns, from the warmup on for a while.
func rateOf(window time.Duration, read func() (int, error)) (float64, error) {
	total, first := 0, time.Now().Add(warmup)
	for {
		n, err := read()
		if err != nil {
			return 0, err
		}
		now := time.Now()
		if now.Before(first) {
			continue
		}
		if total += n; now.Sub(first) >= window {
			return float64(total) / 1e6 / now.Sub(first).Seconds(), nil
		}
	}
}

// The agent that many watch.
const (
	viewers         = 100
	watchedPerSec   = 400_000 // bytes
	watchedPerWrite = 200     // bytes, so that every viewer has 2000 reasons a second to send
)

// measureViewers measures what viewers cost, and that the agent does not notice
// them: none, a hundred, and a hundred of which half read nothing, in turns.
func measureViewers(ctx context.Context, s *server) error {
	b := s.b
	agent, err := s.launch(ctx, "watched", "print", "0", fmt.Sprint(watchedPerSec), fmt.Sprint(watchedPerWrite), "0")
	if err != nil {
		return err
	}
	var rates, shares [3][]float64
	for range pick(b, 3, 1) {
		for i, crowd := range []struct{ reading, stopped int }{{0, 0}, {viewers, 0}, {viewers / 2, viewers / 2}} {
			rate, share, err := s.watched(ctx, agent.AgentID, crowd.reading, crowd.stopped)
			if err != nil {
				return err
			}
			rates[i], shares[i] = append(rates[i], rate), append(shares[i], 100*share)
		}
	}
	if err := s.halt(ctx, agent); err != nil {
		return err
	}
	none := median(rates[0])
	b.report(figure{
		name: "server and keeper, 100 viewers of 400 KB/s", got: median(shares[1]), unit: "% core", bound: 30,
		reference: "no viewer", ref: median(shares[0]),
	})
	b.report(figure{
		name: "the same, half of them stopped reading", got: median(shares[2]), unit: "% core", bound: unbounded,
		reference: "no viewer", ref: median(shares[0]),
	})
	b.report(figure{
		name: "what the agent prints, 100 viewers", got: median(rates[1]), unit: "KB/s", bound: 0.97 * none, atLeast: true,
		reference: "no viewer", ref: none,
	})
	b.report(figure{
		name: "the same, half of them stopped reading", got: median(rates[2]), unit: "KB/s", bound: 0.97 * none, atLeast: true,
		reference: "no viewer", ref: none,
	})
	return nil
}

// watched returns how many KB/s the agent prints and what share of a core server
// and keeper use, with so many viewers.
func (s *server) watched(ctx context.Context, id string, reading, stopped int) (rate, share float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	crowd := make(chan error, reading) // of as many as send
	defer func() {
		cancel()
		for range cap(crowd) {
			err = errors.Join(err, <-crowd)
		}
	}()
	for range stopped {
		leave, err := s.ignore(ctx, id)
		if err != nil {
			return 0, 0, err
		}
		defer leave()
	}
	for range reading {
		go func() { crowd <- s.read(ctx, id) }() // ends with ctx; waited for above
	}
	window := pick(s.b, 10*time.Second, 4*time.Second)
	if err := pause(ctx, window/2); err != nil { // all are there and what is not read stands still
		return 0, 0, err
	}
	began := time.Now()
	from, err := s.position(ctx, id)
	if err != nil {
		return 0, 0, err
	}
	if share, err = s.cpu(ctx, window); err != nil {
		return 0, 0, err
	}
	to, err := s.position(ctx, id)
	return float64(to-from) / 1e3 / time.Since(began).Seconds(), share, err
}

// read watches an agent until ctx ends. Anything else that ends it is an error,
// and so is a gap.
func (s *server) read(ctx context.Context, id string) error {
	stream, err := s.Stream(ctx, id, api.StreamOptions{After: "live"})
	for err == nil {
		var m api.Message
		m, err = stream.Next(ctx)
		if gap, ok := m.Frame.(api.GapFrame); ok {
			err = fmt.Errorf("a gap from %d to %d", gap.From, gap.To)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("viewer: %w", err)
}

// ignore opens a stream and reads nothing of it until leave is called.
func (s *server) ignore(ctx context.Context, id string) (leave func(), err error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(4 << 10) // stands still soon
		}
		return conn, err
	}}
	c := api.New("http://"+s.address, s.token, &http.Client{Transport: transport})
	stream, err := c.Stream(ctx, id, api.StreamOptions{After: "live"})
	if err != nil {
		return nil, err
	}
	// A polite end would read what waits.
	gone, cancel := context.WithCancel(ctx)
	return func() {
		cancel()
		_, _ = stream.Next(gone)
	}, nil
}
