package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"townd/api"
	"townd/town"
)

// agentCases are about what agents ask by their tools.
var agentCases = []Case{
	{Name: "an agent that claims to be another is refused", run: claimsToBeAnother},
	{Name: "the role decides what an agent may do", run: roles},
	{Name: "beads that agents make do not explode", run: bounded},
	{Name: "prime tells an agent what it must know", run: primes},
	{Name: "a checkpoint waits for the next attempt", run: checkpoints},
	{Name: "mail comes until it is acknowledged", run: mail},
	{Name: "an escalation of one cause is counted", run: escalations},
	{Name: "an escalation that nobody acknowledges is raised again", time: true, run: raisedAgain},
	{Name: "a question waits for its answer", run: questions},
	{Name: "an expired question can be answered still", time: true, run: expiredQuestion},
	{Name: "a message to an agent that has ended to wait starts it again", run: wakes},
	{Name: "a refinery sends a branch back", run: refineries},
	{Name: "the town can be paused", run: pauses},
}

func claimsToBeAnother(t *T) {
	rig := t.rig()
	one, two := t.work(rig), t.work(rig)
	as := []string{api.AgentHeader, one.AgentID}
	for call, body := range map[string]string{
		"GET /prime": "", "POST /done": `{"epoch":1}`, "POST /checkpoint": `{"epoch":1,"data":1}`, "POST /status": `{"message":"x"}`,
		"POST /ask": `{"question":"x","options":["a","b"]}`, "GET /mail": "", "POST /mail/ack": `{"ids":[]}`, "POST /request-changes": `{"feedback":"x"}`,
	} {
		method, path, _ := strings.Cut(call, " ")
		t.want(http.StatusForbidden, method, "/agents/"+two.AgentID+path, body, as...)
	}
	t.want(http.StatusForbidden, "POST", "/beads/"+two.ID+"/close", `{"epoch":1}`, as...)
	t.want(http.StatusForbidden, "POST", "/beads/"+two.ID+"/notes", `{"text":"x"}`, as...)
	t.want(http.StatusForbidden, "GET", "/agents/"+one.AgentID+"/prime", "", api.AgentHeader, "nobody-knows-it")
	t.issues(t.want(http.StatusBadRequest, "GET", "/agents/"+one.AgentID+"/prime", "", api.AgentHeader, "no id"))
	m, err := t.hall.As(one.AgentID).SendMail(t.ctx, town.MailRequest{From: two.AgentID, To: two.AgentID, Subject: "x"})
	if err == nil && m.From != one.AgentID {
		t.Errorf("mail of %s says that it is from %s", one.AgentID, m.From)
	}
	b, _, err := t.hall.As(one.AgentID).CreateBead(t.ctx, rig, town.BeadRequest{Title: "by an agent", Source: "person", Priority: town.PriorityLow})
	t.must(err)
	if b.Source != "agent:"+one.AgentID {
		t.Errorf("the bead that an agent made has the source %q", b.Source)
	}
	t.same(two)
}

