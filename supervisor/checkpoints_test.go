package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"townd/gitmgr/gittest"
	"townd/supervisor"
	"townd/town"
)

// script asks for an agent that runs a shell script.
func (tt *testTown) script(id, script string) town.StartRequest {
	req := tt.request(id, "sleep")
	req.Command = []string{"bash", "-c", script}
	return req
}

func (tt *testTown) stopped(id string, req town.StopRequest) {
	tt.t.Helper()
	if _, err := tt.Stop(tt.t.Context(), id, req); err != nil {
		tt.t.Errorf("Stop(%s) = %v", id, err)
	}
}

// savedFiles lists what the agent's checkpoint in the town's clone holds.
func (tt *testTown) savedFiles(id string) []string {
	tt.t.Helper()
	out, err := gittest.Command(filepath.Join(tt.home, "rigs/rig/repo.git"), "ls-tree", "-r", "--name-only", "refs/town/checkpoints/"+id).CombinedOutput()
	if err != nil {
		tt.t.Fatalf("checkpoint of %s: %v: %s", id, err, out)
	}
	return strings.Fields(string(out))
}

// checkpoints returns the data of the agent's checkpoint events.
func (tt *testTown) checkpoints(id string) (all []map[string]any) {
	tt.t.Helper()
	page, err := tt.Events(id, 0, 1000)
	if err != nil {
		tt.t.Fatal(err)
	}
	for _, e := range page.Events {
		var data map[string]any
		if err := json.Unmarshal(e.Data, &data); err != nil {
			tt.t.Fatal(err)
		}
		if e.Event == town.EventCheckpoint {
			all = append(all, data)
		}
	}
	return all
}

// F8, Z5: what an agent left uncommitted is saved when its end is told, whichever way it ended.
func TestWorkIsSavedAtEveryEnd(t *testing.T) {
	tt := newTown(t)
	const work = `echo one >one.txt; echo ready; `
	for id, c := range map[string]struct {
		script string
		end    func(id string)
	}{
		"exited":  {work, func(string) {}},
		"crashed": {work + "exit 3", func(string) {}},
		"killed":  {work + "kill -9 $$", func(string) {}},
		"stopped": {work + "sleep 10000 & wait", func(id string) { tt.output(id, 5); tt.stopped(id, town.StopRequest{}) }},
		"shot": {work + "trap '' TERM; sleep 10000 & wait", func(id string) {
			tt.output(id, 5)
			tt.stopped(id, town.StopRequest{Signal: "SIGKILL"})
		}},
	} {
		tt.start(tt.script(id, c.script))
		c.end(id)
		tt.until(id, town.EventState, func(data map[string]any) bool { return data["status"] == "exited" || data["status"] == "failed" })
		if files := tt.savedFiles(id); !slices.Contains(files, "one.txt") {
			t.Errorf("%s: the checkpoint holds %q, not one.txt", id, files)
		}
		if got := tt.checkpoints(id); len(got) != 1 || got[0]["ref"] != "refs/town/checkpoints/"+id || len(got[0]["commit"].(string)) != 40 {
			t.Errorf("%s: checkpoint events %v, want one", id, got)
		}
	}
}

func TestNothingIsToldOfAWorktreeThatHoldsNothingNew(t *testing.T) {
	tt := newTown(t)
	const commit = "echo one >one.txt; git add one.txt; git commit -qm one; "
	tt.start(tt.script("clean", commit))
	tt.untilStatus("clean", town.StatusExited)
	tt.start(tt.script("secret", commit+`printf 'k=gh''p_%036d\n' 7 >.env.local; echo x >x.txt`))
	tt.untilStatus("secret", town.StatusExited)
	if got := tt.checkpoints("clean"); len(got) != 0 {
		t.Errorf("checkpoint events of a clean worktree: %v, want none", got)
	}
	got := tt.checkpoints("secret")
	if len(got) != 1 || got[0]["leftOutCount"] != 1.0 || got[0]["leftOut"].([]any)[0].(map[string]any)["path"] != ".env.local" {
		t.Errorf("checkpoint events %v, want one that names .env.local as left out", got)
	}
	again := tt.script("secret", "true")
	tt.start(again)
	ended := 0
	tt.until("secret", town.EventState, func(data map[string]any) bool {
		if data["status"] == "exited" {
			ended++
		}
		return ended == 2
	})
	if got := tt.checkpoints("secret"); len(got) != 1 {
		t.Errorf("checkpoint events after a run that changed nothing: %v, want the one of before", got)
	}
}

