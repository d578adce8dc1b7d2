package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"townd/api"
	"townd/town"
)

// rig makes a rig for the case, which is taken away after it.
func (t *T) rig(change ...func(*town.RigSettings)) string {
	id := "rig-" + strings.ToLower(newID())
	set := town.RigSettings{GitURL: "https://git.example.com/" + id + ".git", DefaultBranch: "main", CLI: "demo", MaxAgents: 10}
	for _, c := range change {
		c(&set)
	}
	_, created, err := t.hall.PutRig(t.ctx, id, set)
	t.must(err)
	if !created {
		t.Errorf("PUT of a new rig answered 200, want 201")
	}
	t.cleanup(func() { t.clear(id) })
	return id
}

// paused keeps everyone from taking a rig's beads.
func paused(s *town.RigSettings) { s.Paused = true }

// serial lets one polecat at a time into a rig.
func serial(s *town.RigSettings) { s.MaxAgents = 1 }

// pause pauses a rig, or lets it go on.
func (t *T) pause(rigID string, on bool) {
	rig, err := t.hall.Rig(t.ctx, rigID)
	t.must(err)
	rig.Paused = on
	_, _, err = t.hall.PutRig(t.ctx, rigID, rig.RigSettings)
	t.must(err)
}

// clear ends what a case left, and forgets its rig.
func (t *T) clear(rigID string) {
	t.pause(rigID, true)
	convoys, err := t.hall.Convoys(t.ctx, rigID)
	t.must(err)
	for _, c := range convoys {
		if c.Status != town.ConvoyClosed && c.Status != town.ConvoyFailed {
			_, err := t.hall.CloseConvoy(t.ctx, c.ID, "the case is over")
			t.must(err)
		}
	}
	for t.closeBeads(rigID) > 0 { // one may have been taken meanwhile
	}
	t.box.mu.Lock()
	for id, a := range t.box.agents {
		if a.RigID == rigID {
			delete(t.box.agents, id)
		}
	}
	t.box.mu.Unlock()
	t.must(t.hall.DeleteRig(t.ctx, rigID))
}

// closeBeads closes what has not ended of a rig, and returns how many those were.
func (t *T) closeBeads(rigID string) (n int) {
	for _, status := range []town.BeadStatus{town.BeadOpen, town.BeadInProgress, town.BeadInReview} {
		page, err := t.hall.Beads(t.ctx, api.BeadQuery{RigID: rigID, Status: status, Limit: 500})
		t.must(err)
		for _, b := range page.Beads {
			_, err := t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Status: town.BeadClosed, Reason: "the case is over"})
			t.must(err)
		}
		n += len(page.Beads)
	}
	return n
}

// create makes a bead.
func (t *T) create(rigID, title string, change ...func(*town.BeadRequest)) town.Bead {
	req := town.BeadRequest{Title: title, Body: "of the conformance suite"}
	for _, c := range change {
		c(&req)
	}
	b, created, err := t.hall.CreateBead(t.ctx, rigID, req)
	t.must(err)
	if !created {
		t.Errorf("POST of a new bead answered 200, want 201")
	}
	return b
}

func critical(r *town.BeadRequest) { r.Priority = town.PriorityCritical }

func attempts(n int) func(*town.BeadRequest) {
	return func(r *town.BeadRequest) { r.MaxAttempts = n }
}

func after(b town.Bead) func(*town.BeadRequest) {
	return func(r *town.BeadRequest) { r.DependsOn = append(r.DependsOn, b.ID) }
}

// bead asks for a bead.
func (t *T) bead(id string) town.Bead {
	b, err := t.hall.Bead(t.ctx, id)
	t.must(err)
	return b
}

// work makes a bead and waits until an agent has it and the coordinator was told so.
func (t *T) work(rigID string, change ...func(*town.BeadRequest)) town.Bead {
	b := t.create(rigID, "work", change...)
	return t.taken(b.ID, 1)
}

// taken waits until an agent has a bead under that epoch.
func (t *T) taken(beadID string, epoch int64) town.Bead {
	start := t.started(beadID, epoch)
	t.beat()
	b := t.bead(beadID)
	if b.Status != town.BeadInProgress || b.Lease == nil || b.Lease.Epoch != epoch || b.Epoch != epoch || b.AgentID != start.AgentID || b.Branch != start.Branch {
		t.Fatalf("bead %s, whose agent %s was started with generation %d, is %s", beadID, start.AgentID, epoch, show(b))
	}
	return b
}

// done has a bead's agent say that it is finished.
func (t *T) done(b town.Bead, epoch int64) api.DoneAnswer {
	answer, err := t.hall.As(b.AgentID).Done(t.ctx, b.AgentID, doneOf(b, epoch))
	t.must(err)
	return answer
}

func doneOf(b town.Bead, epoch int64) town.DoneRequest {
	return town.DoneRequest{Epoch: epoch, Branch: b.Branch, Commit: strings.Repeat("1", 40), Summary: "did it"}
}