func roles(t *T) {
	b := t.work(t.rig())
	as := []string{api.AgentHeader, b.AgentID}
	for call, body := range map[string]string{
		"GET /status": "", "PATCH /settings": `{"paused":"x"}`, "PUT /rigs/new": `{"gitUrl":"https://git.example.com/x.git"}`, "DELETE /rigs/" + b.RigID: "",
		"PATCH /beads/" + b.ID: `{"title":"x"}`, "POST /beads/" + b.ID + "/retry": `{}`, "POST /convoys": `{"rigId":"` + b.RigID + `","title":"x","tasks":[{"title":"x"}]}`,
		"POST /agents/" + b.AgentID + "/stop": `{}`, "POST /agents/" + b.AgentID + "/request-changes": `{"feedback":"x"}`, "GET /agents": "", "GET /mail": "",
		"POST /agents/" + b.AgentID + "/completed": `{"status":"completed"}`, "POST /heartbeat": `{"instanceId":"x","agents":[]}`,
		"POST /events": `{"instanceId":"x","events":[]}`, "POST /questions/x/answer": `{"answer":"x"}`, "POST /escalations/x/close": `{}`,
		"POST /rigs/" + b.RigID + "/review-queue/x/complete": `{"status":"merged"}`,
	} {
		method, path, _ := strings.Cut(call, " ")
		t.want(http.StatusForbidden, method, path, body, as...)
	}
	t.want(http.StatusOK, "GET", "/beads?rig="+b.RigID, "", as...)
	t.want(http.StatusOK, "GET", "/beads/"+b.ID, "", as...)
	t.want(http.StatusCreated, "POST", "/beads/"+b.ID+"/notes", `{"text":"mine"}`, as...)
	t.want(http.StatusOK, "POST", "/agents/"+b.AgentID+"/nudge", `{"message":"x","mode":"queue"}`, as...)
	mayor := []string{api.AgentHeader, "mayor"}
	t.want(http.StatusOK, "GET", "/status", "", mayor...)
	t.want(http.StatusOK, "GET", "/agents", "", mayor...)
	t.want(http.StatusForbidden, "POST", "/agents/"+b.AgentID+"/done", `{"epoch":1}`, mayor...)
	t.same(b)
	t.ordered(town.OrderMessage, b.AgentID)
}

// bounded proves R16 for a coordinator with its defaults.
func bounded(t *T) {
	rig := t.rig()
	file := func(by town.Bead, title string) (town.Bead, bool, error) {
		return t.hall.As(by.AgentID).CreateBead(t.ctx, rig, town.BeadRequest{Title: title, Priority: town.PriorityCritical})
	}
	refusedBy := func(what string, err error, bound string) {
		if t.refused(what, err, town.ErrConflict); err != nil && !strings.Contains(err.Error(), bound) {
			t.Errorf("%s is refused with %q, want its bound named, %s", what, err, bound)
		}
	}
	b := t.work(rig)
	first, created, err := file(b, "the test is flaky")
	t.must(err)
	if !created || first.ParentID != b.ID {
		t.Errorf("the bead that an agent made is %s, want it made on %s", show(first), b.ID)
	}
	again, created, err := file(b, " The test is FLAKY")
	t.must(err)
	if created || again.ID != first.ID {
		t.Errorf("one of the same title is %s (created %v), want %s", again.ID, created, first.ID)
	}
	deepest := t.taken(first.ID, 1)
	for range 2 {
		next, _, err := file(deepest, "and the next")
		t.must(err)
		deepest = t.taken(next.ID, 1)
	}
	_, _, err = file(deepest, "and the next")
	refusedBy("a fourth bead one after the other", err, "AGENT_BEADS_DEPTH")
	t.pause(rig, true)
	for i := 1; i < 20; i++ {
		_, _, err = file(b, fmt.Sprint("finding ", i))
		t.must(err)
	}
	_, _, err = file(b, "one more")
	refusedBy("the 21st bead on one", err, "AGENT_BEADS_PER_BEAD")
	if again, created, err := file(b, "finding 7"); err != nil || created || again.ParentID != b.ID {
		t.Errorf("one of a title that is there is %s, %v, %v", again.ID, created, err)
	}
	if _, created, err := t.hall.CreateBead(t.ctx, rig, town.BeadRequest{Title: "finding 7"}); err != nil || !created {
		t.Errorf("a person's bead of that title is made: %v, %v", created, err)
	}
	mayor := t.hall.As("mayor")
	many := town.ConvoyRequest{RigID: rig, Title: "many", Parallel: true, Tasks: make([]town.ConvoyTask, 100)}
	for i := range many.Tasks {
		many.Tasks[i].Title = fmt.Sprint("task ", i)
	}
	_, err = mayor.CreateConvoy(t.ctx, many)
	t.must(err)
	_, err = mayor.CreateConvoy(t.ctx, many)
	refusedBy("more than 200 beads of agents at once", err, "AGENT_BEADS_OPEN")
	_, err = t.hall.CreateConvoy(t.ctx, many)
	t.must(err)
}

