package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"townd/api"
	"townd/town"
)

// reportCases are about what a container tells.
var reportCases = []Case{
	{Name: "a replaced instance is told to go", run: replaced},
	{Name: "agents that a new container does not know lose their beads", time: true, run: newContainer},
	{Name: "orders come until they are told to be done", run: orders},
	{Name: "events are kept once and in order", run: events},
	{Name: "a wait for events ends with the first", run: eventsWait},
	{Name: "events come as server-sent events", run: eventsSent},
	{Name: "the status is followed by server-sent events", run: statusSent},
	{Name: "runs are kept with how they ended", run: runs},
	{Name: "the paths of earlier containers are taken", run: oldPaths},
}

func replaced(t *T) {
	t.beat()
	before := t.box.heartbeat()
	first, err := t.hall.Heartbeat(t.ctx, before)
	t.must(err)
	t.box.restart()
	second := t.beat()
	if second.Epoch <= first.Epoch || !second.Heartbeat {
		t.Errorf("a new instance has the epoch %d, the one before %d", second.Epoch, first.Epoch)
	}
	for range 2 {
		_, err = t.hall.Heartbeat(t.ctx, before)
		t.refused("a heartbeat of the replaced instance", err, town.ErrGone)
	}
	if third := t.beat(); third.Epoch != second.Epoch {
		t.Errorf("the epoch of the new instance changed from %d to %d", second.Epoch, third.Epoch)
	}
}

func newContainer(t *T) {
	rig := t.rig()
	lost, kept := t.work(rig), t.work(rig)
	t.pause(rig, true)
	t.box.mu.Lock()
	agent := t.box.agents[kept.AgentID]
	t.box.mu.Unlock()
	t.box.restart()
	t.box.mu.Lock()
	t.box.agents[agent.AgentID] = agent
	t.box.mu.Unlock()
	t.advance(time.Minute) // an agent may be starting for the time of a heartbeat
	t.eventually("the bead of an agent that the new container lacks is open", func() bool { t.beat(); return t.bead(lost.ID).Status == town.BeadOpen })
	t.is(kept, town.BeadInProgress)
	if answer := t.done(lost, 1); !answer.Kept {
		t.Errorf("the done of a lost agent is answered %s, want it kept", raw(answer))
	}
}

func orders(t *T) {
	b := t.work(t.rig())
	id, err := t.hall.Nudge(t.ctx, b.AgentID, api.NudgeRequest{Message: "look here", Mode: "immediate"})
	t.must(err)
	has := func() int {
		n := 0
		for _, o := range t.beat().Orders {
			if o.ID == id {
				n++
			}
		}
		return n
	}
	for range 3 {
		if n := has(); n != 1 {
			t.Fatalf("an order that is not done comes %d times in a heartbeat", n)
		}
	}
	order := t.ordered(town.OrderMessage, b.AgentID)
	if order.ID != id || !strings.Contains(string(order.Data), "look here") || !strings.Contains(string(order.Data), `"deliver":"now"`) {
		t.Errorf("the nudge became %s", raw(order))
	}
	t.carryOut(id) // told twice
}

// eventsOf makes events of a bead's agent, with ids from first on.
func eventsOf(b town.Bead, run string, first, n int) []town.AgentEvent {
	all := make([]town.AgentEvent, n)
	for i := range all {
		all[i] = town.AgentEvent{
			AgentID: b.AgentID, RigID: b.RigID, BeadID: b.ID, RunID: run,
			Event: town.Event{ID: int64(first + i), Event: town.EventText, Data: raw(town.TextData{Text: "ünïcode " + strconv.Itoa(first+i)}), Timestamp: *now()},
		}
	}
	return all
}

func (t *T) append(events ...town.AgentEvent) int {
	n, err := t.hall.AppendEvents(t.ctx, api.AgentEventBatch{InstanceID: t.box.instance, Events: events})
	t.must(err)
	return n
}

