package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"townd/api"
	"townd/town"
)

// measureEvents measures how long a line of an agent's output takes to become an
// event at a caller that follows events. The agent stands in for Claude Code: what
// it says is the time at which it says it.
func measureEvents(ctx context.Context, s *server) error {
	bin := filepath.Join(s.b.dir, "bin")
	script := fmt.Sprintf("#!/bin/sh\nexec %s %s speak\n", s.b.agent, agentArgument)
	if err := os.Mkdir(bin, 0o711); err != nil { //nolint:gosec // agents' users pass through
		return err
	}
	if err := os.WriteFile(filepath.Join(bin, "claude"), []byte(script), 0o755); err != nil { //nolint:gosec // agents' users run it
		return err
	}
	if err := s.again(ctx, "PATH="+bin+":"+os.Getenv("PATH")); err != nil {
		return err
	}
	req := s.request("speaker")
	req.CLI, req.Command, req.Prompt, req.Model = "claude", nil, "", ""
	if _, err := s.Start(ctx, req); err != nil {
		return fmt.Errorf("start the speaker: %w", err)
	}
	n := pick(s.b, 1000, 100)
	var events, viewed []float64
	err := together(2, func(i int) (err error) {
		if i == 0 {
			events, err = s.eventAges(ctx, n)
		} else {
			viewed, err = s.byteAges(ctx, n)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.b.report(figure{
		name: "an event at a caller after its bytes, p50", got: median(events), unit: "ms", bound: 10,
		reference: "the bytes at a viewer", ref: median(viewed),
	})
	s.b.report(figure{
		name: "the same, p99", got: quantile(events, 0.99), unit: "ms", bound: unbounded,
		reference: "the bytes at a viewer", ref: quantile(viewed, 0.99),
	})
	return nil
}

// spoken finds the time in a line that speak prints.
var spoken = regexp.MustCompile(`"text":"([0-9]+)"}`)

// speak says the time every 20 ms as Claude Code says a text, for ever.
func speak([]string) error {
	for range time.Tick(20 * time.Millisecond) {
		now := time.Now().UnixNano()
		if err := say(fmt.Sprintf(`{"type":"assistant","message":{"id":"m%d","content":[{"type":"text","text":"%d"}]}}`+"\n", now, now)); err != nil {
			return err
		}
	}
	return nil
}

// age is how long ago in ms a time that was spoken is.
func age(digits []byte) (float64, error) {
	at, err := strconv.ParseInt(string(digits), 10, 64)
	return millis(time.Since(time.Unix(0, at))), err
}

// eventAges returns how old the next n texts are as their events come.
func (s *server) eventAges(ctx context.Context, n int) ([]float64, error) {
	var ages []float64
	for e, err := range s.FollowEvents(ctx, "speaker", "") {
		if err != nil {
			return nil, err
		}
		if e.Event.Event != town.EventText {
			continue
		}
		var d town.TextData
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return nil, err
		}
		old, err := age([]byte(d.Text))
		if err != nil {
			return nil, err
		}
		if ages = append(ages, old); len(ages) == n {
			break
		}
	}
	return ages, nil
}

// byteAges returns how old the next n texts are as their bytes come to a viewer.
func (s *server) byteAges(ctx context.Context, n int) ([]float64, error) {
	stream, err := s.Stream(ctx, "speaker", api.StreamOptions{After: "live"})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var ages []float64
	var rest []byte
	for len(ages) < n {
		m, err := stream.Next(ctx)
		if err != nil {
			return nil, err
		}
		rest = append(rest, m.Data...)
		for {
			line, after, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				break
			}
			rest = after
			if found := spoken.FindSubmatch(line); found != nil {
				old, err := age(found[1])
				if err != nil {
					return nil, err
				}
				ages = append(ages, old)
			}
		}
	}
	return ages, nil
}
