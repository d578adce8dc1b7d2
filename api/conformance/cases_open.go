package conformance

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"townd/api"
	"townd/town"
)

// openCases are about beads that wait.
var openCases = []Case{
	{Name: "a bead is made as it was asked for", run: madeAsAsked},
	{Name: "a ready bead is claimed and its agent started", Rows: []string{"open/claim"}, run: claimed},
	{Name: "a bead that is held, depends on another or has its time to come is not claimed", Rows: []string{"open/claim/else"}, run: notReady},
	{Name: "a late done of a bead that is open again is kept", Rows: []string{"open/done"}, run: doneWhileOpen},
	{Name: "an open bead can be held and let go", Rows: []string{"open/hold"}, run: heldAndLetGo},
	{Name: "a retry of an open bead begins anew", Rows: []string{"open/retry"}, run: retryOpen},
	{Name: "closing an open bead releases those that depend on it", Rows: []string{"open/close"}, run: closeOpen},
	{Name: "an open bead can be failed", Rows: []string{"open/fail"}, run: failOpen},
	{Name: "an end that is told twice ends one attempt", Rows: []string{"open/release"}, run: endedTwice},
	{Name: "dependencies that close a circle are refused", run: circles},
	{Name: "beads are found by what they are", run: search},
}

// madeAsAsked proves Q2 too: of one dedupeKey there is one bead.
func madeAsAsked(t *T) {
	rig := t.rig(paused)
	first := t.create(rig, "first")
	if first.Type != town.BeadIssue || first.Priority != town.PriorityMedium || first.MaxAttempts != town.DefaultAttempts || first.Status != town.BeadOpen ||
		first.RigID != rig || first.Epoch != 0 || first.Attempts != 0 || first.Why == "" {
		t.Errorf("a bead with a title alone is %s", show(first))
	}
	soon := now().Add(time.Hour)
	asked := town.BeadRequest{
		Type: town.BeadBug, Title: "Ünïcode \"quoted\"", Body: "lines\n\twith tabs\n", Priority: town.PriorityHigh, Labels: []string{"a", "b"},
		Source: "github", DedupeKey: "key-" + rig, DependsOn: []string{first.ID}, NotBefore: &soon, MaxAttempts: 7, StartPoint: "main", Target: "next",
		Metadata: raw(map[string]any{"n": 1}),
	}
	b, created, err := t.hall.CreateBead(t.ctx, rig, asked)
	t.must(err)
	if !created || b.Type != asked.Type || b.Title != asked.Title || b.Body != asked.Body || b.Priority != asked.Priority || !slices.Equal(b.Labels, asked.Labels) ||
		b.Source != asked.Source || b.DedupeKey != asked.DedupeKey || !slices.Equal(b.DependsOn, asked.DependsOn) || b.NotBefore == nil ||
		!b.NotBefore.Equal(soon) || b.MaxAttempts != 7 || b.StartPoint != "main" || b.Target != "next" || string(b.Metadata) != `{"n":1}` {
		t.Errorf("%s was made as %s", raw(asked), show(b))
	}
	t.same(b)
	again, created, err := t.hall.CreateBead(t.ctx, rig, town.BeadRequest{Title: "another", DedupeKey: asked.DedupeKey})
	t.must(err)
	if created || again.ID != b.ID || again.Title != b.Title {
		t.Errorf("a known dedupeKey made %s (created %v), want the first bead %s", again.ID, created, b.ID)
	}
	other := t.rig(paused)
	elsewhere, created, err := t.hall.CreateBead(t.ctx, other, town.BeadRequest{Title: "another", DedupeKey: asked.DedupeKey})
	t.must(err)
	if !created || elsewhere.ID == b.ID {
		t.Errorf("the dedupeKey of one rig was taken for another's")
	}
}

// claimed proves C9.
func claimed(t *T) {
	rig := t.rig(func(s *town.RigSettings) { s.Model, s.EnvVars = "small", map[string]string{"A": "secret-value"} })
	b := t.work(rig)
	if b.Attempts != 1 || b.Epoch != 1 || !b.Lease.ExpiresAt.After(b.CreatedAt) {
		t.Errorf("a claimed bead is %s, want its first attempt with a lease of epoch 1", show(b))
	}
	start := t.started(b.ID, 1)
	suffix := b.ID[len(b.ID)-8:]
	if start.Branch != "polecat/"+start.Name+"/"+suffix || start.AgentID != start.Name+"-"+suffix || start.Role != town.RolePolecat || start.RigID != rig ||
		start.TownID != t.target.TownID || start.Resume || start.Model != "small" || start.EnvVars["A"] != "secret-value" || start.DefaultBranch != "main" || start.Prompt == "" {
		t.Errorf("the agent was started by %s", raw(start))
	}
	shown, err := t.hall.Rig(t.ctx, rig)
	t.must(err)
	if v, ok := shown.EnvVars["A"]; v != "" || !ok {
		t.Errorf("envVars are answered as %v, want the name with an empty value", shown.EnvVars)
	}
	agents, err := t.hall.Agents(t.ctx)
	t.must(err)
	i := slices.IndexFunc(agents, func(a town.TownAgent) bool { return a.AgentID == b.AgentID })
	if i < 0 || agents[i].BeadID != b.ID || agents[i].Generation != 1 || agents[i].Status != town.StatusRunning || agents[i].Turn.State != town.TurnWorking {
		t.Errorf("the agents are %s, want %s with bead %s", raw(agents), b.AgentID, b.ID)
	}
	status, err := t.hall.TownStatus(t.ctx)
	t.must(err)
	if status.TownID != t.target.TownID || status.Instance == nil || status.Instance.InstanceID != t.box.instance || status.Beads[town.BeadInProgress] < 1 {
		t.Errorf("the town is %s", raw(status))
	}
}