// events proves D2.
func events(t *T) {
	b, run := t.work(t.rig()), newID()
	if n := t.append(eventsOf(b, run, 1, 10)...); n != 10 {
		t.Errorf("10 new events are answered with %d", n)
	}
	if n := t.append(eventsOf(b, run, 6, 10)...); n != 5 {
		t.Errorf("10 events of which 5 are known are answered with %d", n)
	}
	if n := t.append(eventsOf(b, run, 1, 5)...); n != 0 {
		t.Errorf("5 events that are known are answered with %d", n)
	}
	if n := t.append(eventsOf(b, newID(), 1, 1)...); n != 1 {
		t.Errorf("the first event of another run is answered with %d", n)
	}
	var ids []int64
	var last int64
	for q := (api.AgentEventQuery{BeadID: b.ID, Limit: 4}); ; {
		page, err := t.hall.Events(t.ctx, q)
		t.must(err)
		for _, e := range page.Events {
			if e.Seq <= last || e.AgentID != b.AgentID || e.BeadID != b.ID || e.RigID != b.RigID || !strings.Contains(string(e.Data), "ünïcode") {
				t.Fatalf("after seq %d comes %s", last, raw(e))
			}
			last = e.Seq
			if e.RunID == run {
				ids = append(ids, e.ID)
			}
		}
		if len(page.Events) == 0 {
			if page.Next != last {
				t.Errorf("next of an empty page is %d, want %d", page.Next, last)
			}
			break
		}
		if page.Next != last {
			t.Fatalf("next is %d after seq %d", page.Next, last)
		}
		q.After = page.Next
	}
	if len(ids) != 15 || !slices.IsSorted(ids) {
		t.Errorf("the run's events are %v, want 1 to 15", ids)
	}
	for name, q := range map[string]api.AgentEventQuery{"agent": {AgentID: b.AgentID}, "rig": {RigID: b.RigID}} {
		page, err := t.hall.Events(t.ctx, q)
		t.must(err)
		if len(page.Events) != 16 {
			t.Errorf("by %s are found %d events, want 16", name, len(page.Events))
		}
	}
}

// newest is the cursor after everything that there is of a bead.
func (t *T) newest(beadID string) int64 {
	page, err := t.hall.Events(t.ctx, api.AgentEventQuery{BeadID: beadID, Limit: 1000})
	t.must(err)
	return page.Next
}

func eventsWait(t *T) {
	b, run := t.work(t.rig()), newID()
	t.append(eventsOf(b, run, 1, 1)...)
	q := api.AgentEventQuery{BeadID: b.ID, After: t.newest(b.ID), Wait: 30 * time.Second}
	var page api.AgentEventPage
	var err error
	began := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() { page, err = t.hall.Events(t.ctx, q) })
	t.append(eventsOf(b, run, 2, 1)...)
	wg.Wait()
	t.must(err)
	if len(page.Events) != 1 || page.Events[0].ID != 2 || time.Since(began) > 20*time.Second {
		t.Errorf("a wait brought %s after %v", raw(page), time.Since(began))
	}
	q.After, q.Wait = page.Next, time.Second
	began = time.Now()
	page, err = t.hall.Events(t.ctx, q)
	t.must(err)
	if took := time.Since(began); len(page.Events) != 0 || page.Next != q.After || took < 900*time.Millisecond {
		t.Errorf("a wait for nothing brought %s after %v", raw(page), took)
	}
}

// openStream opens a stream of server-sent events, which the caller closes.
func (t *T) openStream(req *http.Request) io.ReadCloser {
	req.Header.Set("Authorization", "Bearer "+t.target.Token)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := t.http.Do(req)
	t.must(err)
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		resp.Body.Close()
		t.Fatalf("the stream is %s %s", resp.Status, got)
	}
	return resp.Body
}

// readEvents opens a stream of events, does meanwhile, and returns the ids and data of
// at most want events, fewer of a stream that is cut.
func (t *T) readEvents(req *http.Request, want int, meanwhile func()) (ids, data []string) {
	stream := t.openStream(req)
	defer stream.Close()
	meanwhile()
	for lines := bufio.NewScanner(stream); len(data) < want && lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			ids = append(ids, id)
		}
		if d, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			data = append(data, d)
		}
	}
	return ids, data
}

