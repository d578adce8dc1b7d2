package townhall

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"

	"townd/api"
	"townd/town"
)

var (
	simRuns = flag.Int("sim", 10_000, "how many runs TestSimulation makes")
	simSeed = flag.Uint64("simseed", 0, "seed of the simulations; 0 for a new one, which is printed")
)

// simBead is a bead as the model has it: written from the contract, not from the code.
type simBead struct {
	id        string
	status    town.BeadStatus
	due       time.Time
	n         int // order of making
	needs     []int
	attempts  int
	max       int
	reworks   int
	epoch     int64
	leased    bool
	ran       bool // its agent was seen to run under this lease
	leaseEnd  time.Time
	since     time.Time
	instance  int64
	held      bool
	notBefore time.Time // as the store has it: its jitter is not the model's
	agentID   string
	kept      int  // calls that were kept as attempts
	closings  int  // times that it came to closed
	absorbed  bool // it came to closed: nothing may change it
}

// simWorker is a claim that some agent works on, or once did.
type simWorker struct {
	bead  int
	epoch int64
	run   string
	told  bool // its run's end
	alive bool
}

// simMerge is a merge that the container was asked for.
type simMerge struct {
	id   string
	bead int
	over bool
}

// sim is one run of the simulation: random operations on the beads of one rig.
type sim struct {
	t        *testing.T
	h        *Hall
	clock    *testClock
	r        *rand.Rand
	rig      string
	beads    []*simBead
	workers  []*simWorker
	merges   []*simMerge
	instance int64
	box      string // instance id
	boxes    int
	abort    *bool // the next commit fails, as if the power went
	aborted  *bool
	trace    []string
}

func (s *sim) logf(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf(format, args...))
}

func (s *sim) failf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("rig %s: %s\n%s", s.rig, fmt.Sprintf(format, args...), strings.Join(s.trace, "\n"))
}

// do runs an operation, now and then with a crash before its commit, and returns
// whether it happened. want is the kind of error that it has to return.
func (s *sim) do(what string, want error, fn func() error) bool {
	s.t.Helper()
	*s.abort, *s.aborted = s.r.IntN(20) == 0, false
	err := fn()
	*s.abort = false
	s.logf("%s %s: %v (aborted %v)", s.clock.now().Format("15:04:05"), what, err, *s.aborted)
	if *s.aborted {
		if err == nil {
			s.failf("%s: the commit failed and nobody is told", what)
		}
		return false
	}
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		s.failf("%s: %v, want %v", what, err, want)
	}
	return err == nil
}

func (s *sim) blockers(b *simBead) (n int) {
	for _, i := range b.needs {
		if s.beads[i].status != town.BeadClosed {
			n++
		}
	}
	return n
}

func (s *sim) ready(b *simBead) bool {
	return b.status == town.BeadOpen && !b.held && s.blockers(b) == 0 && !b.notBefore.After(s.clock.now())
}

func (b *simBead) to(status town.BeadStatus) {
	if status == town.BeadClosed && b.status != town.BeadClosed {
		b.closings++
	}
	b.status = status
	if status != town.BeadInProgress {
		b.leased = false
	}
	if status == town.BeadClosed || status == town.BeadFailed {
		b.held = false
	}
}

// lose is the end of a lease without done.
func (b *simBead) lose() {
	if b.attempts >= b.max {
		b.to(town.BeadFailed)
	} else {
		b.to(town.BeadOpen)
	}
}

func (s *sim) create() {
	req := town.BeadRequest{Title: "x", Priority: town.Priorities()[s.r.IntN(4)], MaxAttempts: 1 + s.r.IntN(3)}
	b := &simBead{status: town.BeadOpen, n: len(s.beads), max: req.MaxAttempts}
	for i, other := range s.beads {
		if s.r.IntN(4) == 0 {
			req.DependsOn = append(req.DependsOn, other.id)
			b.needs = append(b.needs, i)
		}
	}
	if s.do("create", nil, func() error {
		made, _, err := s.h.CreateBead(s.t.Context(), Person, s.rig, req)
		b.id, b.due = made.ID, made.CreatedAt.Add(-req.Priority.HeadStart())
		return err
	}) {
		s.beads = append(s.beads, b)
	}
}