// notReady proves Q7. It lets one polecat into a rig: had any other bead been ready, it would
// have been taken before the least urgent one.
func notReady(t *T) {
	rig := t.rig(paused, serial)
	low := func(r *town.BeadRequest) { r.Priority = town.PriorityLow }
	first := t.create(rig, "first", low)
	dependent := t.create(rig, "dependent", critical, after(first))
	later := now().Add(24 * time.Hour)
	t.create(rig, "later", critical, func(r *town.BeadRequest) { r.NotBefore = &later })
	held := t.create(rig, "held", critical)
	hold := "a person looks at it"
	_, err := t.hall.PatchBead(t.ctx, held.ID, town.BeadPatch{Hold: &hold})
	t.must(err)
	t.pause(rig, false)
	b := t.taken(first.ID, 1)
	last := t.create(rig, "last", low)
	t.finish(b, 1)
	b = t.taken(dependent.ID, 1)
	t.finish(b, 1)
	t.taken(last.ID, 1)
	if got, want := t.starts(rig), []string{first.ID, dependent.ID, last.ID}; !slices.Equal(got, want) {
		t.Errorf("started were %q, want %q", got, want)
	}
}

// finish has a bead's agent close it without changes.
func (t *T) finish(b town.Bead, epoch int64) town.Bead {
	closed, err := t.hall.As(b.AgentID).CloseBead(t.ctx, b.ID, api.CloseRequest{Reason: "nothing to change", Epoch: epoch})
	t.must(err)
	t.box.forget(b.AgentID)
	return closed
}

func doneWhileOpen(t *T) {
	rig := t.rig()
	b := t.work(rig)
	t.end(b, 1, town.CompletionFailed, town.ReasonCrashed)
	open := t.is(b, town.BeadOpen)
	if answer := t.done(b, 1); !answer.Kept || answer.Bead.Status != town.BeadOpen {
		t.Errorf("a late done is answered %s, want it kept and the bead open", raw(answer))
	}
	t.same(open)
	t.attempts(b, 1)
	notes, err := t.hall.Notes(t.ctx, b.ID)
	t.must(err)
	if !slices.ContainsFunc(notes, func(n town.Note) bool { return n.Kind == "attempt" && n.Branch == b.Branch && n.Epoch == 1 }) {
		t.Errorf("the notes are %s, want the attempt with its branch and epoch", raw(notes))
	}
}

func heldAndLetGo(t *T) {
	rig := t.rig(paused)
	b := t.create(rig, "x")
	hold, none := "not now", ""
	held, err := t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Hold: &hold})
	t.must(err)
	if held.Status != town.BeadOpen || held.Hold != hold || held.Why == "" {
		t.Errorf("a held bead is %s", show(held))
	}
	free, err := t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Hold: &none})
	t.must(err)
	if free.Status != town.BeadOpen || free.Hold != "" {
		t.Errorf("a bead that was let go is %s", show(free))
	}
	t.pause(rig, false)
	t.taken(b.ID, 1)
}

// retryOpen proves R5: a person lets it begin anew.
func retryOpen(t *T) {
	rig := t.rig()
	b := t.work(rig)
	t.pause(rig, true)
	t.end(b, 1, town.CompletionFailed, town.ReasonCrashed)
	b = t.is(b, town.BeadOpen)
	if b.Attempts != 1 || b.NotBefore == nil {
		t.Errorf("after a crash the bead is %s, want one attempt and a notBefore", show(b))
	}
	hold := "held"
	_, err := t.hall.PatchBead(t.ctx, b.ID, town.BeadPatch{Hold: &hold})
	t.must(err)
	b, err = t.hall.RetryBead(t.ctx, b.ID, "try again")
	t.must(err)
	if b.Status != town.BeadOpen || b.Attempts != 0 || b.Hold != "" || b.NotBefore != nil || b.Epoch != 1 {
		t.Errorf("after a retry the bead is %s, want nothing of its past but the epoch", show(b))
	}
	t.pause(rig, false)
	again := t.taken(b.ID, 2)
	if start := t.started(b.ID, 2); !start.Resume || start.AgentID != b.AgentID || start.Branch != b.Branch || again.Attempts != 1 {
		t.Errorf("the second agent was started by %s for %s", raw(start), show(again))
	}
}

