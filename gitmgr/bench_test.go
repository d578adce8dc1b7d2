package gitmgr

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"townd/gitmgr/gittest"
)

// BenchmarkWorktree makes worktrees of a warm rig with 200 files, in turns with
// git's own command on the same repository, and reports both medians.
func BenchmarkWorktree(b *testing.B) {
	for _, c := range []struct {
		bytes int
		uid   uint32
	}{{180, 0}, {6600, 0}, {180, uidA}} {
		b.Run(fmt.Sprintf("files=200/bytes=%d/uid=%d", c.bytes, c.uid), func(b *testing.B) {
			r := gittest.New(b, gittest.Options{Files: 200, FileBytes: c.bytes, Commits: 20})
			m := newManager(b)
			if c.uid != 0 {
				m = isolated(b)
			}
			mustWorktree(b, m, spec(r, "warm"))
			repo := m.rigs["rig"].repo
			plain := filepath.Join(b.TempDir(), "plain")
			var ours, gits []time.Duration
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				mustWorktree(b, m, ownedSpec(r, fmt.Sprintf("polecat/p%d/bead", i), c.uid))
				ours = append(ours, time.Since(start))
				start = time.Now()
				if out, err := gittest.Command(repo, "worktree", "add", "--quiet", "-b", fmt.Sprintf("plain/%d", i), "--no-track",
					filepath.Join(plain, fmt.Sprint(i)), "main").CombinedOutput(); err != nil {
					b.Fatal(string(out))
				}
				gits = append(gits, time.Since(start))
			}
			b.ReportMetric(ms(median(ours)), "ms/ours")
			b.ReportMetric(ms(median(gits)), "ms/git")
			b.ReportMetric(ms(median(ours)-median(gits)), "ms/over-git")
		})
	}
}

// BenchmarkHundredWorktrees makes 100 worktrees at once, against git's own
// command one after the other.
func BenchmarkHundredWorktrees(b *testing.B) {
	r := gittest.New(b, gittest.Options{Files: 200, FileBytes: 6600})
	m := newManager(b)
	mustWorktree(b, m, spec(r, "warm"))
	plain := filepath.Join(b.TempDir(), "plain")
	var ours, gits time.Duration
	n := 0
	for b.Loop() {
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if _, err := m.Worktree(b.Context(), spec(r, fmt.Sprintf("polecat/p%d-%d/bead", n, i))); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		ours += time.Since(start)
		start = time.Now()
		for i := range 100 {
			if out, err := gittest.Command(m.rigs["rig"].repo, "worktree", "add", "--quiet", "-b", fmt.Sprintf("plain/%d-%d", n, i), "--no-track",
				filepath.Join(plain, fmt.Sprintf("%d-%d", n, i)), "main").CombinedOutput(); err != nil {
				b.Fatal(string(out))
			}
		}
		gits += time.Since(start)
		n++
	}
	b.ReportMetric(ms(ours)/float64(n), "ms/ours")
	b.ReportMetric(ms(gits)/float64(n), "ms/git-serial")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