func (s *sim) claim() {
	var want *simBead
	for _, b := range s.beads {
		if s.ready(b) && (want == nil || b.due.Before(want.due)) {
			want = b
		}
	}
	var got town.Bead
	var ok bool
	if !s.do("claim", nil, func() (err error) {
		got, ok, err = s.h.claimNext(s.t.Context(), s.rig, "", pickName)
		return err
	}) {
		return
	}
	if ok != (want != nil) || ok && got.ID != want.id {
		s.failf("claimed %v %s, want %+v", ok, got.ID, want)
	}
	if !ok {
		return
	}
	if want.agentID != "" && want.agentID != got.AgentID {
		s.failf("agent %s became %s", want.agentID, got.AgentID)
	}
	want.agentID = got.AgentID
	want.attempts++
	want.epoch++
	want.to(town.BeadInProgress)
	want.leased, want.ran, want.leaseEnd, want.since, want.instance = true, false, s.clock.now().Add(5*time.Minute), s.clock.now(), s.instance
	s.workers = append(s.workers, &simWorker{bead: want.n, epoch: want.epoch, run: fmt.Sprintf("%s-%d-%d", s.rig, want.n, want.epoch), alive: true})
}

// worker is one of those that ever worked.
func (s *sim) worker() (*simWorker, *simBead) {
	if len(s.workers) == 0 {
		return nil, nil
	}
	w := s.workers[s.r.IntN(len(s.workers))]
	if s.r.IntN(2) == 0 { // late ones are rarer
		w = s.workers[len(s.workers)-1]
	}
	return w, s.beads[w.bead]
}

func (s *sim) done() {
	w, b := s.worker()
	if w == nil {
		return
	}
	current := b.leased && b.epoch == w.epoch
	var out api.DoneAnswer
	if s.do(fmt.Sprintf("done %d.%d", w.bead, w.epoch), nil, func() (err error) {
		out, err = s.h.Done(s.t.Context(), Caller{AgentID: b.agentID, Role: town.RolePolecat}, b.agentID, town.DoneRequest{Epoch: w.epoch, Branch: "b"})
		return err
	}) {
		if out.Kept == current {
			s.failf("kept %v", out.Kept)
		}
		if current {
			b.to(town.BeadInReview)
		} else {
			b.kept++
		}
	}
}

func (s *sim) finish() {
	w, b := s.worker()
	if w == nil {
		return
	}
	var want error
	if b.status != town.BeadInProgress {
		want = town.ErrConflict
	}
	current := b.leased && b.epoch == w.epoch
	if s.do(fmt.Sprintf("finish %d.%d", w.bead, w.epoch), want, func() error {
		_, err := s.h.CloseBead(s.t.Context(), Caller{AgentID: b.agentID, Role: town.RolePolecat}, b.id, api.CloseRequest{Epoch: w.epoch})
		return err
	}) {
		if current {
			b.to(town.BeadClosed)
		} else {
			b.kept++
		}
	}
}

func (s *sim) completed() {
	w, b := s.worker()
	if w == nil {
		return
	}
	reasons := []town.Reason{
		town.ReasonExited, town.ReasonCrashed, town.ReasonAuth, town.ReasonStopped, town.ReasonBlocked, town.ReasonWaiting, town.ReasonDone, town.ReasonCutOff,
	}
	reason := reasons[s.r.IntN(len(reasons))]
	if !s.do(fmt.Sprintf("completed %d.%d %s", w.bead, w.epoch, reason), nil, func() error {
		return s.h.Completed(s.t.Context(), b.agentID, town.Completion{
			AgentID: b.agentID, RigID: s.rig, BeadID: b.id, RunID: w.run, Generation: w.epoch, Status: town.CompletionCompleted, Reason: reason,
		})
	}) {
		return
	}
	first := !w.told
	w.told, w.alive = true, false
	if !first || !b.leased || b.epoch != w.epoch {
		return
	}
	switch reason {
	case town.ReasonAuth:
		b.to(town.BeadFailed)
	case town.ReasonStopped, town.ReasonBlocked:
		b.to(town.BeadOpen)
		b.held = true
	case town.ReasonWaiting:
		b.ran = true
		b.leaseEnd = s.clock.now().Add(5 * time.Minute)
	case town.ReasonDone:
		b.to(town.BeadInReview)
	case town.ReasonCutOff:
		b.to(town.BeadOpen)
		b.attempts--
	default:
		b.lose()
	}
}

