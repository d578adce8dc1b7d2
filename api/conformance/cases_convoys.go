package conformance

import (
	"slices"

	"townd/api"
	"townd/town"
)

// convoyCases are about beads that make one thing.
var convoyCases = []Case{
	{Name: "a staged convoy waits for its start", run: stagedConvoy},
	{Name: "a convoy whose beads are merged one by one closes with the last", run: convoyOneByOne},
	{Name: "a convoy that lands at the end is merged as a whole", run: convoyLands},
	{Name: "convoys in a circle, or without an order, are refused", run: badConvoys},
	{Name: "closing a convoy closes what is left of it", run: closesConvoy},
}

func tasks(titles ...string) []town.ConvoyTask {
	all := []town.ConvoyTask{}
	for i, title := range titles {
		task := town.ConvoyTask{Title: title}
		if i > 0 {
			task.DependsOn = []int{i - 1}
		}
		all = append(all, task)
	}
	return all
}

func (t *T) convoy(req town.ConvoyRequest) api.ConvoyMade {
	made, err := t.hall.CreateConvoy(t.ctx, req)
	t.must(err)
	if made.Convoy.RigID != req.RigID || made.Convoy.Title != req.Title || len(made.Beads) != len(req.Tasks) || len(made.Convoy.Beads) != len(req.Tasks) {
		t.Fatalf("%s was made as %s", raw(req), raw(made))
	}
	for i, b := range made.Beads {
		if b.ConvoyID != made.Convoy.ID || b.Title != req.Tasks[i].Title || len(b.DependsOn) != len(req.Tasks[i].DependsOn) || made.Convoy.Beads[i] != b.ID {
			t.Errorf("task %d was made as %s", i, show(b))
		}
	}
	return made
}

func stagedConvoy(t *T) {
	rig := t.rig(serial)
	made := t.convoy(town.ConvoyRequest{RigID: rig, Title: "staged", Staged: true, Tasks: tasks("one", "two")})
	if made.Convoy.Status != town.ConvoyStaged {
		t.Errorf("the convoy is %s", raw(made.Convoy))
	}
	other := t.work(rig, func(r *town.BeadRequest) { r.Priority = town.PriorityLow })
	if got := t.starts(rig); !slices.Equal(got, []string{other.ID}) {
		t.Errorf("started were %q, want only %s", got, other.ID)
	}
	t.finish(other, 1)
	c, err := t.hall.StartConvoy(t.ctx, made.Convoy.ID)
	t.must(err)
	if c.Status != town.ConvoyOpen {
		t.Errorf("a started convoy is %s", raw(c))
	}
	t.taken(made.Beads[0].ID, 1)
}

func convoyOneByOne(t *T) {
	rig := t.rig()
	made := t.convoy(town.ConvoyRequest{RigID: rig, Title: "one by one", Tasks: tasks("one", "two")})
	if made.Convoy.Status != town.ConvoyOpen || made.Convoy.Mode != town.LandOneByOne {
		t.Errorf("the convoy is %s", raw(made.Convoy))
	}
	t.goInto("main", made.Beads)
	t.landed(made.Convoy.ID)
}

// goInto has beads worked on, one after another, and merged into a branch.
func (t *T) goInto(branch string, beads []town.Bead) {
	for _, b := range beads {
		b = t.taken(b.ID, 1)
		t.done(b, 1)
		t.box.forget(b.AgentID)
		m := t.merging(b.ID, 1)
		if m.TargetBranch != branch {
			t.Errorf("bead %s goes into %s, want %s", b.ID, m.TargetBranch, branch)
		}
		t.outcome(m, "merged")
		t.is(b, town.BeadClosed)
	}
}

// landed waits until a convoy has closed.
func (t *T) landed(id string) {
	t.eventually("a convoy whose beads are merged has closed", func() bool {
		c, err := t.hall.Convoy(t.ctx, id)
		t.must(err)
		return c.Status == town.ConvoyClosed && c.Closed == len(c.Beads) && c.ClosedAt != nil
	})
}

func convoyLands(t *T) {
	rig := t.rig()
	made := t.convoy(town.ConvoyRequest{RigID: rig, Title: "as a whole", Mode: town.LandAtEnd, Tasks: tasks("one", "two")})
	branch := made.Convoy.Branch
	if branch == "" || branch == "main" {
		t.Fatalf("the convoy is %s, want a branch of its own", raw(made.Convoy))
	}
	t.goInto(branch, made.Beads)
	landing := find(t, "the request to merge the convoy's branch", func(c *Container) []api.MergeRequest { return c.merges },
		func(m api.MergeRequest) bool { return m.RigID == rig && m.Branch == branch })
	if landing.TargetBranch != "main" {
		t.Errorf("the convoy lands in %s, want main", landing.TargetBranch)
	}
	t.outcome(landing, "merged")
	t.landed(made.Convoy.ID)
}

func badConvoys(t *T) {
	rig := t.rig(paused)
	circle := tasks("one", "two")
	circle[0].DependsOn = []int{1}
	self := tasks("one")
	self[0].DependsOn = []int{0}
	loose := []town.ConvoyTask{{Title: "one"}, {Title: "two"}}
	for name, all := range map[string][]town.ConvoyTask{"a circle": circle, "a task that waits for itself": self, "tasks without an order": loose} {
		_, err := t.hall.CreateConvoy(t.ctx, town.ConvoyRequest{RigID: rig, Title: "x", Tasks: all})
		t.refused("a convoy of "+name, err, town.ErrInvalid)
	}
	t.convoy(town.ConvoyRequest{RigID: rig, Title: "loose on purpose", Parallel: true, Tasks: loose})
}

func closesConvoy(t *T) {
	rig := t.rig(paused)
	made := t.convoy(town.ConvoyRequest{RigID: rig, Title: "not wanted", Tasks: tasks("one", "two")})
	extra := t.create(rig, "extra")
	c, err := t.hall.AddToConvoy(t.ctx, made.Convoy.ID, extra.ID)
	t.must(err)
	if len(c.Beads) != 3 || !slices.Contains(c.Beads, extra.ID) {
		t.Errorf("with one more bead the convoy is %s", raw(c))
	}
	c, err = t.hall.CloseConvoy(t.ctx, made.Convoy.ID, "not wanted")
	t.must(err)
	if c.Status != town.ConvoyClosed || c.ClosedAt == nil {
		t.Errorf("a closed convoy is %s", raw(c))
	}
	for _, b := range append(made.Beads, extra) {
		t.is(b, town.BeadClosed)
	}
	all, err := t.hall.Convoys(t.ctx, rig)
	t.must(err)
	if len(all) != 1 || all[0].ID != c.ID {
		t.Errorf("the rig's convoys are %s", raw(all))
	}
}
