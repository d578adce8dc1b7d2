package townhall

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"townd/api"
	"townd/town"
)

// holdStaged is the hold of the beads of a convoy that is not started.
const holdStaged = "its convoy is not started"

func checkConvoy(req town.ConvoyRequest) error {
	var c check
	c.id("rigId", req.RigID)
	c.required("title", req.Title)
	c.line("title", req.Title, maxTitle)
	c.line("source", req.Source, 200)
	if req.Mode != "" {
		oneOf(&c, "mode", req.Mode, []town.ConvoyMode{town.LandAtEnd, town.LandOneByOne})
	}
	if len(req.Tasks) == 0 || len(req.Tasks) > maxTasks {
		c.add("tasks", "must be 1 to %d", maxTasks)
		return c.err()
	}
	edges := 0
	for i, task := range req.Tasks {
		path := fmt.Sprintf("tasks[%d].", i)
		err := checkBead(town.BeadRequest{Type: task.Type, Title: task.Title, Body: task.Body, Priority: task.Priority, Labels: task.Labels})
		if invalid, ok := errors.AsType[*town.InvalidError](err); ok {
			for _, issue := range invalid.Issues {
				c.add(path+issue.Path, "%s", issue.Message)
			}
		}
		for j, on := range task.DependsOn {
			if on < 0 || on >= len(req.Tasks) {
				c.add(fmt.Sprintf("%sdependsOn[%d]", path, j), "there is no task %d", on)
			}
		}
		edges += len(task.DependsOn)
	}
	if len(req.Tasks) > 1 && edges == 0 && !req.Parallel {
		c.add("tasks", "of which none depends on another: say dependsOn, or parallel if all may be done at once")
	}
	if c.err() == nil {
		if _, ok := inOrder(req.Tasks); !ok {
			c.add("tasks", "wait for each other in a circle")
		}
	}
	return c.err()
}

// inOrder returns the indices of tasks so that each comes after those it depends on;
// ok is false when there is a cycle.
func inOrder(tasks []town.ConvoyTask) (order []int, ok bool) {
	done := make([]bool, len(tasks))
	for len(order) < len(tasks) {
		before := len(order)
		for i, task := range tasks {
			if !done[i] && !slices.ContainsFunc(task.DependsOn, func(on int) bool { return !done[on] }) {
				done[i] = true
				order = append(order, i)
			}
		}
		if len(order) == before {
			return nil, false
		}
	}
	return order, true
}

// CreateConvoy makes a convoy and its beads.
func (h *Hall) CreateConvoy(ctx context.Context, c Caller, req town.ConvoyRequest) (api.ConvoyMade, error) {
	if err := firstOf(c.lead("make convoys"), checkConvoy(req)); err != nil {
		return api.ConvoyMade{}, err
	}
	return once(ctx, h, fact, func(t *tx) (api.ConvoyMade, error) {
		if _, err := loadRig(t, req.RigID); err != nil {
			return api.ConvoyMade{}, err
		}
		if c.agent() {
			if err := roomForMore(t, len(req.Tasks)); err != nil {
				return api.ConvoyMade{}, err
			}
		}
		id, err := insertConvoy(t, c, req)
		if err != nil {
			return api.ConvoyMade{}, err
		}
		beads, err := insertTasks(t, c, req, id)
		if err != nil {
			return api.ConvoyMade{}, err
		}
		convoy, err := loadConvoy(t, id)
		return api.ConvoyMade{Convoy: convoy, Beads: beads}, err
	})
}