func closeOpen(t *T) {
	rig := t.rig(paused)
	first := t.create(rig, "first")
	second := t.create(rig, "second", after(first))
	closed, err := t.hall.CloseBead(t.ctx, first.ID, api.CloseRequest{Reason: "not needed"})
	t.must(err)
	if closed.Status != town.BeadClosed {
		t.Errorf("the closed bead is %s", show(closed))
	}
	t.is(first, town.BeadClosed)
	t.pause(rig, false)
	t.taken(second.ID, 1)
}

func failOpen(t *T) {
	rig := t.rig(paused)
	first := t.create(rig, "first")
	second := t.create(rig, "second", after(first))
	why := second.Why
	b, err := t.hall.PatchBead(t.ctx, first.ID, town.BeadPatch{Status: town.BeadFailed, Reason: "cannot be done"})
	t.must(err)
	if b.Status != town.BeadFailed || !strings.Contains(b.Why, "cannot be done") {
		t.Errorf("the failed bead is %s", show(b))
	}
	t.is(first, town.BeadFailed)
	t.toldOf(second, why)
}

// toldOf checks that a bead that waits for a failed one says so.
func (t *T) toldOf(waiting town.Bead, was string) {
	if b := t.is(waiting, town.BeadOpen); b.Why == was || b.Why == "" {
		t.Errorf("the bead that depends on a failed one says %q as before", b.Why)
	}
}

func endedTwice(t *T) {
	rig := t.rig()
	b := t.work(rig)
	done := completion(b, 1, town.CompletionFailed, town.ReasonCrashed)
	t.box.forget(b.AgentID)
	t.must(t.hall.Completed(t.ctx, done))
	open := t.is(b, town.BeadOpen)
	if open.NotBefore == nil || open.Attempts != 1 {
		t.Errorf("after a crash the bead is %s, want a notBefore and one attempt", show(open))
	}
	t.must(t.hall.Completed(t.ctx, done))
	t.same(open)
}

// circles proves Q7.
func circles(t *T) {
	rig := t.rig(paused)
	a := t.create(rig, "a")
	b := t.create(rig, "b", after(a))
	c := t.create(rig, "c", after(b))
	for _, bead := range []town.Bead{a, b, c} {
		deps := []string{c.ID}
		_, err := t.hall.PatchBead(t.ctx, bead.ID, town.BeadPatch{DependsOn: &deps})
		t.refused("a circle through "+bead.Title, err, town.ErrInvalid)
	}
	_, _, err := t.hall.CreateBead(t.ctx, rig, town.BeadRequest{Title: "x", DependsOn: []string{"no-such-bead"}})
	t.refused("a bead that depends on an unknown one", err, town.ErrInvalid)
	t.same(a)
	none := []string{}
	freed, err := t.hall.PatchBead(t.ctx, c.ID, town.BeadPatch{DependsOn: &none})
	t.must(err)
	if len(freed.DependsOn) != 0 {
		t.Errorf("without dependencies the bead is %s", show(freed))
	}
	deps := []string{c.ID}
	_, err = t.hall.PatchBead(t.ctx, a.ID, town.BeadPatch{DependsOn: &deps})
	t.must(err)
}

func search(t *T) {
	rig := t.rig(paused)
	var all []string
	for range 5 {
		all = append(all, t.create(rig, "needle "+rig, func(r *town.BeadRequest) { r.Labels = []string{"l-" + rig} }).ID)
	}
	bug := t.create(rig, "other", func(r *town.BeadRequest) { r.Type = town.BeadBug })
	slices.Reverse(all)
	var got []string
	for q := (api.BeadQuery{Text: strings.ToUpper("NEEDLE " + rig), Limit: 2}); ; {
		page, err := t.hall.Beads(t.ctx, q)
		t.must(err)
		if len(page.Beads) > 2 || len(got) > 10 {
			t.Fatalf("a page of 2 has %d beads after %d", len(page.Beads), len(got))
		}
		for _, b := range page.Beads {
			got = append(got, b.ID)
		}
		if page.Next == "" {
			break
		}
		q.After = page.Next
	}
	if !slices.Equal(got, all) {
		t.Errorf("the pages hold %q, want %q, newest first", got, all)
	}
	for name, q := range map[string]api.BeadQuery{
		"rig and type": {RigID: rig, Type: town.BeadBug}, "rig and text": {RigID: rig, Text: "oTHer"}, "an id": {Text: bug.ID},
	} {
		page, err := t.hall.Beads(t.ctx, q)
		t.must(err)
		if len(page.Beads) != 1 || page.Beads[0].ID != bug.ID {
			t.Errorf("by %s are found %s, want %s", name, raw(page.Beads), bug.ID)
		}
	}
	page, err := t.hall.Beads(t.ctx, api.BeadQuery{RigID: rig, Label: "l-" + rig, Status: town.BeadOpen})
	t.must(err)
	if len(page.Beads) != 5 {
		t.Errorf("by label and status are found %d, want 5", len(page.Beads))
	}
	t.want(http.StatusBadRequest, "GET", "/beads?limit=501", "")
	t.want(http.StatusBadRequest, "GET", "/beads?status=gone", "")
}