func (s *sim) release() {
	w, b := s.worker()
	if w == nil {
		return
	}
	if s.do(fmt.Sprintf("release %d.%d", w.bead, w.epoch), nil, func() error {
		_, err := s.h.released(s.t.Context(), b.id, w.epoch, "x")
		return err
	}) && b.leased && b.epoch == w.epoch {
		b.lose()
	}
}

func (s *sim) heartbeat() {
	replaced := s.box == "" || s.r.IntN(4) == 0
	box, instance := s.box, s.instance
	if replaced {
		box, instance = fmt.Sprintf("%s-%d", s.rig, s.boxes), s.instance+1
		s.boxes++
	}
	hb := town.Heartbeat{InstanceID: box, Status: "ok"}
	shownBeads := map[int]int64{}
	for _, w := range slices.Backward(s.workers) { // an agent is shown once, as its newest
		if _, ok := shownBeads[w.bead]; ok || !w.alive || s.r.IntN(3) == 0 {
			continue
		}
		b := s.beads[w.bead]
		shownBeads[w.bead] = w.epoch
		hb.Agents = append(hb.Agents, town.AgentHeartbeat{
			AgentID: b.agentID, RigID: s.rig, BeadID: b.id, Role: town.RolePolecat, Status: town.StatusRunning, Generation: w.epoch, RunID: w.run,
		})
	}
	var reply town.HeartbeatReply
	if !s.do(fmt.Sprintf("heartbeat of %s with %v", box, shownBeads), nil, func() (err error) {
		reply, err = s.h.Heartbeat(s.t.Context(), hb)
		return err
	}) {
		return
	}
	if replaced && reply.Epoch <= s.instance {
		s.failf("epoch %d after %d", reply.Epoch, s.instance)
	}
	old := s.box
	s.box, s.instance = box, reply.Epoch
	_ = instance
	for i, b := range s.beads {
		if !b.leased {
			continue
		}
		epoch, ok := shownBeads[i]
		switch {
		case ok && epoch == b.epoch:
			b.ran, b.leaseEnd, b.instance = true, s.clock.now().Add(5*time.Minute), s.instance
		case !ok && b.instance < s.instance && s.clock.now().Sub(b.since) >= 30*time.Second:
			if b.to(town.BeadOpen); !b.ran {
				b.attempts-- // its start was cut off
			}
		}
	}
	if replaced && old != "" {
		s.do("heartbeat of "+old, town.ErrGone, func() error {
			_, err := s.h.Heartbeat(s.t.Context(), town.Heartbeat{InstanceID: old})
			return err
		})
	}
}

func (s *sim) pass() {
	d := time.Duration(s.r.IntN(400)) * time.Second
	s.clock.pass(d)
	if s.do(fmt.Sprintf("expire after %v", d), nil, func() error {
		_, err := s.h.expired(s.t.Context(), s.clock.now(), nil)
		return err
	}) {
		for _, b := range s.beads {
			if b.leased && !b.leaseEnd.After(s.clock.now()) {
				b.lose()
			}
		}
	}
}