// insertConvoy makes the convoy and the bead that it is.
func insertConvoy(t *tx, c Caller, req town.ConvoyRequest) (id string, err error) {
	own := newBead(t, c, req.RigID, town.BeadRequest{Type: town.BeadConvoy, Title: req.Title, Source: req.Source})
	status, branch := town.ConvoyOpen, ""
	if req.Staged {
		status = town.ConvoyStaged
	}
	if req.Mode == town.LandAtEnd {
		branch = "convoy/" + own.ID[max(0, len(own.ID)-8):]
		own.Branch = branch
	}
	if err := insertBead(t, &own); err != nil {
		return "", err
	}
	if err := saveState(t, &own); err != nil { // its branch
		return "", err
	}
	_, err = t.exec(`INSERT INTO convoys (id, rig_id, title, mode, status, branch, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		own.ID, req.RigID, req.Title, string(cmp.Or(req.Mode, town.LandOneByOne)), string(status), branch, ms(t.now))
	return own.ID, err
}

// insertTasks makes the beads of a convoy, and returns them in the order of its tasks.
func insertTasks(t *tx, c Caller, req town.ConvoyRequest, id string) ([]town.Bead, error) {
	beads := make([]town.Bead, len(req.Tasks))
	order, _ := inOrder(req.Tasks) // there is no cycle, checkConvoy says
	for _, i := range order {
		task := req.Tasks[i]
		needs := make([]string, len(task.DependsOn))
		for j, on := range task.DependsOn {
			needs[j] = beads[on].ID
		}
		b := newBead(t, c, req.RigID, town.BeadRequest{
			Type: task.Type, Title: task.Title, Body: task.Body, Priority: task.Priority, Labels: task.Labels, Source: req.Source, DependsOn: needs,
		})
		b.ConvoyID, b.blockers = id, len(b.DependsOn)
		if req.Staged {
			b.Hold = holdStaged
		}
		if err := intoConvoy(t, &b, id); err != nil {
			return nil, err
		}
		if err := insertBead(t, &b); err != nil {
			return nil, err
		}
		beads[i] = b.Bead
	}
	return beads, nil
}

// intoConvoy sets the target of a bead to its convoy's branch, if it has one.
func intoConvoy(t *tx, b *beadRow, id string) error {
	b.ConvoyID = id
	var branch string
	if err := t.row(`SELECT branch FROM convoys WHERE id = ?`, id).Scan(&branch); err != nil {
		return err
	}
	if branch != "" {
		b.Target = branch
	}
	return nil
}

const convoyColumns = `c.id, c.rig_id, c.title, c.mode, c.status, c.branch, c.created_at, c.closed_at`

func scanConvoy(row scanner) (c town.Convoy, err error) {
	var created int64
	var closed sql.NullInt64
	err = row.Scan(&c.ID, &c.RigID, &c.Title, &c.Mode, &c.Status, &c.Branch, &created, &closed)
	c.CreatedAt, c.ClosedAt = timeOf(created), timeOrNil(closed)
	return c, err
}

// withBeads fills in what a convoy's beads are at.
func withBeads(r reader, c town.Convoy) (town.Convoy, error) {
	type member struct {
		id     string
		status town.BeadStatus
	}
	members, err := collect(r, func(row scanner) (m member, err error) {
		err = row.Scan(&m.id, &m.status)
		return m, err
	}, `SELECT id, status FROM beads WHERE convoy_id = ? AND convoy_id <> '' ORDER BY n`, c.ID)
	c.Beads = make([]string, len(members))
	for i, m := range members {
		c.Beads[i] = m.id
		switch m.status {
		case town.BeadClosed:
			c.Closed++
		case town.BeadFailed:
			c.Failed++
		case town.BeadOpen, town.BeadInProgress, town.BeadInReview:
		}
	}
	return c, err
}

func loadConvoy(r reader, id string) (town.Convoy, error) {
	c, err := scanConvoy(r.row(`SELECT `+convoyColumns+` FROM convoys c WHERE c.id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("convoy %s: %w", id, town.ErrNotFound)
	} else if err != nil {
		return c, err
	}
	return withBeads(r, c)
}

// Convoys returns the convoys of a rig (of all rigs when rigID is ""), newest first, at most 500.
func (h *Hall) Convoys(ctx context.Context, rigID string) (convoys []town.Convoy, err error) {
	var w where
	w.equal("c.rig_id", rigID)
	err = h.read(ctx, func(r reader) error {
		convoys, err = collect(r, scanConvoy, `SELECT `+convoyColumns+` FROM convoys c`+w.String()+` ORDER BY c.n DESC LIMIT 500`, w.args...)
		for i := range convoys {
			if err == nil {
				convoys[i], err = withBeads(r, convoys[i])
			}
		}
		return err
	})
	return convoys, err
}

// Convoy returns one convoy.
func (h *Hall) Convoy(ctx context.Context, id string) (c town.Convoy, err error) {
	err = h.read(ctx, func(r reader) error {
		c, err = loadConvoy(r, id)
		return err
	})
	return c, err
}

// StartConvoy lets the beads of a staged convoy be taken. One that is open stays so.
func (h *Hall) StartConvoy(ctx context.Context, c Caller, id string) (town.Convoy, error) {
	if err := c.lead("start convoys"); err != nil {
		return town.Convoy{}, err
	}
	return once(ctx, h, fact, func(t *tx) (town.Convoy, error) {
		convoy, err := loadConvoy(t, id)
		switch {
		case err != nil || convoy.Status == town.ConvoyOpen:
			return convoy, err
		case convoy.Status != town.ConvoyStaged:
			return convoy, fmt.Errorf("convoy %s is %s: %w", id, convoy.Status, town.ErrConflict)
		}
		if err := setConvoy(t, id, town.ConvoyOpen); err != nil {
			return convoy, err
		}
		rows, err := collect(t, scanBeadRow, `SELECT `+beadColumns+` FROM beads WHERE convoy_id = ? AND status = 'open' AND hold = ?`, id, holdStaged)
		if err != nil {
			return convoy, err
		}
		for _, b := range rows {
			if err := letGo(t, &b, c, "its convoy is started"); err != nil {
				return convoy, err
			}
		}
		return loadConvoy(t, id)
	})
}