func primes(t *T) {
	rig := t.rig()
	b := t.work(rig)
	t.pause(rig, true)
	other := t.create(rig, "other")
	m, err := t.hall.SendMail(t.ctx, town.MailRequest{To: b.AgentID, Subject: "hello", Body: "you"})
	t.must(err)
	_, err = t.hall.AddNote(t.ctx, b.ID, api.NoteRequest{Text: "mind the gap"})
	t.must(err)
	agent, err := t.hall.As(b.AgentID).SayStatus(t.ctx, b.AgentID, "reading")
	t.must(err)
	if agent.Says != "reading" || agent.AgentID != b.AgentID {
		t.Errorf("status is answered %s", raw(agent))
	}
	prime, err := t.hall.As(b.AgentID).Prime(t.ctx, b.AgentID)
	t.must(err)
	if prime.Agent.AgentID != b.AgentID || prime.Agent.Says != "reading" || prime.Bead == nil || prime.Bead.ID != b.ID || prime.Bead.Lease == nil ||
		!slices.ContainsFunc(prime.Mail, func(p town.Mail) bool { return p.ID == m.ID }) ||
		!slices.ContainsFunc(prime.Notes, func(n town.Note) bool { return n.Text == "mind the gap" && n.By == "person" && n.Kind == "note" }) ||
		!slices.ContainsFunc(prime.OpenBeads, func(o town.Bead) bool { return o.ID == other.ID }) {
		t.Errorf("prime is %s", raw(prime))
	}
}

// checkpoints proves R11 and D7.
func checkpoints(t *T) {
	b := t.work(t.rig())
	for _, data := range []string{`{"step":"tests","n":[1,2.5,null]}`, `"text"`, `7`} {
		saved, err := t.hall.As(b.AgentID).SaveCheckpoint(t.ctx, b.AgentID, api.CheckpointRequest{Data: []byte(data), Epoch: 1})
		t.must(err)
		if string(saved.Checkpoint) != data {
			t.Errorf("the checkpoint %s was kept as %s", data, saved.Checkpoint)
		}
	}
	t.end(b, 1, town.CompletionFailed, town.ReasonCrashed)
	_, err := t.hall.RetryBead(t.ctx, b.ID, "")
	t.must(err)
	b = t.taken(b.ID, 2)
	prime, err := t.hall.As(b.AgentID).Prime(t.ctx, b.AgentID)
	t.must(err)
	if prime.Bead == nil || string(prime.Bead.Checkpoint) != `7` {
		t.Errorf("the next attempt is told %s, want the checkpoint 7", raw(prime.Bead))
	}
}

func mail(t *T) {
	rig := t.rig()
	from, to := t.work(rig), t.work(rig)
	sent, err := t.hall.As(from.AgentID).SendMail(t.ctx, town.MailRequest{To: to.AgentID, Subject: "one", Body: "text"})
	t.must(err)
	if sent.From != from.AgentID || sent.To != to.AgentID || sent.AckedAt != nil {
		t.Errorf("the mail is %s", raw(sent))
	}
	second, err := t.hall.SendMail(t.ctx, town.MailRequest{To: to.AgentID, Subject: "two"})
	t.must(err)
	if second.From != "person" {
		t.Errorf("a person's mail is from %q", second.From)
	}
	reader := t.hall.As(to.AgentID)
	for range 2 {
		got, err := reader.AgentMail(t.ctx, to.AgentID)
		t.must(err)
		if len(got) != 2 || got[0].ID != sent.ID || got[1].ID != second.ID {
			t.Fatalf("the mail is %s, want both, oldest first, until they are acknowledged", raw(got))
		}
	}
	for _, c := range []struct {
		ids  []string
		want int
	}{{[]string{sent.ID, "nothing"}, 1}, {[]string{sent.ID}, 0}} {
		if n, err := reader.AckMail(t.ctx, to.AgentID, c.ids...); err != nil || n != c.want {
			t.Errorf("acknowledging %q is answered %d, %v, want %d", c.ids, n, err, c.want)
		}
	}
	if n, err := t.hall.As(from.AgentID).AckMail(t.ctx, from.AgentID, second.ID); err != nil || n != 0 {
		t.Errorf("acknowledging another's mail is answered %d, %v, want 0", n, err)
	}
	got, err := reader.AgentMail(t.ctx, to.AgentID)
	t.must(err)
	if len(got) != 1 || got[0].ID != second.ID {
		t.Errorf("what is left is %s, want the second", raw(got))
	}
	all, err := t.hall.Mail(t.ctx, to.AgentID, true)
	t.must(err)
	if len(all) != 2 || all[0].AckedAt == nil {
		t.Errorf("all mail is %s, want both, the first acknowledged", raw(all))
	}
}

