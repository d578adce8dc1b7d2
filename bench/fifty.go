package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"townd/town"
)

// largeFiles is how many files a large repository has.
const largeFiles = 20_000

// measureFifty starts many agents at once on one rig with 20,000 files, each watched until
// its first byte, beside as many of git's own worktree add on the same repository, as many at
// a time as there are processors. Each half is done with in turn, and what it made deleted.
func measureFifty(ctx context.Context, s *server) error {
	b := s.b
	count := pick(b, 50, 10)
	repo, err := b.makeRepository(ctx, "large", largeFiles)
	if err != nil {
		return err
	}
	s.repo = repo
	clone := filepath.Join(b.dir, "large.git")
	if err := b.git(ctx, b.dir, "clone", "-q", "--bare", s.repo, clone); err != nil {
		return err
	}
	resident, err := s.launch(ctx, "resident", "idle") // clones the rig, whose pool is filled then
	if err != nil {
		return err
	}
	git, err := b.addAtOnce(ctx, clone, count)
	if err != nil {
		return err
	}
	start, first, err := s.startAndForget(ctx, count, "fifty")
	if err != nil {
		return err
	}
	b.reportFifty(count, git.Seconds(), start.Seconds(), first)
	return s.halt(ctx, resident)
}

func (b *bench) reportFifty(count int, git, start float64, first []float64) {
	reference := fmt.Sprintf("as many git worktree add, %d at a time", runtime.NumCPU())
	b.report(figure{
		name: fmt.Sprintf("%d starts at once, %d files, all of them", count, largeFiles), got: start, unit: "s",
		bound: 1.2 * git, reference: reference, ref: git,
	})
	for _, q := range []float64{0.5, 0.99} {
		b.report(figure{
			name: fmt.Sprintf("the same, first byte, p%.0f", 100*q), got: quantile(first, q), unit: "s",
			bound: unbounded, reference: reference, ref: git,
		})
	}
}

// addAtOnce has git make so many worktrees with a branch each, and deletes them.
func (b *bench) addAtOnce(ctx context.Context, clone string, count int) (time.Duration, error) {
	dir := filepath.Join(b.dir, "at-once")
	turns := make(chan struct{}, runtime.NumCPU())
	began := time.Now()
	err := together(count, func(i int) error {
		turns <- struct{}{}
		defer func() { <-turns }()
		return b.git(ctx, clone, "worktree", "add", "-q", "--no-track", "-B", "bench/"+strconv.Itoa(i), filepath.Join(dir, strconv.Itoa(i)), "main")
	})
	took := time.Since(began)
	err = errors.Join(err, os.RemoveAll(dir))
	return took, errors.Join(err, b.git(ctx, clone, "worktree", "prune"))
}

// startAndForget starts so many agents at once, and returns how long it took until the last of
// them had printed, and for each. Then it forgets them, which deletes their worktrees.
func (s *server) startAndForget(ctx context.Context, count int, prefix string) (took time.Duration, each []float64, err error) {
	var mu sync.Mutex
	agents := make([]town.Agent, count)
	began := time.Now()
	err = together(count, func(i int) (err error) {
		agents[i], err = s.launch(ctx, prefix+strconv.Itoa(i), "idle")
		mu.Lock()
		defer mu.Unlock()
		each = append(each, time.Since(began).Seconds())
		return err
	})
	took = time.Since(began)
	if err == nil {
		err = s.halt(ctx, agents...)
	}
	for _, a := range agents {
		if err == nil {
			err = s.Delete(ctx, a.AgentID)
		}
	}
	return took, each, err
}