// jump sets the wall clock: no lease ends by it.
func (s *sim) jump() {
	by := time.Duration(s.r.IntN(48*3600)-24*3600) * time.Second
	if by.Abs() <= maxDrift {
		return
	}
	s.clock.set(by)
	for !s.do(fmt.Sprintf("clock set by %v", by), nil, func() error {
		_, err := s.h.expired(s.t.Context(), s.clock.now(), nil)
		return err
	}) {
	}
	least, most := s.clock.now().Add(time.Minute), s.clock.now().Add(5*time.Minute)
	for _, b := range s.beads {
		if b.leased && b.leaseEnd.Before(least) {
			b.leaseEnd = least
		}
		if b.leased && b.leaseEnd.After(most) {
			b.leaseEnd = most
		}
	}
}

func (s *sim) beginMerge() {
	var m town.Merge
	ok := false
	if !s.do("next merge", nil, func() (err error) {
		m, ok, err = s.h.nextMerge(s.t.Context(), s.rig)
		return err
	}) || !ok {
		return
	}
	if s.do("merge "+m.ID, nil, func() error {
		return s.h.write(s.t.Context(), fact, func(t *tx) error {
			_, err := setMerge(t, m.ID, town.MergeMerging, "", nil)
			return err
		})
	}) {
		i := slices.IndexFunc(s.beads, func(b *simBead) bool { return b.id == m.BeadID })
		if s.beads[i].status != town.BeadInReview {
			s.failf("a merge of a bead that is %s", s.beads[i].status)
		}
		s.merges = append(s.merges, &simMerge{id: m.ID, bead: i})
	}
}

func (s *sim) endMerge() {
	if len(s.merges) == 0 {
		return
	}
	m := s.merges[s.r.IntN(len(s.merges))]
	b := s.beads[m.bead]
	outcome := []string{"merged", "nothing", "conflict", "gates_failed", "race", "auth"}[s.r.IntN(6)]
	if !s.do(fmt.Sprintf("merge %s of %d %s", m.id, m.bead, outcome), nil, func() error {
		return s.h.MergeCompleted(s.t.Context(), s.rig, m.id, town.MergeOutcome{Status: outcome})
	}) || m.over {
		return
	}
	switch outcome {
	case "merged", "nothing":
		b.to(town.BeadClosed)
	case "conflict", "gates_failed":
		if b.reworks >= 3 {
			b.to(town.BeadFailed)
		} else {
			b.to(town.BeadOpen)
			b.reworks++
		}
	case "auth":
		b.to(town.BeadFailed)
	case "race":
		return
	}
	m.over = true
}

// person does something to a bead.
func (s *sim) person() {
	if len(s.beads) == 0 {
		return
	}
	i := s.r.IntN(len(s.beads))
	b := s.beads[i]
	ctx, hold, none := s.t.Context(), "h", ""
	refusedIn := func(statuses ...town.BeadStatus) error {
		if slices.Contains(statuses, b.status) {
			return town.ErrConflict
		}
		return nil
	}
	switch s.r.IntN(5) {
	case 0:
		if s.do(fmt.Sprintf("retry %d", i), refusedIn(town.BeadInProgress, town.BeadClosed), func() error {
			_, err := s.h.RetryBead(ctx, Person, b.id, "")
			return err
		}) {
			b.to(town.BeadOpen)
			b.attempts, b.reworks, b.held = 0, 0, false
		}
	case 1:
		if s.do(fmt.Sprintf("close %d", i), nil, func() error { _, err := s.h.CloseBead(ctx, Person, b.id, api.CloseRequest{}); return err }) {
			b.to(town.BeadClosed)
		}
	case 2:
		if s.do(fmt.Sprintf("fail %d", i), refusedIn(town.BeadClosed), func() error {
			_, err := s.h.PatchBead(ctx, Person, b.id, town.BeadPatch{Status: town.BeadFailed})
			return err
		}) {
			b.to(town.BeadFailed)
		}
	case 3:
		if s.do(fmt.Sprintf("hold %d", i), refusedIn(town.BeadInReview, town.BeadClosed, town.BeadFailed), func() error {
			_, err := s.h.PatchBead(ctx, Person, b.id, town.BeadPatch{Hold: &hold})
			return err
		}) {
			b.to(town.BeadOpen)
			b.held = true
		}
	case 4:
		if s.do(fmt.Sprintf("let go %d", i), nil, func() error { _, err := s.h.PatchBead(ctx, Person, b.id, town.BeadPatch{Hold: &none}); return err }) {
			b.held = false
		}
	}
}

