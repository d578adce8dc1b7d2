package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// measureHealth compares GET /health with an empty handler in a process of its
// own, in turns: beside idle agents, and under load.
func measureHealth(ctx context.Context, s *server) (err error) {
	b := s.b
	empty, err := startHandler(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, empty.close()) }()
	idlers, err := s.launchAll(ctx, 100, "idle", idle)
	if err != nil {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil { // what starting left to do is done
		return err
	}
	quiet, err := s.askHealth(ctx, empty)
	if err != nil {
		return err
	}
	b.report(figure{
		name: "GET /health, 100 idle agents, p99", got: median(quiet.health), unit: "ms", bound: 5,
		reference: "empty Go handler", ref: median(quiet.empty),
	})
	if err := s.halt(ctx, idlers...); err != nil {
		return err
	}
	printing, err := s.launchPrinters(ctx, 0)
	if err != nil {
		return err
	}
	starting, stop := context.WithCancel(ctx)
	churned := make(chan error, 1)
	go func() { churned <- s.churn(starting) }() // ends with starting
	busy, err := s.askHealth(ctx, empty)
	stop()
	if err = errors.Join(err, <-churned, s.halt(ctx, printing...)); err != nil {
		return err
	}
	b.report(figure{
		name: "GET /health under load, p99", got: median(busy.health), unit: "ms", bound: 2 * median(busy.empty),
		reference: "empty Go handler", ref: median(busy.empty),
	})
	return nil
}

// churn starts and stops one new agent after the other until ctx ends.
func (s *server) churn(ctx context.Context) error {
	for i := 0; ctx.Err() == nil; i++ {
		agent, err := s.launch(ctx, "churn"+strconv.Itoa(i), "idle")
		if err == nil {
			err = s.halt(ctx, agent)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// latencies are the p99 of each round, in milliseconds.
type latencies struct{ health, empty []float64 }

// askHealth asks the town and the empty handler in turns, every few milliseconds.
func (s *server) askHealth(ctx context.Context, empty *handler) (latencies, error) {
	const asked = 1000 // a p99 of fewer is chance
	var got latencies
	for range pick(s.b, 5, 1) {
		var health, handled []float64
		for i := range asked {
			for turn := range 2 {
				ask, out := empty.ask, &handled
				if turn == i%2 {
					ask, out = func(ctx context.Context) error { _, err := s.Health(ctx); return err }, &health
				}
				began := time.Now()
				if err := ask(ctx); err != nil {
					return latencies{}, err
				}
				*out = append(*out, millis(time.Since(began)))
				if err := pause(ctx, 2*time.Millisecond); err != nil {
					return latencies{}, err
				}
			}
		}
		got.health, got.empty = append(got.health, quantile(health, 0.99)), append(got.empty, quantile(handled, 0.99))
	}
	return got, nil
}

// handler is a process that serves an empty handler.
type handler struct {
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
	http  *http.Client
}

// startHandler starts one. The caller closes it.
func startHandler(ctx context.Context, b *bench) (*handler, error) {
	h := &handler{cmd: exec.Command(b.agent, agentArgument, "handler"), http: &http.Client{Transport: new(http.Transport)}}
	stdin, err := h.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	h.stdin = stdin
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	h.url = "http://" + strings.TrimSpace(address)
	return h, h.ask(ctx)
}

func (h *handler) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url, nil)
	if err != nil {
		return err
	}
	resp, err := h.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (h *handler) close() error {
	h.http.CloseIdleConnections()
	return errors.Join(h.stdin.Close(), h.cmd.Wait()) // it ends with its input
}
