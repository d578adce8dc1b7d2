package conformance

import (
	"net/http"
	"strings"
	"sync"

	"townd/api"
	"townd/town"
)

// keyCases are about calls that come more than once.
var keyCases = []Case{
	{Name: "the same key answers as the first time", run: sameKey},
	{Name: "a key of another call is refused", run: keyOfAnother},
	{Name: "calls with one key that come at once are one", run: keyAtOnce},
	{Name: "reports that come twice and out of order count once", run: reordered},
	{Name: "keys that are none are refused", run: badKeys},
}

func sameKey(t *T) {
	rig := t.rig(paused)
	key := newID()
	body := `{"title":"once"}`
	first := t.want(http.StatusCreated, "POST", "/rigs/"+rig+"/beads", body, "Idempotency-Key", key)
	again := t.want(http.StatusCreated, "POST", "/rigs/"+rig+"/beads", body, "Idempotency-Key", key)
	if string(first.body) != string(again.body) {
		t.Errorf("the same key is answered %v, at first %v", again, first)
	}
	page, err := t.hall.Beads(t.ctx, api.BeadQuery{RigID: rig})
	t.must(err)
	if len(page.Beads) != 1 {
		t.Errorf("one key made %d beads", len(page.Beads))
	}
	b := page.Beads[0]
	for path, body := range map[string]string{
		"/mail": `{"to":"mayor","subject":"` + rig + `"}`, "/escalations": `{"title":"x","cause":"` + rig + `"}`,
		"/beads/" + b.ID + "/notes": `{"text":"x"}`,
	} {
		first := t.call("POST", path, body, "Idempotency-Key", key+"-"+path[:5])
		again := t.call("POST", path, body, "Idempotency-Key", key+"-"+path[:5])
		if first.status != http.StatusCreated || string(first.body) != string(again.body) || again.status != first.status {
			t.Errorf("POST %s is answered %v, and again %v", path, first, again)
		}
	}
	notes, err := t.hall.Notes(t.ctx, b.ID)
	t.must(err)
	n := 0
	for _, note := range notes {
		if note.Kind == "note" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("one key wrote %d notes", n)
	}
}

func keyOfAnother(t *T) {
	rig := t.rig(paused)
	key := newID()
	t.want(http.StatusCreated, "POST", "/rigs/"+rig+"/beads", `{"title":"x"}`, "Idempotency-Key", key)
	t.want(http.StatusConflict, "POST", "/rigs/"+rig+"/beads", `{"title":"y"}`, "Idempotency-Key", key)
	t.want(http.StatusConflict, "POST", "/mail", `{"to":"mayor","subject":"y"}`, "Idempotency-Key", key)
}

func keyAtOnce(t *T) {
	rig := t.rig(paused)
	ctx := api.WithKey(t.ctx, newID())
	ids := make([]string, 8)
	errs := make([]error, len(ids))
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			b, _, err := t.hall.CreateBead(ctx, rig, town.BeadRequest{Title: "at once"})
			ids[i], errs[i] = b.ID, err
		})
	}
	wg.Wait()
	for i, id := range ids {
		if errs[i] != nil || id != ids[0] {
			t.Errorf("calls with one key are answered %q, %v", ids, errs)
			return
		}
	}
}

// reordered tells everything of a run the wrong way round, and twice.
func reordered(t *T) {
	b := t.work(t.rig())
	end, done := completion(b, 1, town.CompletionCompleted, town.ReasonDone), doneOf(b, 1)
	endKey, doneKey := api.WithKey(t.ctx, newID()), api.WithKey(t.ctx, newID())
	t.box.forget(b.AgentID)
	t.must(t.hall.Completed(endKey, end))
	_, err := t.hall.Done(doneKey, b.AgentID, done)
	t.must(err)
	t.is(b, town.BeadInReview)
	m := t.merging(b.ID, 1)
	t.must(t.hall.Completed(endKey, end))
	again, err := t.hall.Done(doneKey, b.AgentID, done)
	t.must(err)
	if again.Bead.ID != b.ID {
		t.Errorf("the same key is answered %s", raw(again))
	}
	t.is(b, town.BeadInReview)
	out := town.MergeOutcome{EntryID: m.EntryID, Status: "merged"}
	key := api.WithKey(t.ctx, newID())
	t.must(t.hall.MergeCompleted(key, m.RigID, out))
	t.must(t.hall.MergeCompleted(key, m.RigID, out))
	t.must(t.hall.Completed(t.ctx, end))
	t.is(b, town.BeadClosed)
}

func badKeys(t *T) {
	rig := t.rig(paused)
	for _, key := range []string{"", "a b", strings.Repeat("k", 256), "ü"} {
		t.issues(t.want(http.StatusBadRequest, "POST", "/rigs/"+rig+"/beads", `{"title":"x"}`, "Idempotency-Key", key))
	}
}
