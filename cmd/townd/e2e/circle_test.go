package e2e_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/api/conformance"
	"townd/town"
)

// circle is a town with a coordinator and a rig, "rig".
type circle struct {
	*testTown
	hall *api.HallClient
}

// newCircle starts a town whose coordinator is in its server. What that answers is
// held against its document.
func newCircle(t *testing.T, env map[string]string, rig town.RigSettings) *circle {
	t.Helper()
	all := map[string]string{"TOWND_HEARTBEAT_SECONDS": "1"}
	maps.Copy(all, env)
	c := &circle{testTown: newTown(t, all)}
	c.hall = c.hallAt("http://"+c.address, "local")
	c.setRig(rig)
	return c
}

// hallAt is a coordinator as people call it.
func (tt *testTown) hallAt(url, townID string) *api.HallClient {
	checked := conformance.Checked(tt.http.Transport, func(err error) { tt.t.Error(err) })
	return api.NewHall(url, townID, tt.token, &http.Client{Transport: checked})
}

func (c *circle) setRig(rig town.RigSettings) {
	c.t.Helper()
	rig.GitURL, rig.DefaultBranch, rig.CLI = c.remote.URL(), c.remote.Branch, cmp.Or(rig.CLI, "demo")
	if rig.CLI == "demo" && rig.EnvVars == nil {
		rig.EnvVars = map[string]string{"DEMO_FAST": "1"}
	}
	if _, _, err := c.hall.PutRig(c.context(), "rig", rig); err != nil {
		c.t.Fatal(err)
	}
}

// shell is a rig whose agents run a script.
func shellRig(script string) town.RigSettings {
	return town.RigSettings{CLI: "command", Command: []string{"/bin/sh", "-c", script}}
}

