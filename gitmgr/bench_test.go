package gitmgr

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
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

// large is a remote of 20,000 files, which is expensive to make.
func large(b *testing.B) *gittest.Remote {
	b.Helper()
	return gittest.New(b, gittest.Options{Files: 20_000, FileBytes: 1000})
}

// BenchmarkCheckpoint saves a worktree of 20,000 files, 10 of them changed or none,
// in turns with git status there.
func BenchmarkCheckpoint(b *testing.B) {
	r := large(b)
	m := newManager(b)
	for _, changed := range []int{10, 0} {
		w := mustWorktree(b, m, spec(r, fmt.Sprint("changed", changed)))
		b.Run(fmt.Sprintf("files=20000/changed=%d", changed), func(b *testing.B) {
			var ours, gits []time.Duration
			for i := 0; b.Loop(); i++ {
				for n := range changed {
					write(b, filepath.Join(w.Dir, fmt.Sprintf("dir%03d/file%05d.txt", n, n*100)), fmt.Sprint("changed ", i, n))
				}
				start := time.Now()
				git(b, w.Dir, "--no-optional-locks", "status", "--porcelain", "-uall")
				gits = append(gits, time.Since(start))
				start = time.Now()
				if cp, err := m.Checkpoint(b.Context(), "rig", w.Branch, "agent", Owner{}); err != nil || cp.Clean != (changed == 0) {
					b.Fatal(cp, err)
				}
				ours = append(ours, time.Since(start))
			}
			b.ReportMetric(ms(median(ours)), "ms/ours")
			b.ReportMetric(ms(median(gits)), "ms/git-status")
			b.ReportMetric(float64(median(ours))/float64(median(gits)), "ratio")
		})
	}
}

// BenchmarkMerge merges a branch of 50 commits among 20,000 files in memory, in
// turns with git merge in a worktree, and the same with fetch and push of a remote
// on this machine.
func BenchmarkMerge(b *testing.B) {
	r := large(b)
	m := newManager(b)
	w := mustWorktree(b, m, spec(r, "work"))
	for i := range 50 {
		write(b, filepath.Join(w.Dir, fmt.Sprintf("dir%03d/file%05d.txt", i, i*100)), fmt.Sprint("changed ", i))
		git(b, w.Dir, "commit", "--quiet", "-am", fmt.Sprint("commit ", i))
	}
	base := r.Commit("main", "dir199/file19999.txt", "theirs")
	plain := filepath.Join(b.TempDir(), "plain")
	git(b, w.Dir, "fetch", "--quiet")
	git(b, w.Dir, "worktree", "add", "--quiet", "--detach", plain, base)
	for _, s := range []Strategy{StrategyMerge, StrategySquash, StrategyRebase} {
		b.Run("commits=50/files=20000/"+string(s), func(b *testing.B) {
			var ours, all, gits []time.Duration
			for b.Loop() {
				r.Git("update-ref", "refs/heads/main", base)
				q := MergeRequest{RigID: "rig", Branch: "work", Strategy: s}
				start := time.Now()
				if res, err := m.Merge(b.Context(), q); err != nil || res.Status != MergeDone {
					b.Fatal(res, err)
				}
				all = append(all, time.Since(start))
				ours = append(ours, inMemory(b, m, q, base))
				git(b, plain, "reset", "--quiet", "--hard", base)
				start = time.Now()
				if s == StrategyRebase {
					git(b, plain, "cherry-pick", base+"..work")
				} else {
					git(b, plain, "merge", "--quiet", "--no-ff", "-m", "merge", "work")
				}
				gits = append(gits, time.Since(start))
			}
			b.ReportMetric(ms(median(ours)), "ms/in-memory")
			b.ReportMetric(ms(median(all)), "ms/with-remote")
			b.ReportMetric(ms(median(gits)), "ms/git")
		})
	}
}