// A live agent is saved on a timer, only when its program has printed something.
func TestLiveAgentIsSavedWhenItIsActive(t *testing.T) {
	tt := newTown(t)
	var looks atomic.Int64
	tt.observe = func(op string, _ time.Duration, _ error) {
		if op == "checkpoint" {
			looks.Add(1)
		}
	}
	tt.config.CheckpointEvery = 20 * time.Millisecond
	tt.reopen()
	tt.start(tt.script("toast", `echo one >one.txt; echo ready; read -r line; echo two >two.txt; echo done; exec sleep 10000`))
	var first string
	tt.until("toast", town.EventCheckpoint, func(data map[string]any) bool { first = data["commit"].(string); return first != "" })
	before := looks.Load()
	time.Sleep(10 * tt.config.CheckpointEvery) // that nothing happens has no event
	if n := looks.Load() - before; n > 1 {
		t.Errorf("the worktree of a quiet agent was looked at %d times", n)
	}
	if _, err := tt.Message(t.Context(), "toast", town.MessageRequest{Prompt: "go on"}, ""); err != nil {
		t.Fatal(err)
	}
	tt.until("toast", town.EventCheckpoint, func(data map[string]any) bool {
		return data["commit"] != first && slices.Contains(tt.savedFiles("toast"), "two.txt")
	})
	if a, _ := tt.Agent("toast"); a.Status != town.StatusRunning {
		t.Errorf("the agent is %s, want it running", a.Status)
	}
}