// dequeued tells the model which merges ended because their bead left the review.
func (s *sim) dequeued() {
	for _, m := range s.merges {
		if s.beads[m.bead].status != town.BeadInReview {
			m.over = true
		}
	}
}

// check compares the store with the model.
func (s *sim) check() {
	s.dequeued()
	seen := 0
	err := s.h.read(s.t.Context(), func(r reader) error {
		rows, err := r.query(`SELECT id, status, epoch, attempts, reworks, hold <> '', coalesce(lease_expires_at, 0), blockers, coalesce(not_before, 0),
			(closed_at IS NOT NULL) FROM beads WHERE rig_id = ? ORDER BY n`, s.rig)
		if err != nil {
			return err
		}
		defer rows.Close()
		for ; rows.Next(); seen++ {
			var (
				id                  string
				status              town.BeadStatus
				epoch, end, later   int64
				attempts, re, block int
				held, ended         bool
			)
			if err := rows.Scan(&id, &status, &epoch, &attempts, &re, &held, &end, &block, &later, &ended); err != nil {
				return err
			}
			b := s.beads[seen]
			got := fmt.Sprint(id, status, epoch, attempts, re, held, end, block, ended)
			var wantEnd int64
			if b.leased {
				wantEnd = ms(b.leaseEnd)
			}
			want := fmt.Sprint(b.id, b.status, b.epoch, b.attempts, b.reworks, b.held, wantEnd, s.blockers(b), b.status == town.BeadClosed || b.status == town.BeadFailed)
			if got != want {
				s.failf("bead %d is %s, want %s", seen, got, want)
			}
			if b.absorbed && b.status != town.BeadClosed {
				s.failf("bead %d left closed", seen)
			}
			b.absorbed = b.status == town.BeadClosed
			b.notBefore = timeOf(later)
		}
		return rows.Err()
	})
	if err != nil {
		s.failf("%v", err)
	}
	if seen != len(s.beads) {
		s.failf("%d beads, want %d", seen, len(s.beads))
	}
}

// checkEnd looks at what a run left.
func (s *sim) checkEnd() {
	err := s.h.read(s.t.Context(), func(r reader) error {
		for i, b := range s.beads {
			var attempts, closings, live int
			err := r.row(`SELECT (SELECT count(*) FROM notes WHERE bead_id = ?1 AND kind = 'attempt'),
				(SELECT count(*) FROM notes WHERE bead_id = ?1 AND kind = 'status' AND text LIKE '% → closed%'),
				(SELECT count(*) FROM merges WHERE bead_id = ?1 AND status IN ('waiting', 'merging'))`, b.id).Scan(&attempts, &closings, &live)
			if err != nil {
				return err
			}
			if attempts != b.kept || closings != b.closings || closings > 1 || (live == 1) != (b.status == town.BeadInReview) || live > 1 {
				return fmt.Errorf("bead %d (%s): %d attempts kept, want %d; closed %d times, want %d; %d live merges", i, b.status, attempts, b.kept, closings, b.closings, live)
			}
		}
		var twice int
		err := r.row(`SELECT count(*) FROM (SELECT agent_id FROM beads WHERE lease_expires_at IS NOT NULL GROUP BY agent_id HAVING count(*) > 1)`).Scan(&twice)
		if err == nil && twice > 0 {
			err = fmt.Errorf("%d agents have two leases", twice)
		}
		return err
	})
	if err != nil {
		s.failf("%v", err)
	}
}