// review makes a bead and brings it into review: the container was asked to merge it.
func (t *T) review(rigID string, change ...func(*town.BeadRequest)) (town.Bead, api.MergeRequest) {
	b := t.work(rigID, change...)
	t.done(b, 1)
	t.end(b, 1, town.CompletionCompleted, town.ReasonDone)
	return t.bead(b.ID), t.merging(b.ID, 1)
}

// end has the container tell that the run of a bead's agent has ended.
func (t *T) end(b town.Bead, generation int64, status string, reason town.Reason) {
	t.box.forget(b.AgentID)
	t.must(t.hall.Completed(t.ctx, completion(b, generation, status, reason)))
}

func completion(b town.Bead, generation int64, status string, reason town.Reason) town.Completion {
	return town.Completion{
		AgentID: b.AgentID, RigID: b.RigID, BeadID: b.ID, RunID: newID(), Generation: generation, Status: status, Reason: reason,
		Branch: b.Branch, StartedAt: now(), ExitedAt: now(),
	}
}

// outcome has the container tell what became of a merge.
func (t *T) outcome(m api.MergeRequest, status string, change ...func(*town.MergeOutcome)) {
	out := town.MergeOutcome{EntryID: m.EntryID, Status: status, Message: "of the conformance suite"}
	for _, c := range change {
		c(&out)
	}
	t.must(t.hall.MergeCompleted(t.ctx, m.RigID, out))
}

// is checks a bead's status.
func (t *T) is(b town.Bead, status town.BeadStatus) town.Bead {
	b = t.bead(b.ID)
	if b.Status != status {
		t.Fatalf("bead is %s, want %s: %s", b.Status, status, show(b))
	}
	if (b.Lease != nil) != (status == town.BeadInProgress) {
		t.Errorf("bead that is %s has the lease %v", status, b.Lease)
	}
	if ended := status == town.BeadClosed || status == town.BeadFailed; (b.ClosedAt != nil) != ended {
		t.Errorf("bead that is %s was closed at %v", status, b.ClosedAt)
	}
	return b
}

// same checks that a bead is as it was, but for when it was changed.
func (t *T) same(was town.Bead) {
	is := t.bead(was.ID)
	was.UpdatedAt, is.UpdatedAt, was.Why, is.Why = was.CreatedAt, was.CreatedAt, "", ""
	if a, b := show(was), show(is); a != b {
		t.Errorf("bead changed from %s to %s", a, b)
	}
}

func show(b town.Bead) string { return string(raw(b)) }

// attempts checks how many calls of a bead's agent were kept as notes of kind attempt.
func (t *T) attempts(b town.Bead, want int) {
	notes, err := t.hall.Notes(t.ctx, b.ID)
	t.must(err)
	notes = slices.DeleteFunc(notes, func(n town.Note) bool { return n.Kind != "attempt" })
	if len(notes) != want {
		t.Fatalf("bead %s has %d attempts that were kept, want %d", b.ID, len(notes), want)
	}
	for _, n := range notes {
		if n.By != b.AgentID || n.Text == "" {
			t.Errorf("the attempt that was kept is %s, want it by %s", raw(n), b.AgentID)
		}
	}
}

// escalated checks that someone was told of a bead.
func (t *T) escalated(b town.Bead) {
	all, err := t.hall.Escalations(t.ctx, "open")
	t.must(err)
	if !slices.ContainsFunc(all, func(e town.Escalation) bool { return e.BeadID == b.ID && e.Severity == town.PriorityHigh }) {
		t.Errorf("no open escalation of severity high is about bead %s", b.ID)
	}
}

// refused checks that err is the coordinator's refusal of that kind.
func (t *T) refused(what string, err, kind error) {
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

// answer is what a coordinator answered to a call that was made by hand.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call makes a call by hand, for a person unless header says otherwise.
func (t *T) call(method, path, body string, header ...string) answer {
	return t.send(method, "/api/towns/"+t.target.TownID+path, []byte(body), append([]string{"Authorization", "Bearer " + t.target.Token}, header...)...)
}

func (t *T) send(method, path string, body []byte, header ...string) answer {
	req, err := http.NewRequestWithContext(t.ctx, method, t.target.BaseURL+path, bytes.NewReader(body))
	t.must(err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := t.http.Do(req)
	t.must(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	t.must(err)
	return answer{resp.StatusCode, resp.Header, data}
}

// want checks a call's status.
func (t *T) want(status int, method, path, body string, header ...string) answer {
	a := t.call(method, path, body, header...)
	if a.status != status {
		t.Errorf("%s %s %.100s answered %d %.300s, want %d", method, path, body, a.status, a.body, status)
	}
	return a
}

// object is an answer's JSON object.
func (a answer) object() map[string]any {
	var o map[string]any
	if json.Unmarshal(a.body, &o) != nil {
		return map[string]any{}
	}
	return o
}

func (a answer) String() string { return fmt.Sprintf("%d %.300s", a.status, a.body) }

// newID is an id that nobody has.
func newID() string { return town.NewID(time.Now()) }