func eventsSent(t *T) {
	b, run := t.work(t.rig()), newID()
	t.append(eventsOf(b, run, 1, 2)...)
	path := fmt.Sprintf("/api/towns/%s/events?bead=%s", t.target.TownID, b.ID)
	read := func(lastID string, want int, meanwhile func()) (ids, data []string) {
		ctx, cancel := context.WithTimeout(t.ctx, t.target.Patience)
		defer cancel()
		for len(data) < want && ctx.Err() == nil { // a stream that is cut is opened again, as browsers do
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.target.BaseURL+path, nil)
			t.must(err)
			if ids = ids[:len(data)]; len(ids) > 0 {
				lastID = ids[len(ids)-1]
			}
			if lastID != "" {
				req.Header.Set("Last-Event-ID", lastID)
			}
			more, some := t.readEvents(req, want-len(data), meanwhile)
			ids, data, meanwhile = append(ids, more...), append(data, some...), func() {}
		}
		return ids, data
	}
	ids, data := read("", 3, func() { t.append(eventsOf(b, run, 3, 1)...) })
	if len(ids) != 3 || len(data) != 3 || !strings.Contains(data[2], `"ünïcode 3"`) || !strings.Contains(data[0], `"seq":`+ids[0]) {
		t.Fatalf("the stream brought %q %q, want three events with their seq as id", ids, data)
	}
	if again, _ := read(ids[0], 2, func() {}); !slices.Equal(again, ids[1:]) {
		t.Errorf("after Last-Event-ID %s come %q, want %q", ids[0], again, ids[1:])
	}
}

// statusStream is the town's status as server-sent events. One that is cut is opened
// again, as pages do.
type statusStream struct {
	t    *T
	ctx  context.Context
	body io.ReadCloser // nil until it is open
	rest *bufio.Scanner
}

// next returns the next status that is sent.
func (s *statusStream) next() (status town.TownStatus) {
	for s.ctx.Err() == nil {
		if s.body == nil {
			req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.t.target.BaseURL+"/api/towns/"+s.t.target.TownID+"/status", nil)
			s.t.must(err)
			s.body = s.t.openStream(req)
			s.rest = bufio.NewScanner(s.body)
			s.rest.Buffer(nil, 8<<20)
		}
		for s.rest.Scan() {
			if data, ok := strings.CutPrefix(s.rest.Text(), "data: "); ok {
				s.t.must(json.Unmarshal([]byte(data), &status))
				return status
			}
		}
		s.close()
	}
	return status
}

func (s *statusStream) close() {
	if s.body != nil {
		s.body.Close()
		s.body = nil
	}
}

// until waits for a status that is as it should be.
func (s *statusStream) until(what string, is func(town.TownStatus) bool) {
	for !is(s.next()) {
		if s.ctx.Err() != nil {
			s.t.Fatalf("no event shows %s in %v", what, s.t.target.Patience)
		}
	}
}

// statusSent proves C41.
func statusSent(t *T) {
	ctx, cancel := context.WithTimeout(t.ctx, t.target.Patience)
	defer cancel()
	stream := &statusStream{t: t, ctx: ctx}
	t.cleanup(stream.close)
	rig := t.rig(paused)
	stream.until("the town with its rig", func(s town.TownStatus) bool {
		return s.TownID == t.target.TownID && slices.ContainsFunc(s.Rigs, func(r town.Rig) bool { return r.RigID == rig })
	})
	e, _, err := t.hall.Escalate(ctx, town.EscalationRequest{Severity: "low", Title: "look"})
	t.must(err)
	open := func(s town.TownStatus) bool {
		return slices.ContainsFunc(s.Escalations, func(other town.Escalation) bool { return other.ID == e.ID })
	}
	stream.until("what was escalated", open)
	_, err = t.hall.CloseEscalation(ctx, e.ID, "seen")
	t.must(err)
	stream.until("it closed", func(s town.TownStatus) bool { return !open(s) })
	b := t.work(t.rig())
	_, err = t.hall.As(b.AgentID).SayStatus(ctx, b.AgentID, "half done")
	t.must(err)
	stream.until("what an agent says", func(s town.TownStatus) bool {
		return slices.ContainsFunc(s.Agents, func(a town.TownAgent) bool { return a.AgentID == b.AgentID && a.Says == "half done" })
	})
}