func escalations(t *T) {
	b := t.work(t.rig())
	req := town.EscalationRequest{Severity: town.PriorityCritical, Title: "cannot build", Body: "no compiler", Cause: "build:" + b.RigID}
	first, created, err := t.hall.As(b.AgentID).Escalate(t.ctx, req)
	t.must(err)
	if !created || first.Count != 1 || first.Status != "open" || first.Severity != town.PriorityCritical || first.AgentID != b.AgentID {
		t.Errorf("the escalation is %s", raw(first))
	}
	second, created, err := t.hall.Escalate(t.ctx, req)
	t.must(err)
	if created || second.ID != first.ID || second.Count != 2 {
		t.Errorf("a second of its cause is %s (created %v)", raw(second), created)
	}
	e, err := t.hall.AcknowledgeEscalation(t.ctx, first.ID, "use clang")
	t.must(err)
	if e.Status != "acknowledged" || e.Answer != "use clang" {
		t.Errorf("acknowledged it is %s", raw(e))
	}
	if order := t.ordered(town.OrderMessage, b.AgentID); !strings.Contains(string(order.Data), "use clang") {
		t.Errorf("its agent is told %s", raw(order))
	}
	mail, err := t.hall.AgentMail(t.ctx, b.AgentID)
	t.must(err)
	if !slices.ContainsFunc(mail, func(m town.Mail) bool { return strings.Contains(m.Body, "use clang") }) {
		t.Errorf("its agent's mail is %s, want the answer", raw(mail))
	}
	e, err = t.hall.CloseEscalation(t.ctx, first.ID, "")
	t.must(err)
	if e.Status != "closed" || e.ClosedAt == nil {
		t.Errorf("closed it is %s", raw(e))
	}
	third, created, err := t.hall.Escalate(t.ctx, req)
	t.must(err)
	if !created || third.ID == first.ID {
		t.Errorf("after its end a cause is counted with %s (created %v)", third.ID, created)
	}
	_, err = t.hall.CloseEscalation(t.ctx, third.ID, "")
	t.must(err)
}

func raisedAgain(t *T) {
	made := func(severity town.Priority) town.Escalation {
		e, _, err := t.hall.Escalate(t.ctx, town.EscalationRequest{Severity: severity, Title: "nobody looks"})
		t.must(err)
		t.cleanup(func() { _, _ = t.hall.CloseEscalation(t.ctx, e.ID, "") })
		return e
	}
	now := func(of town.Escalation) town.Escalation {
		t.beat()
		status, err := t.hall.TownStatus(t.ctx)
		t.must(err)
		i := slices.IndexFunc(status.Escalations, func(e town.Escalation) bool { return e.ID == of.ID })
		if i < 0 {
			t.Fatalf("escalation %s is not shown any more", of.ID)
		}
		return status.Escalations[i]
	}
	high, seen, critical := made(town.PriorityHigh), made(town.PriorityCritical), made(town.PriorityCritical)
	_, err := t.hall.AcknowledgeEscalation(t.ctx, seen.ID, "")
	t.must(err)
	for n := 1; n <= 3; n++ {
		t.advance(time.Hour)
		t.eventually("a critical escalation is raised again each hour", func() bool { return now(critical).Raises == n })
	}
	if e := now(high); e.Raises != 0 || e.Severity != town.PriorityHigh {
		t.Errorf("an escalation of severity high is %s after 3 hours", raw(e))
	}
	t.advance(time.Hour)
	t.eventually("an escalation of severity high is raised to critical after 4 hours", func() bool { return now(high).Raises == 1 })
	if e := now(high); e.Severity != town.PriorityCritical || e.RaisedAt == nil || e.RaisedAt.Sub(e.CreatedAt) < 4*time.Hour || e.Count != 1 {
		t.Errorf("raised again it is %s", raw(e))
	}
	if e := now(critical); e.Raises != 3 || e.Severity != town.PriorityCritical {
		t.Errorf("a critical escalation after 4 hours is %s, want it raised three times at most", raw(e))
	}
	if e := now(seen); e.Raises != 0 || e.RaisedAt != nil || e.Status != "acknowledged" {
		t.Errorf("one that was acknowledged is %s", raw(e))
	}
}