// simulate makes one run of steps operations. crash is called now and then and
// gives the hall to go on with.
func (s *sim) simulate(steps int, crash func()) {
	if _, _, err := s.h.PutRig(s.t.Context(), Person, s.rig, town.RigSettings{GitURL: "https://example.com/r.git"}); err != nil {
		s.failf("%v", err)
	}
	ops := []struct {
		weight int
		op     func()
	}{
		{3, s.create},
		{8, s.claim},
		{5, s.done},
		{1, s.finish},
		{3, s.completed},
		{1, s.release},
		{3, s.heartbeat},
		{3, s.pass},
		{1, s.jump},
		{4, s.beginMerge},
		{4, s.endMerge},
		{2, s.person},
	}
	var bag []func()
	for _, o := range ops {
		for range o.weight {
			bag = append(bag, o.op)
		}
	}
	s.create()
	s.create()
	for range steps {
		if crash != nil && s.r.IntN(10) == 0 {
			crash()
		} else {
			bag[s.r.IntN(len(bag))]()
		}
		s.check()
	}
	s.checkEnd()
}

func seed(t *testing.T) uint64 {
	seed := *simSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-simseed %d", seed)
	return seed
}

// failCommits makes the hall's next commit fail when abort is set, and tells in aborted.
func failCommits(t *testing.T, h *Hall, abort, aborted *bool) {
	t.Helper()
	err := h.store.writer.conn.Raw(func(conn any) error {
		conn.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 {
			if !*abort {
				return 0
			}
			*abort, *aborted = false, true
			return 1
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSimulation runs random operations, crashes before the commit, delays and clock
// jumps against the model: C8, C9, C27, C39, Q1 to Q8.
func TestSimulation(t *testing.T) {
	const shards, perHall = 4, 250
	seed := seed(t)
	runs := *simRuns
	if raced && runs > racedRuns {
		simulateWithoutRaceDetector(t, seed)
		runs = racedRuns
	}
	for shard := range shards {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			var h *Hall
			clock := newTestClock()
			var abort, aborted bool
			for run := shard; run < runs; run += shards {
				if h == nil || run/shards%perHall == 0 { // a small store is a fast one
					h = openHall(t, memory, clock)
					failCommits(t, h, &abort, &aborted)
				}
				s := &sim{
					t: t, h: h, clock: clock, r: rand.New(rand.NewPCG(seed, uint64(run))), rig: fmt.Sprintf("rig%d", run), abort: &abort, aborted: &aborted,
				}
				s.simulate(20, nil)
				if err := h.write(t.Context(), news, func(tx *tx) error { _, err := tx.exec(`DELETE FROM rigs`); return err }); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// racedRuns is how many runs are made with the race detector, which makes SQLite,
// that is Go here, 25 times slower.
const racedRuns = 50

// simulateWithoutRaceDetector makes all runs in a program that is built without it.
func simulateWithoutRaceDetector(t *testing.T, seed uint64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run=^TestSimulation$", ".", "-sim", strconv.Itoa(*simRuns), "-simseed", strconv.FormatUint(seed, 10))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	t.Logf("%s", out)
}

// TestSimulationOfDeaths makes runs on disk in which the process dies at random: what
// is there at that moment is what the next one begins with.
func TestSimulationOfDeaths(t *testing.T) {
	seed := seed(t)
	runs := 5
	if raced {
		runs = 1
	}
	for run := range runs {
		clock := newTestClock()
		var abort, aborted bool
		dir := t.TempDir()
		path := filepath.Join(dir, "0")
		s := &sim{
			t: t, h: openHall(t, path, clock), clock: clock, r: rand.New(rand.NewPCG(seed, uint64(run))), rig: "rig", abort: &abort, aborted: &aborted,
		}
		failCommits(t, s.h, &abort, &aborted)
		lives := 0
		s.simulate(100, func() {
			lives++
			next := filepath.Join(dir, fmt.Sprint(lives))
			for _, suffix := range []string{"", "-wal"} {
				b, err := os.ReadFile(path + suffix)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(next+suffix, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.h.Close(); err != nil {
				t.Fatal(err)
			}
			path = next
			s.h = openHall(t, path, clock)
			failCommits(t, s.h, &abort, &aborted)
			s.logf("died")
			for _, b := range s.beads {
				if least := clock.now().Add(time.Minute); b.leased && b.leaseEnd.Before(least) {
					b.leaseEnd = least
				}
			}
		})
	}
}