// X21: a drain saves all at once, agents go on, starts are refused.
func TestDrainSavesAllAndStartsNothingMore(t *testing.T) {
	tt := newTown(t)
	ids := []string{"a1", "a2", "a3", "a4"}
	for _, id := range ids {
		tt.start(tt.script(id, "echo work of $GASTOWN_AGENT_ID >work.txt; echo ready; exec sleep 10000"))
		tt.output(id, 5)
	}
	tt.stopped("a4", town.StopRequest{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	all := tt.Drain(ctx)
	if len(all) != len(ids) {
		t.Fatalf("Drain() = %+v, want %d agents", all, len(ids))
	}
	for i, saved := range all {
		want := supervisor.Saved{AgentID: ids[i], Branch: "polecat/" + ids[i] + "/bead", Status: town.StatusRunning}
		if i == 3 {
			want.Status = town.StatusExited
		}
		if saved.AgentID != want.AgentID || saved.Branch != want.Branch || saved.Status != want.Status || saved.Pushed || saved.Err != nil {
			t.Errorf("Drain() has %+v, want %+v with a checkpoint", saved, want)
		}
		if files := tt.savedFiles(ids[i]); saved.Checkpoint.Commit == "" || !slices.Contains(files, "work.txt") {
			t.Errorf("%s: checkpoint %+v holds %q, want work.txt", ids[i], saved.Checkpoint, files)
		}
	}
	if !tt.Stats().Draining {
		t.Error("Stats() does not tell of the drain")
	}
	if _, _, err := tt.Start(t.Context(), tt.request("late", "sleep")); !errors.Is(err, town.ErrUnavailable) {
		t.Errorf("Start() = %v, want ErrUnavailable", err)
	}
	if a, _ := tt.Agent("a1"); a.Status != town.StatusRunning {
		t.Errorf("a1 is %s, want it running", a.Status)
	}
	again := tt.Drain(ctx)
	if len(again) != len(all) || again[0].Checkpoint.Commit != all[0].Checkpoint.Commit {
		t.Errorf("Drain() again = %+v, want the same checkpoints", again)
	}
}

// What agents do when they are told to end is saved after what was saved before.
func TestShutdownSavesBeforeAndAfterAgentsEnd(t *testing.T) {
	tt := newTown(t)
	tt.config.PushCheckpoints = true
	tt.reopen()
	tt.start(tt.script("toast", `trap 'echo last >last.txt; exit' TERM; echo one >one.txt; echo ready; sleep 10000 & wait`))
	tt.output("toast", 5)
	tt.shutdown()
	if files := tt.savedFiles("toast"); !slices.Contains(files, "one.txt") || !slices.Contains(files, "last.txt") {
		t.Errorf("the checkpoint holds %q, want one.txt and last.txt", files)
	}
	local, err := gittest.Command(filepath.Join(tt.home, "rigs/rig/repo.git"), "rev-parse", "refs/town/checkpoints/toast").Output()
	if err != nil {
		t.Fatal(err)
	}
	there, err := gittest.Command(t.TempDir(), "ls-remote", tt.remote, "refs/town/checkpoints/toast").Output()
	if err != nil || len(there) == 0 || !strings.HasPrefix(string(there), strings.TrimSpace(string(local))) {
		t.Errorf("the remote has %q, %v; want %s", there, err, local)
	}
}

// F8, X20: an agent goes on with its uncommitted work on another machine.
func TestAgentGoesOnWithItsWorkOnAnotherMachine(t *testing.T) {
	here := newTown(t)
	here.config.PushCheckpoints = true
	here.reopen()
	here.start(here.script("toast", `echo done >committed.txt; git add .; git commit -qm done; echo more >more.txt; echo ready`))
	here.untilStatus("toast", town.StatusExited)
	here.shutdown()

	there := newTown(t)
	there.remote = here.remote
	req := there.script("toast", `ls; git log -1 --format=%s; git status --porcelain`)
	req.Resume = true
	there.start(req)
	output := string(there.output("toast", 1<<40))
	for _, want := range []string{"committed.txt", "more.txt", "done", "?? more.txt"} {
		if !strings.Contains(output, want) {
			t.Errorf("the agent finds %q, want %q in it", output, want)
		}
	}
}

// While the work of an agent that crashed is being saved, a stop keeps it from being
// started again, and a start waits for its end.
func TestAgentThatIsBeingSavedIsStoppedAndStartedInOrder(t *testing.T) {
	tt := newTown(t)
	began, goOn := make(chan struct{}, 100), make(chan struct{})
	tt.observe = func(op string, _ time.Duration, _ error) {
		if op == "checkpoint" { // its result is not told yet
			began <- struct{}{}
			<-goOn
		}
	}
	tt.reopen()
	req := tt.script("toast", "echo work >work.txt; exit 3")
	req.Restart = town.RestartOnFailure
	first := tt.start(req)
	<-began
	type answer struct {
		agent town.Agent
		err   error
	}
	stopped, started := make(chan answer, 1), make(chan answer, 1)
	go func() {
		a, err := tt.Stop(t.Context(), "toast", town.StopRequest{})
		stopped <- answer{a, err}
	}()
	select {
	case got := <-stopped:
		t.Errorf("Stop() = %+v before the work was saved", got)
	case <-time.After(50 * time.Millisecond): // that nothing happens has no event
	}
	if a, _ := tt.Agent("toast"); !a.Status.Live() {
		t.Errorf("the agent is told as %s before its work is saved", a.Status)
	}
	go func() {
		a, _, err := tt.Start(t.Context(), tt.script("toast", "echo ready; exec sleep 10000"))
		started <- answer{a, err}
	}()
	select {
	case got := <-started:
		t.Errorf("Start() = %+v, %v before the work was saved", got.agent, got.err)
	case <-time.After(50 * time.Millisecond): // likewise
	}
	close(goOn)
	if got := <-stopped; got.err != nil || got.agent.Status != town.StatusFailed || got.agent.Restart.NextAt != nil {
		t.Errorf("Stop() = %+v, %v; want it failed, and no restart planned", got.agent, got.err)
	}
	if got := <-started; got.err != nil || got.agent.RunID == first.RunID || got.agent.Status != town.StatusRunning {
		t.Errorf("Start() = %+v, %v; want a new run", got.agent, got.err)
	}
}