// questions proves K11.
func questions(t *T) {
	rig := t.rig()
	b, other := t.work(rig), t.work(rig)
	asker := t.hall.As(b.AgentID)
	q, err := asker.Ask(t.ctx, b.AgentID, town.AskRequest{Question: "Which way?", Options: []string{"left", "right"}, WaitSeconds: 600})
	t.must(err)
	if q.Status != "open" || q.AgentID != b.AgentID || q.BeadID != b.ID || !slices.Equal(q.Options, []string{"left", "right"}) || !q.ExpiresAt.After(q.CreatedAt) {
		t.Errorf("the question is %s", raw(q))
	}
	_, err = t.hall.As(other.AgentID).Question(t.ctx, q.ID, 0)
	t.refused("another's question", err, town.ErrForbidden)
	var answered town.Question
	var waitErr error
	began := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() { answered, waitErr = asker.Question(t.ctx, q.ID, 40*time.Second) })
	_, err = t.hall.AnswerQuestion(t.ctx, q.ID, "left")
	wg.Wait()
	t.must(err)
	t.must(waitErr)
	if answered.Status != "answered" || answered.Answer != "left" || answered.AnsweredAt == nil || time.Since(began) > 30*time.Second {
		t.Errorf("the wait brought %s after %v", raw(answered), time.Since(began))
	}
	_, err = t.hall.AnswerQuestion(t.ctx, q.ID, "right")
	t.refused("a second, other answer", err, town.ErrConflict)
	q, err = asker.Ask(t.ctx, b.AgentID, town.AskRequest{Question: "And now?", Options: []string{"a", "b"}})
	t.must(err)
	began = time.Now()
	open, err := asker.Question(t.ctx, q.ID, time.Second)
	t.must(err)
	if took := time.Since(began); open.Status != "open" || took < 900*time.Millisecond {
		t.Errorf("a wait in vain brought %s after %v", raw(open), took)
	}
	all, err := t.hall.Questions(t.ctx, "open")
	t.must(err)
	if !slices.ContainsFunc(all, func(o town.Question) bool { return o.ID == q.ID }) {
		t.Errorf("the open questions are %s", raw(all))
	}
	if q, err = t.hall.CancelQuestion(t.ctx, q.ID); err != nil || q.Status != "cancelled" {
		t.Errorf("cancelled it is %s, %v", raw(q), err)
	}
	_, err = t.hall.AnswerQuestion(t.ctx, q.ID, "a")
	t.refused("an answer to a cancelled question", err, town.ErrConflict)
}

func expiredQuestion(t *T) {
	b := t.work(t.rig())
	q, err := t.hall.As(b.AgentID).Ask(t.ctx, b.AgentID, town.AskRequest{Question: "Still there?", Options: []string{"yes", "no"}, WaitSeconds: 60})
	t.must(err)
	t.advance(2 * time.Minute)
	t.eventually("a question that nobody waits for has expired", func() bool {
		t.beat()
		q, err = t.hall.Question(t.ctx, q.ID, 0)
		t.must(err)
		return q.Status == "expired"
	})
	if q, err = t.hall.AnswerQuestion(t.ctx, q.ID, "yes"); err != nil || q.Status != "answered" || q.Answer != "yes" {
		t.Errorf("an expired question that is answered is %s, %v", raw(q), err)
	}
	if order := t.ordered(town.OrderMessage, b.AgentID); !strings.Contains(string(order.Data), "yes") || !strings.Contains(string(order.Data), "Still there?") {
		t.Errorf("its agent is told %s", raw(order))
	}
}