// runs proves D4.
func runs(t *T) {
	rig := t.rig()
	b := t.work(rig)
	end := completion(b, 1, town.CompletionFailed, town.ReasonCrashed)
	code := 3
	end.ExitCode, end.Error, end.Usage = &code, "it crashed", town.Usage{InputTokens: 7, OutputTokens: 3, CostUSD: 0.5}
	t.box.mu.Lock()
	end.RunID = t.box.agents[b.AgentID].RunID
	t.box.mu.Unlock()
	t.box.forget(b.AgentID)
	t.must(t.hall.Completed(t.ctx, end))
	list, err := t.hall.Runs(t.ctx, api.RunQuery{BeadID: b.ID})
	t.must(err)
	if len(list.Runs) != 1 {
		t.Fatalf("the bead has the runs %s, want one", raw(list.Runs))
	}
	r := list.Runs[0]
	if r.RunID != end.RunID || r.AgentID != b.AgentID || r.RigID != rig || r.Generation != 1 || r.Status != "error" || r.Reason != town.ReasonCrashed ||
		r.Error != "it crashed" || r.EndedAt == nil || r.Usage.InputTokens != 7 || r.Usage.CostUSD != 0.5 {
		t.Errorf("the run that crashed is %s", raw(r))
	}
	if list, err := t.hall.Runs(t.ctx, api.RunQuery{AgentID: b.AgentID, Limit: 1}); err != nil || len(list.Runs) != 1 {
		t.Errorf("by agent are found %s, %v", raw(list), err)
	}
}

func oldPaths(t *T) {
	rig := t.rig()
	b := t.work(rig)
	until := b.Lease.ExpiresAt
	beat := fmt.Sprintf(`{"agentId":%q,"rigId":%q,"townId":%q,"status":"working","timestamp":"2026-01-02T03:04:05.678Z","lastEventType":null,"lastEventAt":null,`+
		`"activeTools":[],"messageCount":3,"containerInstanceId":"one"}`, b.AgentID, rig, t.target.TownID)
	t.eventually("a lease that ends later", func() bool {
		a := t.want(http.StatusOK, "POST", "/rigs/"+rig+"/agents/"+b.AgentID+"/heartbeat", beat)
		if a.object()["heartbeat"] != true {
			t.Fatalf("an earlier container's heartbeat is answered %v", a)
		}
		l := t.bead(b.ID).Lease
		return l != nil && l.ExpiresAt.After(until)
	})
	if a := t.want(http.StatusOK, "POST", "/rigs/"+rig+"/agents/nobody-knows-it/heartbeat", `{"status":"working"}`); a.object()["heartbeat"] != true {
		t.Errorf("the heartbeat of an unknown agent is answered %v", a)
	}
	t.box.forget(b.AgentID)
	a := t.want(http.StatusOK, "POST", "/rigs/"+rig+"/agents/"+b.AgentID+"/completed", fmt.Sprintf(`{"agentId":%q,"status":"failed","reason":"container eviction"}`, b.AgentID))
	if a.object()["completed"] != true {
		t.Errorf("an earlier container's completion is answered %v", a)
	}
	t.is(b, town.BeadOpen)
	t.want(http.StatusBadRequest, "POST", "/rigs/"+rig+"/agents/"+b.AgentID+"/completed", `{"status":"perhaps"}`)
	t.want(http.StatusBadRequest, "POST", "/agents/"+b.AgentID+"/completed", `{"agentId":"another","status":"failed"}`)
}