// setConvoy moves a convoy to another status.
func setConvoy(t *tx, id string, status town.ConvoyStatus) error {
	t.tell(topicWork)
	var closed any
	if status == town.ConvoyClosed || status == town.ConvoyFailed {
		closed = ms(t.now)
	}
	_, err := t.exec(`UPDATE convoys SET status = ?, closed_at = ? WHERE id = ?`, string(status), closed, id)
	return err
}

// CloseConvoy closes a convoy and those of its beads that are not closed or failed.
func (h *Hall) CloseConvoy(ctx context.Context, c Caller, id, reason string) (town.Convoy, error) {
	if err := firstOf(c.lead("close convoys"), checkReason(reason)); err != nil {
		return town.Convoy{}, err
	}
	return once(ctx, h, fact, func(t *tx) (town.Convoy, error) {
		convoy, err := loadConvoy(t, id)
		if err != nil || convoy.Status == town.ConvoyClosed {
			return convoy, err
		}
		rows, err := collect(t, scanBeadRow, `SELECT `+beadColumns+` FROM beads
			WHERE (convoy_id = ?1 OR id = ?1) AND status IN ('open', 'in_progress', 'in_review') ORDER BY n DESC`, id)
		if err != nil {
			return convoy, err
		}
		for _, b := range rows {
			if _, _, err := apply(t, b.ID, Call{Event: EventClose, By: c.by(), Reason: cmp.Or(reason, "its convoy was closed")}); err != nil {
				return convoy, err
			}
		}
		return loadConvoy(t, id)
	})
}

// AddToConvoy puts a bead into a convoy that is not over. A bead that was taken, or
// is of another convoy, is town.ErrConflict.
func (h *Hall) AddToConvoy(ctx context.Context, c Caller, id, beadID string) (town.Convoy, error) {
	if err := c.lead("change convoys"); err != nil {
		return town.Convoy{}, err
	}
	return once(ctx, h, fact, func(t *tx) (town.Convoy, error) {
		convoy, err := loadConvoy(t, id)
		if err != nil {
			return convoy, err
		}
		b, err := loadBead(t, beadID)
		switch {
		case err != nil || b.ConvoyID == id:
			return convoy, err
		case convoy.Status != town.ConvoyOpen && convoy.Status != town.ConvoyStaged:
			return convoy, fmt.Errorf("convoy %s is %s: %w", id, convoy.Status, town.ErrConflict)
		case b.RigID != convoy.RigID:
			return convoy, fmt.Errorf("bead %s is of rig %s, the convoy of %s: %w", beadID, b.RigID, convoy.RigID, town.ErrConflict)
		case b.ConvoyID != "" || b.Type == town.BeadConvoy || b.Status != town.BeadOpen:
			return convoy, fmt.Errorf("bead %s is %s, of convoy %q: only an open bead of none can be put into one: %w", beadID, b.Status, b.ConvoyID, town.ErrConflict)
		}
		if err := intoConvoy(t, &b, id); err != nil {
			return convoy, err
		}
		if convoy.Status == town.ConvoyStaged && b.Hold == "" {
			b.Hold = holdStaged
		}
		b.Why, b.UpdatedAt = whyOf(b, ""), t.now
		if _, err := t.exec(`UPDATE beads SET convoy_id = ?, target = ? WHERE id = ?`, id, b.Target, beadID); err != nil {
			return convoy, err
		}
		if err := saveState(t, &b); err != nil {
			return convoy, err
		}
		return loadConvoy(t, id)
	})
}

// afterLanding turns what a merge means for a bead into what it means for a convoy,
// whose own bead stays open till its branch is in.
func afterLanding(v verdict) verdict {
	if v.call.Event == EventMerged {
		v.call.Event = EventClose
	}
	if v.call.Event == EventRework || v.call.Event == EventGiveUp {
		v.call.Event = EventFail
		v.call.Reason = cmp.Or(v.call.Feedback, v.call.Reason)
	}
	return v
}

// followBead moves a convoy to where its own bead is.
func followBead(t *tx, b town.Bead) error {
	status := town.ConvoyOpen
	switch b.Status {
	case town.BeadClosed:
		status = town.ConvoyClosed
	case town.BeadFailed:
		status = town.ConvoyFailed
		if _, _, err := raise(t, town.EscalationRequest{
			Severity: town.PriorityHigh, Title: cut("convoy failed: "+b.Title, maxTitle), Body: b.Why, BeadID: b.ID, RigID: b.RigID, Cause: "bead:" + b.ID,
		}); err != nil {
			return err
		}
	case town.BeadOpen, town.BeadInProgress, town.BeadInReview:
	}
	if status != town.ConvoyOpen { // the landing of a convoy that is over is not waited for; no transition says so, its bead is never in review
		if err := cancelMerge(t, b.ID, "its convoy is "+string(status)); err != nil {
			return err
		}
	}
	return setConvoy(t, b.ID, status)
}