// inMemory times the part of a merge between fetch and push.
func inMemory(b *testing.B, m *Manager, q MergeRequest, base string) time.Duration {
	b.Helper()
	r := m.rigs["rig"]
	own, release, err := r.acquireBranch(b.Context(), gateBranch)
	if err != nil {
		b.Fatal(err)
	}
	defer release()
	q.Target = "main"
	g := &merging{rig: r, MergeRequest: q, own: own}
	start := time.Now()
	g.result.Base = base
	if g.result.Head, err = g.tip(b.Context()); err != nil {
		b.Fatal(err)
	}
	if commit, err := g.build(b.Context()); err != nil || commit == "" {
		b.Fatal(commit, err)
	}
	return time.Since(start)
}

// BenchmarkReadyWorktree takes worktrees from the pool, and looks at the first git
// status there against a later one.
func BenchmarkReadyWorktree(b *testing.B) {
	for _, c := range []struct {
		files int
		uid   uint32
	}{{200, 0}, {200, uidA}, {20_000, 0}, {20_000, uidA}} {
		b.Run(fmt.Sprintf("files=%d/uid=%d", c.files, c.uid), func(b *testing.B) {
			r := gittest.New(b, gittest.Options{Files: c.files, FileBytes: 1000})
			m := newManager(b)
			if c.uid != 0 {
				m = isolated(b)
			}
			if _, err := m.Prepare(b.Context(), "rig", r.URL(), false, nil); err != nil {
				b.Fatal(err)
			}
			var ours, first, second []time.Duration
			status := func(w Worktree) time.Duration {
				start := time.Now()
				if out, err := gitAs(c.uid, w.GID, w.Dir, "status", "--porcelain"); err != nil || out != "" {
					b.Fatal(out, err)
				}
				return time.Since(start)
			}
			for i := 0; b.Loop(); i++ {
				warmed(b, m, Owner{UID: c.uid})
				made := modified(b, filepath.Join(m.rigs["rig"].admin(poolSlot(Owner{UID: c.uid}, 0)), "index"))
				eventually(b, "it has waited for a second", func() bool { return time.Since(made) > time.Second+2*clockSlack })
				start := time.Now()
				w := mustWorktree(b, m, ownedSpec(r, fmt.Sprintf("polecat/p%d/bead", i), c.uid))
				ours = append(ours, time.Since(start))
				first, second = append(first, status(w)), append(second, status(w))
				if err := m.Remove(b.Context(), "rig", w.Branch, true); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(ms(median(ours)), "ms/ready")
			b.ReportMetric(ms(median(first)), "ms/first-status")
			b.ReportMetric(ms(median(second)), "ms/warm-status")
		})
	}
}

// BenchmarkFiftyAtOnce starts fifty worktrees of one rig at once, against git's own
// command with as many at a time as there are processors, in turns.
func BenchmarkFiftyAtOnce(b *testing.B) {
	const count = 50
	for _, c := range []struct {
		files int
		uid   uint32
	}{{200, 0}, {2000, 0}, {2000, uidA}} {
		b.Run(fmt.Sprintf("files=%d/uid=%d", c.files, c.uid), func(b *testing.B) {
			r := gittest.New(b, gittest.Options{Files: c.files, FileBytes: 1000})
			m := newManager(b)
			if c.uid != 0 {
				m = isolated(b)
			}
			mustWorktree(b, m, ownedSpec(r, "warm", c.uid))
			plain := plainRepository(b, r)
			var ours, gits []time.Duration
			for n := 0; b.Loop(); n++ {
				ours = append(ours, atOnce(b, count, count, func(i int) error {
					uid := c.uid
					if uid != 0 {
						uid += uint32(i)
					}
					_, err := m.Worktree(b.Context(), ownedSpec(r, fmt.Sprintf("polecat/p%d-%d/bead", n, i), uid))
					return err
				}))
				gits = append(gits, atOnce(b, count, runtime.NumCPU(), func(i int) error {
					// All of them, and on a branch each: the same work. A lock of the
					// configuration that two want is git's own trouble: --no-track has none.
					dir := filepath.Join(plain, fmt.Sprintf("../w%d-%d", n, i))
					out, err := gittest.Command(plain, "worktree", "add", "--quiet", "--no-track", "-b", fmt.Sprintf("plain/%d-%d", n, i), dir, "main").CombinedOutput()
					if err != nil {
						return fmt.Errorf("%w: %s", err, out)
					}
					return nil
				}))
				b.StopTimer()
				for i := range count {
					if err := m.Remove(b.Context(), "rig", fmt.Sprintf("polecat/p%d-%d/bead", n, i), true); err != nil {
						b.Fatal(err)
					}
					git(b, plain, "worktree", "remove", "--force", fmt.Sprintf("../w%d-%d", n, i))
				}
				if err := m.rigs["rig"].emptyTrash(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(ms(median(ours)), "ms/ours")
			b.ReportMetric(ms(median(gits)), "ms/git")
			b.ReportMetric(float64(median(ours))/float64(median(gits)), "ratio")
		})
	}
}

// plainRepository is a bare clone that git alone works in.
func plainRepository(b *testing.B, r *gittest.Remote) string {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "plain.git")
	if out, err := gittest.Command("", "clone", "--quiet", "--bare", r.URL(), dir).CombinedOutput(); err != nil {
		b.Fatal(string(out))
	}
	return dir
}

// atOnce runs f for 0 to count-1, so many at a time, and returns how long all took.
func atOnce(b *testing.B, count, at int, f func(i int) error) time.Duration {
	b.Helper()
	var wg sync.WaitGroup
	turns := make(chan struct{}, at)
	start := time.Now()
	for i := range count {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if err := f(i); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// BenchmarkLooks looks at worktrees of 20,000 files as the supervisor does in the minute
// after its agents have worked, fifty times, and reports what of a core that is, in
// turns with as many runs of git status: processor time of git and of this process.
// Files are changed before each look, which is in its figure.
func BenchmarkLooks(b *testing.B) {
	const agents, looks = 10, 50
	r := large(b)
	m := newManager(b)
	for _, changed := range []int{10, 0} {
		b.Run(fmt.Sprintf("files=20000/changed=%d", changed), func(b *testing.B) {
			work := make([]Worktree, agents)
			for i := range work {
				work[i] = mustWorktree(b, m, spec(r, fmt.Sprintf("polecat/p%d-%d/bead", changed, i)))
			}
			made := time.Now().Add(clockSlack).Unix()
			eventually(b, "the next second", func() bool { return time.Now().Unix() > made }) // as with agents: a look comes later
			var round atomic.Int64
			look := func(i int) error {
				for n := range changed {
					write(b, filepath.Join(work[i%agents].Dir, fmt.Sprintf("dir%03d/file%05d.txt", n, n*100)), fmt.Sprint("changed ", round.Add(1)))
				}
				_, err := m.Checkpoint(b.Context(), "rig", work[i%agents].Branch, fmt.Sprint("agent", i%agents), Owner{})
				return err
			}
			status := func(i int) error {
				git(b, work[i%agents].Dir, "--no-optional-locks", "status", "--porcelain", "-uall")
				return nil
			}
			atOnce(b, agents, 1, look) // the first saves what there is
			used := func(f func(int) error) time.Duration {
				before := processorTime(b)
				atOnce(b, looks, runtime.NumCPU(), f)
				return processorTime(b) - before
			}
			var ours, gits []time.Duration
			for b.Loop() {
				ours, gits = append(ours, used(look)), append(gits, used(status))
			}
			b.ReportMetric(ms(median(ours))/looks, "ms-processor/look")
			b.ReportMetric(ms(median(gits))/looks, "ms-processor/git-status")
			b.ReportMetric(100*median(ours).Seconds()/60, "%core-for-50-a-minute")
		})
	}
}

// processorTime is what this process and the children it has waited for have used.
func processorTime(b *testing.B) (sum time.Duration) {
	b.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