func wakes(t *T) {
	rig := t.rig()
	b := t.work(rig)
	t.end(b, 1, town.CompletionCompleted, town.ReasonWaiting)
	id, err := t.hall.Nudge(t.ctx, b.AgentID, api.NudgeRequest{Message: "take the left one"})
	t.must(err)
	if id != "" {
		t.Errorf("a message to who has ended became the order %s", id)
	}
	start := t.started(b.ID, 2)
	if !start.Resume || !strings.Contains(start.Prompt, "take the left one") {
		t.Errorf("it is started again with %.600s", start.Prompt)
	}
	if again := t.taken(b.ID, 2); again.Attempts != 1 {
		t.Errorf("its bead is %s, want it at its first attempt", show(again))
	}
	t.end(b, 2, town.CompletionFailed, town.ReasonCrashed)
	_, err = t.hall.Nudge(t.ctx, b.AgentID, api.NudgeRequest{Message: "go on"})
	t.refused("a message to who has crashed", err, town.ErrConflict)
}

func refineries(t *T) {
	rig := t.rig(func(s *town.RigSettings) { s.Merge.Review = true })
	b := t.work(rig)
	t.done(b, 1)
	t.box.forget(b.AgentID)
	start := find(t, "the start of the rig's refinery", func(c *Container) []town.StartRequest { return c.starts },
		func(s town.StartRequest) bool { return s.RigID == rig && s.Role == town.RoleRefinery })
	if start.AgentID != "refinery-"+rig {
		t.Errorf("the refinery is %s", start.AgentID)
	}
	t.beat()
	reviewer := t.hall.As(start.AgentID)
	prime, err := reviewer.Prime(t.ctx, start.AgentID)
	t.must(err)
	if len(prime.Reviews) != 1 || prime.Reviews[0].BeadID != b.ID || prime.Reviews[0].Status != town.MergeReviewing {
		t.Fatalf("the refinery is told of %s, want the branch of bead %s", raw(prime.Reviews), b.ID)
	}
	t.pause(rig, true)
	back, err := reviewer.RequestChanges(t.ctx, start.AgentID, api.ChangesRequest{Feedback: "the test is missing", Files: []string{"parser_test.go"}})
	t.must(err)
	if back.Status != town.BeadOpen || back.Reworks != 1 || !strings.Contains(back.Feedback, "the test is missing") || !strings.Contains(back.Feedback, "parser_test.go") {
		t.Errorf("the branch that was sent back is %s", show(back))
	}
	merges, err := t.hall.Merges(t.ctx, rig, town.MergeRejected)
	t.must(err)
	if len(merges) != 1 {
		t.Errorf("the merges that were rejected are %s, want one", raw(merges))
	}
	t.pause(rig, false)
	b = t.taken(b.ID, 2)
	t.done(b, 2)
	t.box.forget(b.AgentID)
}

func pauses(t *T) {
	rig := t.rig()
	status, err := t.hall.Pause(t.ctx, "repairs")
	t.must(err)
	t.cleanup(func() { _, _ = t.hall.Pause(t.ctx, "") })
	if status.Paused != "repairs" {
		t.Errorf("paused the town is %s", raw(status))
	}
	first := t.create(rig, "first", critical)
	t.beat()
	t.is(first, town.BeadOpen)
	status, err = t.hall.Pause(t.ctx, "")
	t.must(err)
	if status.Paused != "" {
		t.Errorf("the town is paused by %q after it goes on", status.Paused)
	}
	t.taken(first.ID, 1)
}
