package townhall

import (
	"errors"
	"testing"

	"townd/api"
	"townd/town"
)

func makeConvoy(t *testing.T, h *Hall, req town.ConvoyRequest) api.ConvoyMade {
	t.Helper()
	req.RigID, req.Title = "rig", "a thing"
	made, err := h.CreateConvoy(t.Context(), Person, req)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAConvoyIsItsBeadsInOrder(t *testing.T) {
	h, _ := newHall(t)
	made := makeConvoy(t, h, town.ConvoyRequest{Mode: town.LandAtEnd, Staged: true, Tasks: []town.ConvoyTask{{Title: "last", DependsOn: []int{1}}, {Title: "first"}}})
	if made.Convoy.Status != town.ConvoyStaged || len(made.Convoy.Beads) != 2 || made.Convoy.Branch == "" {
		t.Errorf("convoy %+v", made.Convoy)
	}
	last, first := made.Beads[0], made.Beads[1]
	if last.Title != "last" || last.DependsOn[0] != first.ID || first.Target != made.Convoy.Branch || first.ConvoyID != made.Convoy.ID {
		t.Errorf("beads %+v", made.Beads)
	}
	nothingToTake(t, h)
	if c, err := h.StartConvoy(t.Context(), Person, made.Convoy.ID); err != nil || c.Status != town.ConvoyOpen {
		t.Fatalf("StartConvoy() = %+v, %v", c, err)
	}
	if b := take(t, h); b.ID != first.ID {
		t.Errorf("took %s", b.Title)
	}
	nothingToTake(t, h)
	extra := addBead(t, h, town.BeadRequest{Title: "extra"})
	if c, err := h.AddToConvoy(t.Context(), Person, made.Convoy.ID, extra.ID); err != nil || len(c.Beads) != 3 {
		t.Errorf("AddToConvoy() = %+v, %v", c, err)
	}
	if got := bead(t, h, extra.ID); got.Target != made.Convoy.Branch {
		t.Errorf("target %q", got.Target)
	}
	other := makeConvoy(t, h, town.ConvoyRequest{Tasks: []town.ConvoyTask{{Title: "x"}}})
	_, err := h.AddToConvoy(t.Context(), Person, other.Convoy.ID, extra.ID)
	wantKind(t, err, town.ErrConflict)
	c, err := h.CloseConvoy(t.Context(), Person, made.Convoy.ID, "enough")
	if err != nil || c.Status != town.ConvoyClosed || c.Closed != 3 || c.ClosedAt == nil {
		t.Errorf("CloseConvoy() = %+v, %v", c, err)
	}
	if all, err := h.Convoys(t.Context(), "rig"); err != nil || len(all) != 2 || all[0].ID != other.Convoy.ID {
		t.Errorf("Convoys() = %+v, %v", all, err)
	}
	_, err = h.StartConvoy(t.Context(), Person, made.Convoy.ID)
	wantKind(t, err, town.ErrConflict)
}

func TestAConvoyFollowsItsOwnBead(t *testing.T) {
	h, _ := newHall(t)
	id := makeConvoy(t, h, town.ConvoyRequest{Mode: town.LandAtEnd, Tasks: []town.ConvoyTask{{Title: "x"}}}).Convoy.ID
	want := func(status town.ConvoyStatus) {
		t.Helper()
		if c, err := h.Convoy(t.Context(), id); err != nil || c.Status != status {
			t.Errorf("convoy is %s, %v; want %s", c.Status, err, status)
		}
	}
	land := func(outcome string) {
		t.Helper()
		b := bead(t, h, id)
		if err := h.write(t.Context(), fact, func(t *tx) error {
			if _, err := enqueueMerge(t, b); err != nil {
				return err
			}
			return setConvoy(t, id, town.ConvoyLanding)
		}); err != nil {
			t.Fatal(err)
		}
		merge(t, h, outcome)
	}
	land("conflict")
	want(town.ConvoyFailed)
	if e, err := h.Escalations(t.Context(), ""); err != nil || len(e) != 1 {
		t.Errorf("Escalations() = %+v, %v", e, err)
	}
	if _, err := h.RetryBead(t.Context(), Person, id, ""); err != nil {
		t.Fatal(err)
	}
	want(town.ConvoyOpen)
	land("merged")
	want(town.ConvoyClosed)
}

func TestAConvoyThatIsClosedWhileItLandsStaysClosed(t *testing.T) {
	h, _ := newHall(t)
	id := makeConvoy(t, h, town.ConvoyRequest{Mode: town.LandAtEnd, Tasks: []town.ConvoyTask{{Title: "x"}}}).Convoy.ID
	var m town.Merge
	b := bead(t, h, id)
	err := h.write(t.Context(), fact, func(t *tx) (err error) {
		if m, err = enqueueMerge(t, b); err != nil {
			return err
		}
		m, err = setMerge(t, m.ID, town.MergeMerging, "", nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.CloseBead(t.Context(), Person, id, api.CloseRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := h.MergeCompleted(t.Context(), "rig", m.ID, town.MergeOutcome{Status: "conflict"}); err != nil {
		t.Errorf("a late outcome is refused for ever: %v", err)
	}
	if c, err := h.Convoy(t.Context(), id); err != nil || c.Status != town.ConvoyClosed {
		t.Errorf("convoy %+v, %v", c, err)
	}
	if merges, err := h.Merges(t.Context(), MergeQuery{Status: town.MergeCancelled}); err != nil || len(merges) != 1 {
		t.Errorf("Merges() = %+v, %v", merges, err)
	}
}

func TestAConvoyThatCannotBeIsRefused(t *testing.T) {
	h, _ := newHall(t)
	for path, tasks := range map[string][]town.ConvoyTask{
		"tasks":                  {},
		"tasks[0].title":         {{}},
		"tasks[0].dependsOn[0]":  {{Title: "x", DependsOn: []int{1}}},
		"tasks[1].priority":      {{Title: "x"}, {Title: "y", Priority: "p", DependsOn: []int{0}}},
		"tasks ":                 {{Title: "x"}, {Title: "y"}}, // neither depends on the other
		"tasks  in a circle":     {{Title: "x", DependsOn: []int{1}}, {Title: "y", DependsOn: []int{0}}},
		"tasks   on themselves":  {{Title: "x", DependsOn: []int{0}}},
		"tasks[0].dependsOn[1]":  {{Title: "x", DependsOn: []int{0, -1}}},
		"tasks[1].dependsOn[0]":  {{Title: "x"}, {Title: "y", DependsOn: []int{2}}},
		"tasks[1].type":          {{Title: "x"}, {Title: "y", DependsOn: []int{0}, Type: town.BeadConvoy}},
		"tasks[0].labels[0]":     {{Title: "x", Labels: []string{""}}},
		"tasks[0].title (empty)": {{Title: " "}},
	} {
		_, err := h.CreateConvoy(t.Context(), Person, town.ConvoyRequest{RigID: "rig", Title: "x", Tasks: tasks})
		if invalid, ok := errors.AsType[*town.InvalidError](err); !ok || len(path) < len(invalid.Issues[0].Path) || path[:len(invalid.Issues[0].Path)] != invalid.Issues[0].Path {
			t.Errorf("%s: CreateConvoy() = %v", path, err)
		}
	}
	if _, err := h.CreateConvoy(t.Context(), Person, town.ConvoyRequest{RigID: "rig", Title: "x", Parallel: true, Tasks: []town.ConvoyTask{{Title: "x"}, {Title: "y"}}}); err != nil {
		t.Error(err)
	}
}