// give makes a bead.
func (c *circle) give(req town.BeadRequest) town.Bead {
	c.t.Helper()
	req.Type = cmp.Or(req.Type, town.BeadIssue)
	b, _, err := c.hall.CreateBead(c.context(), "rig", req)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *circle) bead(id string) town.Bead {
	c.t.Helper()
	b, err := c.hall.Bead(c.context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// until waits until a bead is as wanted.
func (c *circle) until(id, what string, ok func(town.Bead) bool) (b town.Bead) {
	c.t.Helper()
	waitFor(c.t, what, func() bool { b = c.bead(id); return ok(b) })
	if !ok(b) {
		c.t.Fatalf("bead %s is %s: %s; it was to be %s", b.Title, b.Status, b.Why, what)
	}
	return b
}

func (c *circle) untilBead(id string, status town.BeadStatus) town.Bead {
	c.t.Helper()
	return c.until(id, string(status), func(b town.Bead) bool { return b.Status == status })
}

// workdir waits until the agent of a bead has a file in its worktree, and returns that.
func (c *circle) workdir(id, file string) string {
	c.t.Helper()
	dir := ""
	waitFor(c.t, file+" of the agent's", func() bool {
		a, err := c.Agent(c.context(), c.bead(id).AgentID)
		if err != nil {
			return false
		}
		dir = a.Workdir
		_, err = os.Lstat(filepath.Join(dir, file))
		return err == nil
	})
	return dir
}

// touch makes a file, as a sign for a script.
func (c *circle) touch(path ...string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(path...), nil, 0o666); err != nil { //nolint:gosec // seen by the agent
		c.t.Fatal(err)
	}
}

// inMain returns a file of the remote's default branch.
func (c *circle) inMain(file string) string {
	c.t.Helper()
	return c.remote.Git("show", c.remote.Branch+":"+file)
}

// mergedOnce wants the merge of each bead in the remote's default branch once.
func (c *circle) mergedOnce(beads ...town.Bead) {
	c.t.Helper()
	log := c.remote.Git("log", "--format=%s", c.remote.Branch)
	for _, b := range beads {
		if n := strings.Count(log, "("+b.ID+")"); n != 1 {
			c.t.Errorf("bead %s (%s) was merged %d times:\n%s", b.ID, b.Title, n, log)
		}
	}
}

// townd runs a command of a person's.
func (c *circle) townd(args ...string) string {
	c.t.Helper()
	c.env["TOWND_URL"] = "http://" + c.address
	cmd := c.command(args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("townd %q: %v: %s", args, err, errs.String())
	}
	return string(out)
}

// short is the part of an id that people type.
func short(id string) string { return id[len(id)-8:] }

// settled wants nothing left of the town's work: no report that waits, no agent, no
// worktree.
func (c *circle) settled() {
	c.t.Helper()
	waitFor(c.t, "empty outbox", func() bool {
		s, err := c.hall.TownStatus(c.context())
		return err == nil && s.Instance != nil && s.Instance.Outbox == town.OutboxState{}
	})
	waitFor(c.t, "end of every agent", func() bool { return c.forgetAgents() == 0 })
	waitFor(c.t, "end of every worktree", func() bool { return len(c.worktrees()) == 0 })
	for _, dir := range c.worktrees() {
		c.t.Errorf("worktree %s is left; of its agent the servers said:\n%s", dir, c.log.linesWith(filepath.Base(dir)))
	}
}

// forgetAgents forgets the agents that have ended, which are kept for people to look
// at, and returns how many agents there were.
func (c *circle) forgetAgents() int {
	c.t.Helper()
	agents, err := c.Agents(c.context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, a := range agents {
		if !a.Status.Live() {
			_ = c.Delete(c.context(), a.AgentID) // its end may not be told yet: it comes again
		}
	}
	return len(agents)
}

func (c *circle) worktrees() []string {
	left, err := filepath.Glob(filepath.Join(c.home, "rigs/*/worktrees/polecat/*/*"))
	if err != nil {
		c.t.Fatal(err)
	}
	return left
}

// Q9: beads of a convoy wait for each other, go into its branch, and land as a whole.
func TestAConvoyLandsAtItsEnd(t *testing.T) {
	t.Parallel()
	c := newCircle(t, nil, town.RigSettings{})
	made, err := c.hall.CreateConvoy(c.context(), town.ConvoyRequest{
		RigID: "rig", Title: "a page", Mode: town.LandAtEnd, Parallel: true,
		Tasks: []town.ConvoyTask{{Title: "the form"}, {Title: "the session"}, {Title: "the words", DependsOn: []int{0, 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	before := c.remote.Git("rev-parse", c.remote.Branch)
	c.untilBead(made.Beads[0].ID, town.BeadClosed)
	if b := c.bead(made.Beads[2].ID); b.Status != town.BeadClosed && c.remote.Git("rev-parse", c.remote.Branch) != before {
		t.Error("the first bead landed by itself")
	}
	waitFor(t, "landing", func() bool {
		got, err := c.hall.Convoy(c.context(), made.Convoy.ID)
		return err == nil && got.Status == town.ConvoyClosed
	})
	var closed []town.Bead
	for _, b := range made.Beads {
		closed = append(closed, c.untilBead(b.ID, town.BeadClosed))
	}
	if closed[2].ClosedAt == nil || closed[2].ClosedAt.Before(*closed[0].ClosedAt) || closed[2].ClosedAt.Before(*closed[1].ClosedAt) {
		t.Errorf("the last was closed before what it waits for: %v", closed)
	}
	for _, file := range []string{"the-form.md", "the-session.md", "the-words.md"} {
		if got := c.inMain(file); got == "" {
			t.Errorf("%s is not in main", file)
		}
	}
	c.mergedOnce(closed...)
	if n := strings.Count(c.remote.Git("log", "--first-parent", "--format=%s", c.remote.Branch), "\n"); n != strings.Count(c.remote.Git("log", "--first-parent", "--format=%s", strings.TrimSpace(before)), "\n")+1 {
		t.Errorf("main went on by more than the landing:\n%s", c.remote.Git("log", "--graph", "--format=%s", c.remote.Branch))
	}
	c.settled()
}

// R6, R7: of two that change the same lines the second comes back with the file, merges,
// and goes in as well.
func TestAConflictComesBackWithItsFiles(t *testing.T) {
	t.Parallel()
	c := newCircle(t, nil, shellRig(`set -e
townd tool gt_prime > "$HOME/prime"
if grep -q 'came back from review' "$HOME/prime"; then
  grep -q shared.txt "$HOME/prime"
  git fetch -q origin main
  git merge -q FETCH_HEAD || { sed -i -e '/^<<<<<<<\|^=======\|^>>>>>>>/d' shared.txt; git add shared.txt; git commit -q -m merge; }
else
  echo "by $GASTOWN_AGENT_ID" > shared.txt; git add shared.txt; git commit -q -m shared
  touch waiting; until [ -e go ]; do sleep 0.05; done; rm -f waiting go
fi
townd tool gt_done '{"summary": "Wrote the line that was asked for; nothing is left."}'`))
	if c.remote.Branch != "main" {
		t.Fatalf("the remote's branch is %s", c.remote.Branch)
	}
	beads := []town.Bead{c.give(town.BeadRequest{Title: "one"}), c.give(town.BeadRequest{Title: "two"})}
	dirs := []string{c.workdir(beads[0].ID, "waiting"), c.workdir(beads[1].ID, "waiting")}
	for _, dir := range dirs {
		c.touch(dir, "go")
	}
	reworks := 0
	for i, b := range beads {
		beads[i] = c.untilBead(b.ID, town.BeadClosed)
		reworks += beads[i].Reworks
		if !strings.Contains(c.inMain("shared.txt"), "by "+beads[i].AgentID) {
			t.Errorf("the line of %s is not in main: %q", beads[i].AgentID, c.inMain("shared.txt"))
		}
	}
	if reworks != 1 {
		t.Errorf("%d reworks, want 1", reworks)
	}
	c.mergedOnce(beads...)
	c.settled()
}

// R5: what its checks refuse comes back with their output, at most three times.
func TestABeadThatFailsItsGatesIsGivenUp(t *testing.T) {
	t.Parallel()
	c := newCircle(t, nil, town.RigSettings{Gates: []town.Gate{{Name: "lint", Command: "! cat bad.md 2>/dev/null"}}})
	good := c.give(town.BeadRequest{Title: "good"})
	bad := c.untilBead(c.give(town.BeadRequest{Title: "bad", MaxAttempts: 10}).ID, town.BeadFailed)
	if bad.Reworks != 3 || !strings.Contains(bad.Feedback, "lint ended with code 1") || !strings.Contains(bad.Feedback, "bad") {
		t.Errorf("%d reworks, feedback %q", bad.Reworks, bad.Feedback)
	}
	escalations, err := c.hall.Escalations(c.context(), "open")
	if err != nil || len(escalations) != 1 || escalations[0].BeadID != bad.ID {
		t.Errorf("escalations %+v, %v", escalations, err)
	}
	notes, err := c.hall.Notes(c.context(), bad.ID)
	if n := len(slices.DeleteFunc(notes, func(n town.Note) bool { return n.Kind != "feedback" })); err != nil || n != 3 {
		t.Errorf("%d notes of feedback, %v", n, err)
	}
	c.mergedOnce(c.untilBead(good.ID, town.BeadClosed))
	if strings.Contains(c.remote.Git("ls-tree", "--name-only", c.remote.Branch), "bad.md") {
		t.Error("what the gates refused is in main")
	}
	c.settled()
}

// K11: an agent asks, a person answers, and it goes on; mail goes both ways.
func TestAnAgentAsksAPersonAndGoesOn(t *testing.T) {
	t.Parallel()
	c := newCircle(t, nil, shellRig(`set -e
townd tool gt_ask '{"question": "which colour?", "options": ["red", "blue"]}' > "$HOME/answer"
grep -q 'the blue one' "$HOME/answer"
townd tool gt_mail_check > "$HOME/mail"
grep -q 'hurry up' "$HOME/mail"
townd tool gt_mail_send '{"to_agent_id": "mayor", "subject": "painted it", "body": "in blue"}'
echo blue > colour; git add colour; git commit -q -m colour
townd tool gt_done '{"summary": "Painted it in the colour that was wanted."}'`))
	b := c.give(town.BeadRequest{Title: "paint"})
	var list api.QuestionList
	waitFor(t, "question", func() bool {
		return json.Unmarshal([]byte(c.townd("ask", "ls", "--json")), &list) == nil && len(list.Questions) == 1
	})
	q := list.Questions[0]
	if q.BeadID != b.ID || !slices.Equal(q.Options, []string{"red", "blue"}) {
		t.Errorf("question %+v", q)
	}
	c.townd("mail", "send", c.bead(b.ID).AgentID, "hurry", "up")
	c.townd("ask", "answer", short(q.ID), "the", "blue", "one")
	b = c.untilBead(b.ID, town.BeadClosed)
	if c.inMain("colour") != "blue" || b.Attempts != 1 {
		t.Errorf("attempts %d, colour %q", b.Attempts, c.inMain("colour"))
	}
	if mail := c.townd("mail", "ls", "--to", "mayor"); !strings.Contains(mail, "painted it") || !strings.Contains(mail, b.AgentID) {
		t.Errorf("mail: %s", mail)
	}
	c.settled()
}

// An agent that has ended to wait for a word is started again by a message.
func TestAMessageWakesAnAgentThatEndedToWait(t *testing.T) {
	t.Parallel()
	c := newCircle(t, nil, shellRig(`set -e
townd tool gt_prime > "$HOME/prime"
if grep -q 'take the left one' "$HOME/prime"; then
  echo left > way; git add way; git commit -q -m way
  townd tool gt_done '{"summary": "Went the way that was wanted; nothing is left."}'
else
  townd tool gt_status '{"message": "which way?", "waiting": true}'
fi`))
	b := c.give(town.BeadRequest{Title: "go", MaxAttempts: 1})
	id := ""
	waitFor(t, "agent that waits", func() bool {
		all, err := c.hall.Agents(c.context())
		i := slices.IndexFunc(all, func(a town.TownAgent) bool { return a.BeadID == b.ID && a.Reason == town.ReasonWaiting })
		if i >= 0 {
			id = all[i].AgentID
		}
		return err == nil && i >= 0
	})
	if out := c.townd("message", id, "take the left one"); !strings.Contains(out, "it goes on with that") {
		t.Errorf("message: %s", out)
	}
	b = c.untilBead(b.ID, town.BeadClosed)
	if c.inMain("way") != "left" || b.Attempts != 1 || b.Epoch != 2 {
		t.Errorf("attempts %d, epoch %d, way %q", b.Attempts, b.Epoch, c.inMain("way"))
	}
	c.settled()
}

// A person closes a bead that is worked on: its agent ends, and nothing is merged.
func TestClosingABeadStopsItsAgent(t *testing.T) {
	t.Parallel()
	c := newCircle(t, nil, shellRig(`touch waiting; sleep 1000`))
	b := c.give(town.BeadRequest{Title: "endless"})
	c.workdir(b.ID, "waiting")
	began := time.Now()
	if out := c.townd("bead", "close", short(b.ID), "--reason", "not wanted"); !strings.Contains(out, "closed") {
		t.Errorf("bead close: %s", out)
	}
	waitFor(t, "end of the agent's program", func() bool { return len(c.ofAgents()) == 0 })
	t.Logf("the agent's program ended after %v", time.Since(began))
	c.settled()
	if b = c.bead(b.ID); b.Status != town.BeadClosed || b.Commit != "" {
		t.Errorf("the bead is %s, %q", b.Status, b.Commit)
	}
}

// The server is killed with its coordinator when the bead has just come to each of its
// places: it comes to its lawful end, once.
func TestACoordinatorThatIsKilledInEachStepGoesOn(t *testing.T) {
	t.Parallel()
	c := newCircle(t, nil, town.RigSettings{Gates: []town.Gate{{Command: "sleep 0.3"}}})
	var beads []town.Bead
	for i, step := range []string{"", "in_progress", "agent", "in_review", "merging", "merged"} {
		b := c.give(town.BeadRequest{Title: fmt.Sprint("step ", i)})
		waitFor(t, step, func() bool {
			now := c.bead(b.ID)
			switch step {
			case "agent":
				_, err := c.Agent(c.context(), now.AgentID)
				return err == nil || now.Status == town.BeadClosed
			case "in_progress":
				return now.Status != town.BeadOpen
			case "in_review":
				return now.Status == town.BeadInReview || now.Status == town.BeadClosed
			case "merging":
				merges, err := c.hall.Merges(c.context(), "rig", "")
				return err == nil && slices.ContainsFunc(merges, func(m town.Merge) bool {
					return m.BeadID == b.ID && (m.Status == town.MergeMerging || m.Status == town.MergeMerged)
				})
			case "merged":
				return strings.Contains(c.remote.Git("log", "--format=%s", c.remote.Branch), "("+b.ID+")")
			}
			return true
		})
		c.restart()
		beads = append(beads, b)
	}
	for i, b := range beads {
		beads[i] = c.until(b.ID, "closed", func(b town.Bead) bool {
			if b.Status == town.BeadOpen && b.NotBefore != nil { // its start was cut off, which is told as a failure: no need to rest
				_, _ = c.hall.RetryBead(c.context(), b.ID, "at once") // it may have been taken meanwhile
			}
			return b.Status == town.BeadClosed
		})
		if beads[i].Attempts != 1 {
			t.Errorf("%s: attempt %d", b.Title, beads[i].Attempts)
		}
	}
	c.mergedOnce(beads...)
	c.settled()
}

// A town reports to the coordinator of another one, which is killed and comes back:
// its agents' letters, notes, events and ends arrive, once and in order.
func TestATownReportsToAnothersCoordinator(t *testing.T) {
	t.Parallel()
	hall := newCircle(t, nil, town.RigSettings{Paused: true})
	tt := newTown(t, map[string]string{
		"TOWND_COORDINATOR_URL": "http://" + hall.address, "TOWND_COORDINATOR_TOKEN": hall.token, "TOWND_TOWN_ID": "local",
		"TOWND_HEARTBEAT_SECONDS": "1",
	})
	req := tt.request("toast", "/bin/sh", "-c", `set -e
townd tool gt_prime
townd tool gt_mail_send '{"to_agent_id": "mayor", "subject": "letter 1", "body": "of toast"}'
townd tool gt_bead_create '{"title": "what I came across"}'
touch waiting; until [ -e go ]; do sleep 0.05; done; rm -f waiting go
townd tool gt_mail_send '{"to_agent_id": "mayor", "subject": "letter 2", "body": "of toast"}'
townd tool gt_mail_send '{"to_agent_id": "mayor", "subject": "letter 3", "body": "of toast"}'
echo work > work; git add work; git commit -q -m work
townd tool gt_done '{"summary": "Did all of what there was to do."}'`)
	req.TownID = "local"
	agent := tt.start(req)
	waitFor(t, "first letter", func() bool { _, err := os.Lstat(filepath.Join(agent.Workdir, "waiting")); return err == nil })
	hall.kill()
	if err := os.WriteFile(filepath.Join(agent.Workdir, "go"), nil, 0o644); err != nil { //nolint:gosec // seen by the agent
		t.Fatal(err)
	}
	a := tt.untilStatus("toast", town.StatusExited)
	if a.Reason != town.ReasonDone {
		t.Errorf("ended as %q; it printed\n%s", a.Reason, tt.follow("toast", func([]byte) bool { return false }))
	}
	hall.serve()
	waitFor(t, "agent's end at the coordinator", func() bool {
		runs, err := hall.hall.Runs(hall.context(), api.RunQuery{AgentID: "toast"})
		return err == nil && len(runs.Runs) == 1 && runs.Runs[0].EndedAt != nil
	})
	mail, err := hall.hall.Mail(hall.context(), "mayor", true)
	var letters []string
	for _, m := range mail {
		letters = append(letters, m.From+": "+m.Subject)
	}
	if err != nil || !slices.Equal(letters, []string{"toast: letter 1", "toast: letter 2", "toast: letter 3"}) {
		t.Errorf("mail %q, %v", letters, err)
	}
	if beads, err := hall.hall.Beads(hall.context(), api.BeadQuery{RigID: "rig"}); err != nil || len(beads.Beads) != 1 || beads.Beads[0].Source != "agent:toast" {
		t.Errorf("beads %+v, %v", beads.Beads, err)
	}
	var page api.AgentEventPage
	waitFor(t, "event at the coordinator", func() bool {
		page, err = hall.hall.Events(hall.context(), api.AgentEventQuery{AgentID: "toast", Limit: 500})
		return err == nil && slices.ContainsFunc(page.Events, func(e town.AgentEvent) bool { return isState(e.Event, town.StatusExited) })
	})
	for i, e := range page.Events {
		if i > 0 && e.ID <= page.Events[i-1].ID {
			t.Errorf("event %d came after %d", e.ID, page.Events[i-1].ID)
		}
	}
	waitFor(t, "empty outbox", func() bool {
		s, err := hall.hall.TownStatus(hall.context())
		return err == nil && s.Instance != nil && s.Instance.Outbox == town.OutboxState{}
	})
}
