package supervisor

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"townd/gitmgr"
	"townd/supervisor/keeper"
	"townd/town"
)

// Rig is how far the repository of a rig is that was asked for.
type Rig struct {
	ID      string
	State   RigState
	Phase   string // of its clone, as git names it; "" before and after
	Percent int    // of Phase
	Err     error  // of a failed one
}

// RigState is how the preparation of a rig goes.
type RigState string

// The states of a Rig.
const (
	RigWaiting   RigState = "waiting" // for its turn
	RigPreparing RigState = "preparing"
	RigReady     RigState = "ready"
	RigFailed    RigState = "failed" // a start or another preparation tries again
)

// rigs is what is known of rigs that were asked for. Its zero value knows of none.
type rigs struct {
	mu   sync.Mutex
	byID map[string]Rig
}

func (r *rigs) set(rig Rig) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = make(map[string]Rig)
	}
	r.byID[rig.ID] = rig
}

// Rigs returns the rigs that were prepared since this process began, in order of id.
func (s *Supervisor) Rigs() []Rig {
	s.rigs.mu.Lock()
	defer s.rigs.mu.Unlock()
	all := make([]Rig, 0, len(s.rigs.byID))
	for _, rig := range s.rigs.byID {
		all = append(all, rig)
	}
	slices.SortFunc(all, func(a, b Rig) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// PrepareRig clones or fetches the repository of a rig, so that its first start is
// quick. It returns the errors of gitmgr's Prepare.
func (s *Supervisor) PrepareRig(ctx context.Context, id, url string) (gitmgr.Prepared, error) {
	if err := town.CheckID(id); err != nil {
		return gitmgr.Prepared{}, &town.InvalidError{Issues: []town.Issue{{Path: "rigId", Message: err.Error()}}}
	}
	if err := s.cfg.Git.CheckURL(url); err != nil {
		return gitmgr.Prepared{}, &town.InvalidError{Issues: []town.Issue{{Path: "gitUrl", Message: err.Error()}}}
	}
	s.rigs.set(Rig{ID: id, State: RigPreparing})
	p, err := s.cfg.Git.Prepare(ctx, id, url, true, func(p gitmgr.Progress) {
		s.rigs.set(Rig{ID: id, State: RigPreparing, Phase: p.Phase, Percent: p.Percent})
	})
	if err != nil {
		s.log.Warn("rig not prepared", "rig", id, "error", err)
		s.rigs.set(Rig{ID: id, State: RigFailed, Err: err})
		return gitmgr.Prepared{}, err
	}
	s.rigs.set(Rig{ID: id, State: RigReady})
	s.askPool(id)
	return p, nil
}

// rigsAtOnce bounds the clones that are made in the background.
const rigsAtOnce = 4

// PrepareRigs prepares rigs, URLs by id, in the background. Those that fail are told
// of by Rigs and keep no other from it.
func (s *Supervisor) PrepareRigs(urls map[string]string) {
	gate := make(chan struct{}, rigsAtOnce)
	for id, url := range urls {
		s.rigs.set(Rig{ID: id, State: RigWaiting})
		s.wg.Go(func() { // ends with the preparation or the supervisor
			select {
			case gate <- struct{}{}:
				defer func() { <-gate }()
				_, _ = s.PrepareRig(s.ctx, id, url) // told by Rigs
			case <-s.ctx.Done():
			}
		})
	}
}

// gateBranch stands for the branch of the user that gates of a rig run as: it is no
// name of a branch.
const gateBranch = "-merge/gate"

// Merge is gitmgr's Merge, with gates that run as a user of the rig's own where
// there is isolation, by Config.Author if q names none. What a gate leaves behind is
// ended with it.
func (s *Supervisor) Merge(ctx context.Context, q gitmgr.MergeRequest) (gitmgr.MergeResult, error) {
	if q.Author == (gitmgr.Identity{}) {
		q.Author = s.cfg.Author
	}
	if len(q.Gates) > 0 && s.users.isolation() == "uid" {
		// Kept: no agent is to have a user that gates ran as a moment ago.
		uid, err := s.users.of(branchKey(q.RigID, gateBranch), nil)
		if err == nil {
			err = s.leavePool(ctx, uid, "")
		}
		if err != nil {
			return gitmgr.MergeResult{}, err
		}
		q.Owner = gitmgr.Owner{UID: uid}
		q.Run = runGate
	}
	res, err := s.cfg.Git.Merge(ctx, q)
	if err == nil {
		s.askPool(q.RigID) // it has fetched, and moved the default branch perhaps
	}
	return res, err
}

// runGate is gitmgr.RunGate that leaves no process of the gate's user.
func runGate(ctx context.Context, g gitmgr.GateRun, output io.Writer) (int, error) {
	code, err := gitmgr.RunGate(ctx, g, output)
	// Owed even when the gate has run out of its time.
	sweep, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, left := keeper.Sweep(sweep, keeper.Match{UID: g.Owner.UID}, 0)
	return code, errors.Join(err, left)
}
