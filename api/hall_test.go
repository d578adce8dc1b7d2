package api_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"townd/api"
	"townd/town"
)

// hallCalls are all calls of a HallClient.
func hallCalls(ctx context.Context, h *api.HallClient) []error {
	var errs []error
	add := func(_ any, err error) { errs = append(errs, err) }
	one := func(err error) { errs = append(errs, err) }
	two := func(_ any, _ bool, err error) { errs = append(errs, err) }
	add(h.TownStatus(ctx))
	add(h.Pause(ctx, ""))
	add(h.Rigs(ctx))
	two(h.PutRig(ctx, "r", town.RigSettings{GitURL: "u"}))
	add(h.Rig(ctx, "r"))
	one(h.DeleteRig(ctx, "r"))
	two(h.CreateBead(ctx, "r", town.BeadRequest{Title: "x"}))
	add(h.Beads(ctx, api.BeadQuery{RigID: "r", Status: town.BeadOpen, Type: town.BeadBug, Label: "l", ConvoyID: "c", AgentID: "a", Text: "t", After: "x", Limit: 7}))
	add(h.Bead(ctx, "b"))
	add(h.PatchBead(ctx, "b", town.BeadPatch{}))
	add(h.RetryBead(ctx, "b", "x"))
	add(h.CloseBead(ctx, "b", api.CloseRequest{}))
	add(h.Notes(ctx, "b"))
	add(h.AddNote(ctx, "b", api.NoteRequest{Text: "x"}))
	add(h.CreateConvoy(ctx, town.ConvoyRequest{RigID: "r", Title: "x", Tasks: []town.ConvoyTask{{Title: "x"}}}))
	add(h.Convoys(ctx, "r"))
	add(h.Convoy(ctx, "c"))
	add(h.StartConvoy(ctx, "c"))
	add(h.CloseConvoy(ctx, "c", "x"))
	add(h.AddToConvoy(ctx, "c", "b"))
	add(h.Agents(ctx))
	add(h.Prime(ctx, "a"))
	add(h.Done(ctx, "a", town.DoneRequest{Epoch: 1}))
	add(h.RequestChanges(ctx, "a", api.ChangesRequest{Feedback: "x"}))
	add(h.SaveCheckpoint(ctx, "a", api.CheckpointRequest{Data: []byte("1"), Epoch: 1}))
	add(h.SayStatus(ctx, "a", "x"))
	add(h.Ask(ctx, "a", town.AskRequest{Question: "x", Options: []string{"a", "b"}}))
	add(h.Nudge(ctx, "a", api.NudgeRequest{Message: "x"}))
	add(h.OrderStop(ctx, "a", "x"))
	one(h.Completed(ctx, town.Completion{AgentID: "a", Status: "failed"}))
	add(h.AgentMail(ctx, "a"))
	add(h.AckMail(ctx, "a", "m"))
	add(h.Mail(ctx, "a", true))
	add(h.SendMail(ctx, town.MailRequest{To: "a", Subject: "x"}))
	two(h.Escalate(ctx, town.EscalationRequest{Title: "x"}))
	add(h.Escalations(ctx, "open"))
	add(h.AcknowledgeEscalation(ctx, "e", "x"))
	add(h.CloseEscalation(ctx, "e", "x"))
	add(h.Questions(ctx, "open"))
	add(h.Question(ctx, "q", 1500*time.Millisecond))
	add(h.AnswerQuestion(ctx, "q", "x"))
	add(h.CancelQuestion(ctx, "q"))
	add(h.Merges(ctx, "r", town.MergeWaiting))
	one(h.MergeCompleted(ctx, "r", town.MergeOutcome{EntryID: "m", Status: "merged"}))
	add(h.AppendEvents(ctx, api.AgentEventBatch{InstanceID: "i", Events: []town.AgentEvent{}}))
	add(h.Events(ctx, api.AgentEventQuery{After: 7, AgentID: "a", BeadID: "b", RigID: "r", Limit: 5, Wait: time.Second}))
	add(h.Runs(ctx, api.RunQuery{AgentID: "a", BeadID: "b", After: "x", Limit: 5}))
	add(h.Heartbeat(ctx, town.Heartbeat{InstanceID: "i", Agents: []town.AgentHeartbeat{}}))
	return errs
}

// TestHallClientMakesEveryCallOfTheDocument but those of earlier containers.
func TestHallClientMakesEveryCallOfTheDocument(t *testing.T) {
	doc := loadDocument(t)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host, r.Host = "", "", ""
		route, _, err := router.FindRoute(r)
		if err != nil {
			t.Errorf("%s %s is not in the document: %v", r.Method, r.URL, err)
			return
		}
		made[route.Method+" "+route.Path] = true
		known := map[string]bool{}
		for _, p := range append(route.PathItem.Parameters, route.Operation.Parameters...) {
			known[p.Value.Name] = true
		}
		for name := range r.URL.Query() {
			if !known[name] {
				t.Errorf("%s %s has %s, which the document has not", r.Method, r.URL, name)
			}
		}
		if r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get(api.AgentHeader) != "me" || (r.Header.Get("Idempotency-Key") == "once") != (r.Method == http.MethodPost) {
			t.Errorf("%s %s has the header %v", r.Method, r.URL, r.Header)
		}
		io.WriteString(w, "{}")
	}))
	defer server.Close()
	for i, err := range hallCalls(api.WithKey(t.Context(), "once"), api.NewHall(server.URL, "t1", "secret", nil).As("me")) {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if strings.HasPrefix(path, "/api/towns/") && !made[method+" "+path] && !ofEarlierContainers(op) {
				t.Errorf("%s %s has no call", method, path)
			}
		}
	}
}

func ofEarlierContainers(op *openapi3.Operation) bool {
	return strings.Contains(op.Summary, "earlier containers")
}
