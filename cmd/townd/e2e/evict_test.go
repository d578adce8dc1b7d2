package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/coordinator/townhall"
	"townd/llm/llmtest"
	"townd/supervisor/agenttest"
	"townd/town"
)

// farHall is a coordinator outside of any container, with work for the one that is there.
type farHall struct {
	*townhall.Hall
	URL   string
	there atomic.Pointer[api.Client] // the container, nil for none
}

const farToken = "token-of-the-far-hall"

func newFarHall(t *testing.T, agents int) *farHall {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	h, err := townhall.Open(t.Context(), townhall.Config{
		Path: filepath.Join(t.TempDir(), "town.db"), TownID: "far", HeartbeatEvery: time.Second, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &farHall{Hall: h}
	ctx, stop := context.WithCancel(context.Background()) // past the containers, which t.Context is not
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = f.Dispatch(ctx, townhall.DispatchConfig{MaxAgents: agents, Container: func() townhall.Container {
			if c := f.there.Load(); c != nil {
				return c
			}
			return nil
		}})
	})
	server := httptest.NewServer(h.Handler(townhall.HandlerConfig{Authorize: wire.NewToken(farToken).Authorize, Log: log, Done: ctx.Done()}))
	f.URL = server.URL
	t.Cleanup(func() {
		stop()
		wg.Wait()
		server.Close()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// container starts a town of its own home whose coordinator f is.
func (f *farHall) container(t *testing.T, env map[string]string) *testTown {
	t.Helper()
	all := map[string]string{
		"TOWND_COORDINATOR_URL": f.URL, "TOWND_TOKEN": farToken, "TOWND_TOWN_ID": "far", "TOWND_HEARTBEAT_SECONDS": "1",
		"TOWND_PUSH_CHECKPOINTS": "true",
	}
	maps.Copy(all, env)
	tt := newTown(t, all)
	f.there.Store(tt.Client)
	return tt
}

// all returns the rig's beads when each of them is ok, nil before.
func (f *farHall) all(t *testing.T, ok func(town.Bead) bool) []town.Bead {
	t.Helper()
	beads, _, err := f.Beads(t.Context(), api.BeadQuery{RigID: "rig", Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range beads {
		if !ok(b) {
			return nil
		}
	}
	return beads
}

// beginThenFinish is an agent that leaves its work in no commit until it is evicted.
// Where it finds that work it hands it over.
const beginThenFinish = `
file=work-$TOWND_BEAD_ID.txt
if test -e $file; then
  grep -q "changed$" dir000/file00000.txt || exit 3
  git checkout -q -- dir000/file00000.txt
  git add $file && git commit -q -m "$file" && git push -q origin HEAD && townd report done "The file that was asked for is there."
  exit
fi
echo "begun in $TOWND_RUN_ID" >$file
echo changed >>dir000/file00000.txt
sleep 1000`

// V (eviction): SIGTERM with 20 agents in the middle of their work brings all of it to the
// remote, and their beads back to the coordinator, which are no failed attempts and
// held by nobody. A container with an empty disk goes on where they stopped.
func TestEvictedTownGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	const beads = 20
	hall := newFarHall(t, beads)
	first := hall.container(t, map[string]string{"TOWND_STOP_SECONDS": "20"})
	remote := first.remote
	if _, _, err := hall.PutRig(t.Context(), townhall.Person, "rig", town.RigSettings{
		GitURL: remote.URL(), DefaultBranch: remote.Branch, CLI: "command", Command: []string{"sh", "-c", beginThenFinish}, MaxAgents: beads,
	}); err != nil {
		t.Fatal(err)
	}
	for i := range beads {
		if _, _, err := hall.CreateBead(t.Context(), townhall.Person, "rig", town.BeadRequest{Title: fmt.Sprintf("bead %d", i), MaxAttempts: 2}); err != nil {
			t.Fatal(err)
		}
	}
	begun := first.allDirty(beads)
	old, _ := instanceOf(t, hall)

	took := first.evict()
	t.Logf("SIGTERM with %d dirty worktrees: ended after %v", beads, took.Round(time.Millisecond))
	if n := len(strings.Fields(remote.Git("for-each-ref", "--format=%(refname)", "refs/town/checkpoints/"))); n != beads {
		t.Errorf("the remote has %d checkpoints, want %d", n, beads)
	}
	if hall.all(t, func(b town.Bead) bool { return b.Status == town.BeadOpen && b.Hold == "" && b.Attempts == 0 }) == nil {
		all := hall.all(t, func(town.Bead) bool { return true })
		t.Errorf("not all beads are free again after the container has ended: %+v", all)
	}
	if _, status := instanceOf(t, hall); status != "draining" {
		t.Errorf("the container's last word was %q, want draining", status)
	}
	if err := os.RemoveAll(first.home); err != nil {
		t.Fatal(err)
	}

	hall.container(t, nil)
	waitFor(t, "closed beads", func() bool {
		return hall.all(t, func(b town.Bead) bool { return b.Status == town.BeadClosed }) != nil
	})
	for _, b := range hall.all(t, func(town.Bead) bool { return true }) {
		if b.Status != town.BeadClosed {
			t.Errorf("bead %s is %s: %s", b.ID, b.Status, b.Why)
			continue
		}
		if got, want := remote.Git("show", remote.Branch+":work-"+b.ID+".txt"), "begun in "+begun[b.ID]; strings.TrimSpace(got) != want {
			t.Errorf("bead %s has %q, want %q: it did not go on from its checkpoint", b.ID, got, want)
		}
	}
	if _, err := hall.Heartbeat(t.Context(), town.Heartbeat{InstanceID: old, Status: "ok"}); !errors.Is(err, town.ErrGone) {
		t.Errorf("the container that has ended may speak again: %v", err)
	}
}

// A town that is stopped and started again on the same disk, with the coordinator in it,
// does the same.
func TestStoppedTownTakesItsBeadsUpAgain(t *testing.T) {
	t.Parallel()
	tt := newTown(t, map[string]string{"TOWND_HEARTBEAT_SECONDS": "1"})
	hall := func() *api.HallClient { return api.NewHall("http://"+tt.address, "local", tt.token, tt.http) }
	if _, _, err := hall().PutRig(tt.context(), "rig", town.RigSettings{
		GitURL: tt.remote.URL(), DefaultBranch: tt.remote.Branch, CLI: "command", Command: []string{"sh", "-c", beginThenFinish},
	}); err != nil {
		t.Fatal(err)
	}
	bead, _, err := hall().CreateBead(tt.context(), "rig", town.BeadRequest{Title: "a file", MaxAttempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	begun := tt.allDirty(1)
	tt.evict()
	tt.serve()
	waitFor(t, "closed bead", func() bool {
		b, err := hall().Bead(tt.context(), bead.ID)
		return err == nil && b.Status == town.BeadClosed
	})
	if got, want := tt.remote.Git("show", tt.remote.Branch+":work-"+bead.ID+".txt"), "begun in "+begun[bead.ID]; strings.TrimSpace(got) != want {
		t.Errorf("the bead has %q, want %q", got, want)
	}
}

// What a real CLI remembers is gone with its disk. Its next session is a new one that is
// told so, and finds its files.
func TestEvictedCLIBeginsANewSessionInItsOldWork(t *testing.T) {
	t.Parallel()
	var evicted atomic.Bool
	_, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
		results := 0
		for _, m := range r.Messages {
			if m.Role == "tool" {
				results++
			}
		}
		switch {
		case !evicted.Load() && results == 0:
			return llmtest.Step{Tools: []llmtest.Tool{shell(r, "echo half >page.txt; echo changed >>dir000/file00000.txt")}}
		case !evicted.Load():
			return llmtest.Step{Text: "I wait for somebody."}
		case results == 0 && strings.Contains(news(r), "It was begun before"):
			return llmtest.Step{Tools: []llmtest.Tool{shell(r, "git checkout -q -- dir000 && echo whole >>page.txt && git add page.txt && git commit -q -m page")}}
		}
		for _, offered := range r.Tools {
			if results == 1 && strings.HasSuffix(offered.Name, "gt_done") {
				return llmtest.Step{Tools: []llmtest.Tool{{Name: offered.Name, Input: map[string]any{"summary": "Wrote the second half of the page, too.", "verified": "ALIGNED"}}}}
			}
		}
		return llmtest.Step{Text: "Done."}
	})
	env := map[string]string{
		"LLM_PROVIDER": "claude", "LLM_BASE_URL": url, "LLM_API_KEY": canary,
		"PATH": agenttest.Reachable(t, llmtest.Program(t, "claude")) + ":" + os.Getenv("PATH"),
	}
	hall := newFarHall(t, 1)
	first := hall.container(t, env)
	remote := first.remote
	if _, _, err := hall.PutRig(t.Context(), townhall.Person, "rig", town.RigSettings{
		GitURL: remote.URL(), DefaultBranch: remote.Branch, CLI: "claude", Model: "claude-sonnet-4-5",
	}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := hall.CreateBead(t.Context(), townhall.Person, "rig", town.BeadRequest{Title: "write a page"}); err != nil {
		t.Fatal(err)
	}
	first.allDirty(1)
	evicted.Store(true)
	first.evict()
	if err := os.RemoveAll(first.home); err != nil {
		t.Fatal(err)
	}
	hall.container(t, env)
	waitFor(t, "closed bead", func() bool {
		return hall.all(t, func(b town.Bead) bool { return b.Status == town.BeadClosed }) != nil
	})
	if got := remote.Git("show", remote.Branch+":page.txt"); strings.TrimSpace(got) != "half\nwhole" {
		t.Errorf("the page is %q, want what the first session wrote and what the second added", got)
	}
}

// instanceOf returns the newest container and how it said to be.
func instanceOf(t *testing.T, hall *farHall) (id, status string) {
	t.Helper()
	s, err := hall.Status(t.Context())
	if err != nil || s.Instance == nil {
		t.Fatalf("status: %+v, %v", s, err)
	}
	return s.Instance.InstanceID, s.Instance.Status
}

// allDirty waits until n agents have work in their worktrees, and returns their runs
// by bead.
func (tt *testTown) allDirty(n int) map[string]string {
	tt.t.Helper()
	runs := map[string]string{}
	waitFor(tt.t, fmt.Sprintf("%d agents at work", n), func() bool {
		agents, err := tt.Agents(tt.t.Context())
		if err != nil {
			tt.t.Fatal(err)
		}
		for _, a := range agents {
			data, _ := os.ReadFile(filepath.Join(a.Workdir, "dir000/file00000.txt")) // none before the agent has a worktree
			if strings.HasSuffix(string(data), "changed\n") {
				runs[a.BeadID] = a.RunID
			}
		}
		return len(runs) == n
	})
	return runs
}

// evict ends the town as a platform does that takes its disk, and returns how long that took.
func (tt *testTown) evict() time.Duration {
	tt.t.Helper()
	began := time.Now()
	if err := tt.server.Process.Signal(syscall.SIGTERM); err != nil {
		tt.t.Fatal(err)
	}
	if err := tt.server.Wait(); err != nil {
		tt.t.Errorf("server ended with %v", err)
	}
	took := time.Since(began)
	tt.http.CloseIdleConnections()
	tt.server = nil
	waitFor(tt.t, "end of every process of the town", func() bool { return len(tt.processes()) == 0 })
	return took
}
