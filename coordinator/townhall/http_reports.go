package townhall

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/town"
)

func (f *face) heartbeat(c *request, req town.Heartbeat) (any, error) {
	reply, err := f.hall.Heartbeat(c.Context(), req)
	reply.Orders = list(reply.Orders)
	return reply, err
}

func (f *face) completed(c *request, req town.Completion) (any, error) {
	if req.AgentID != "" && req.AgentID != c.ids["agentId"] {
		return nil, wire.BadBody("agentId", "%.140q is not the agent of the path", req.AgentID)
	}
	req.AgentID = c.ids["agentId"]
	return api.CompletedAnswer{Completed: true}, f.hall.Completed(c.Context(), req.AgentID, req)
}

func (f *face) mergeCompleted(c *request, req api.OutcomeRequest) (any, error) {
	out := req.Outcome()
	if out.EntryID != "" && out.EntryID != c.ids["mergeId"] {
		return nil, wire.BadBody("entryId", "%.140q is not the entry of the path", out.EntryID)
	}
	out.EntryID = c.ids["mergeId"]
	return api.CompletedAnswer{Completed: true}, f.hall.MergeCompleted(c.Context(), c.ids["rigId"], out.EntryID, out)
}

func (f *face) merges(c *request) (any, error) {
	q := MergeQuery{}
	if err := c.texts(map[string]*string{"rig": &q.RigID}); err != nil {
		return nil, err
	}
	var err error
	q.Status, err = choice(c, "status",
		town.MergeWaiting, town.MergeReviewing, town.MergeMerging, town.MergeAwaitingPR, town.MergeMerged, town.MergeConflict,
		town.MergeGatesFailed, town.MergeRejected, town.MergeFailed, town.MergeCancelled)
	if err != nil {
		return nil, err
	}
	merges, err := f.hall.Merges(c.Context(), q)
	return api.MergeList{Merges: list(merges)}, err
}

func (f *face) appendEvents(c *request, req api.AgentEventBatch) (any, error) {
	if town.CheckID(req.InstanceID) != nil {
		return nil, wire.BadBody("instanceId", "must be the id of the container's instance")
	}
	n, err := f.hall.AppendEvents(c.Context(), req.InstanceID, req.Events)
	return api.Accepted{Accepted: n}, err
}

func (f *face) runs(c *request) (any, error) {
	var q api.RunQuery
	err := c.texts(map[string]*string{"agent": &q.AgentID, "bead": &q.BeadID, "after": &q.After})
	if err != nil {
		return nil, err
	}
	if q.Limit, err = c.limit(500); err != nil {
		return nil, err
	}
	runs, next, err := f.hall.Runs(c.Context(), q)
	return api.RunList{Runs: list(runs), Next: next}, err
}

func (f *face) events(c *request) (any, error) {
	q, wait, err := c.eventQuery()
	if err != nil {
		return nil, err
	}
	if wire.WantsEvents(c.Request) {
		return wire.Writer(func(w http.ResponseWriter) {
			_ = f.waiting(c, func(ctx context.Context) error { return f.sendEvents(ctx, w, q) }) // whoever reads sees that it ends
		}), nil
	}
	var page api.AgentEventPage
	err = f.waiting(c, func(ctx context.Context) error {
		events, next, err := f.hall.Events(ctx, q, wait)
		page = api.AgentEventPage{Events: list(events), Next: next}
		return err
	})
	return page, err
}

func (c *request) eventQuery() (q EventQuery, wait time.Duration, err error) {
	if err := c.texts(map[string]*string{"agent": &q.AgentID, "bead": &q.BeadID, "rig": &q.RigID}); err != nil {
		return q, 0, err
	}
	const most = 1<<63 - 1
	if q.After, err = c.params.Number("after", 0, most, 0); err != nil {
		return q, 0, err
	}
	if last := c.Header.Get("Last-Event-ID"); last != "" { // where an EventSource that came back was
		if q.After, err = strconv.ParseInt(last, 10, 64); err != nil || q.After < 0 {
			return q, 0, wire.BadParam("Last-Event-ID", "%.60q must be a seq", last)
		}
	}
	if q.Limit, err = c.limit(1000); err != nil {
		return q, 0, err
	}
	wait, err = c.wait("wait")
	return q, wait, err
}

// quietAfter is how long a stream of events is silent before it says that it is there.
const quietAfter = 15 * time.Second

// sendEvents sends what there is and what follows, until the caller leaves or the
// server ends.
func (f *face) sendEvents(ctx context.Context, w http.ResponseWriter, q EventQuery) error {
	out := wire.NewEventStream(w)
	var wait time.Duration // none at first, so that the answer begins
	for {
		events, next, err := f.hall.Events(ctx, q, wait)
		if err != nil {
			return err
		}
		text := &strings.Builder{}
		for _, e := range events {
			if err := wire.WriteEvent(text, strconv.FormatInt(e.Seq, 10), string(e.Event.Event), e); err != nil {
				return err
			}
		}
		if len(events) == 0 {
			text.WriteString(wire.Quiet)
		}
		if err := out.Send(text.String()); err != nil {
			return err
		}
		q.After, wait = next, quietAfter
	}
}
