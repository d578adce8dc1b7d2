package api_test

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"townd/api"
	"townd/api/conformance"
	"townd/town"
)

func loadDocument(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := conformance.Document()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocumentIsValidWithItsExamples(t *testing.T) {
	if err := loadDocument(t).Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
}

// Every field of our bodies has a line in the document, and every line a field.
func TestBodiesHaveTheFieldsOfTheDocument(t *testing.T) {
	doc := loadDocument(t)
	bodies := map[string]any{
		"Problem": api.Problem{}, "Issue": town.Issue{}, "Limits": town.Limits{}, "StartRequest": town.StartRequest{},
		"Agent": town.Agent{}, "Turn": town.Turn{}, "Usage": town.Usage{}, "Resources": town.Resources{},
		"RestartState": town.RestartState{}, "AgentList": api.AgentList{}, "StopRequest": town.StopRequest{},
		"StopResponse": api.StopResponse{}, "MessageRequest": town.MessageRequest{}, "MessageResponse": api.MessageResponse{},
		"ModelProvider": api.ModelProvider{}, "CoolingModel": api.CoolingModel{}, "Quota": town.Quota{}, "ModelRequest": api.ModelRequest{}, "SystemPromptRequest": api.SystemPromptRequest{}, "UpdateResponse": api.UpdateResponse{},
		"ResizeRequest": api.ResizeRequest{}, "ResizeResponse": api.ResizeResponse{}, "DeleteResponse": api.DeleteResponse{},
		"ShareRequest": api.ShareRequest{}, "Share": api.Share{}, "ShareMade": api.ShareMade{}, "ShareList": api.ShareList{}, "SharedRun": api.SharedRun{},
		"TicketRequest": api.TicketRequest{}, "TicketResponse": api.TicketResponse{}, "Event": town.Event{},
		"EventPage": api.EventPage{}, "Health": api.Health{}, "Host": api.Host{}, "Screen": api.Screen{}, "Diff": api.Diff{},
		"DiffFile": api.DiffFile{}, "HelloFrame": api.Hello{}, "ScreenFrame": api.ScreenFrame{}, "ResizeFrame": api.ResizeFrame{},
		"EventFrame": api.EventFrame{}, "GapFrame": api.GapFrame{}, "ModeFrame": api.ModeFrame{}, "ErrorFrame": api.ErrorFrame{},
		"ExitFrame": api.ExitFrame{}, "SetupRequest": api.SetupRequest{}, "SetupResponse": api.SetupResponse{}, "MergeRequest": api.MergeRequest{}, "MergeResult": api.MergeResult{}, "Coordinator": api.Coordinator{},
		"Gate": api.Gate{}, "GateResult": api.GateResult{}, "Conflict": api.Conflict{}, "Rig": api.Rig{}, "DrainRequest": api.DrainRequest{}, "Manifest": api.Manifest{}, "SavedAgent": api.SavedAgent{}, "Checkpoint": api.Checkpoint{},
		"Proposal": town.Proposal{}, "PullRequest": town.PullRequest{}, "Check": town.Check{}, "ReviewComment": town.ReviewComment{},
		"MergeAccepted": api.MergeAccepted{}, "SyncRequest": api.SyncRequest{}, "SyncResponse": api.SyncResponse{},
		"LeftOut": town.LeftOut{}, "RefreshTokenRequest": api.RefreshTokenRequest{}, "RefreshTokenResponse": api.RefreshTokenResponse{}, "CLI": api.CLI{}, "CLIList": api.CLIList{},
	}
	maps.Copy(bodies, hallBodies)
	for name, ref := range doc.Components.Schemas {
		body, ok := bodies[name]
		if !ok {
			if len(ref.Value.Properties) > 0 {
				t.Errorf("schema %s has no body", name)
			}
			continue
		}
		delete(bodies, name)
		want, required := jsonFields(reflect.TypeOf(body))
		if got := slices.Sorted(maps.Keys(ref.Value.Properties)); !slices.Equal(got, want) {
			t.Errorf("schema %s has the fields %q, its body %q", name, got, want)
		}
		if strings.HasSuffix(name, "Request") || slices.Contains(hallInputs, name) {
			continue // what must be sent is another question than what may be left out
		}
		if _, hall := hallBodies[name]; hall { // whose callers generate their types from the document
			if got := slices.Sorted(slices.Values(ref.Value.Required)); !slices.Equal(got, required) {
				t.Errorf("schema %s requires %q, its body always has %q", name, got, required)
			}
			continue
		}
		for _, field := range ref.Value.Required {
			if !slices.Contains(required, field) {
				t.Errorf("schema %s requires %s, which its body may leave out", name, field)
			}
		}
	}
	for name := range bodies {
		t.Errorf("body %s has no schema", name)
	}
}

// jsonFields returns the names of a struct's fields and of those always written.
func jsonFields(typ reflect.Type) (all, always []string) {
	for field := range typ.Fields() {
		if field.Anonymous {
			more, sure := jsonFields(field.Type)
			all, always = append(all, more...), append(always, sure...)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		all = append(all, name)
		if !strings.Contains(options, "omit") {
			always = append(always, name)
		}
	}
	slices.Sort(all)
	slices.Sort(always)
	return all, always
}

func TestEnumerationsAreTheDomains(t *testing.T) {
	doc := loadDocument(t)
	for name, want := range map[string][]string{
		"Role":   texts(town.Roles()),
		"Status": {"starting", "running", "stopping", "exited", "failed"},
		"Reason": texts([]town.Reason{
			town.ReasonDone, town.ReasonBlocked, town.ReasonWaiting, town.ReasonExited, town.ReasonStopped, town.ReasonKilled,
			town.ReasonOOM, town.ReasonTimeout, town.ReasonBudget, town.ReasonAuth, town.ReasonStartFailed, town.ReasonCrashed,
		}),
		"TicketMode": texts([]town.TicketMode{town.TicketRead, town.TicketWrite}),
		"BeadStatus": texts([]town.BeadStatus{town.BeadOpen, town.BeadInProgress, town.BeadInReview, town.BeadClosed, town.BeadFailed}),
		"BeadType":   texts(town.BeadTypes()),
		"Priority":   texts(town.Priorities()),
		"ConvoyMode": texts([]town.ConvoyMode{town.LandAtEnd, town.LandOneByOne}),
		"ConvoyStatus": texts([]town.ConvoyStatus{
			town.ConvoyStaged, town.ConvoyOpen, town.ConvoyLanding, town.ConvoyClosed, town.ConvoyFailed,
		}),
		"MergeStatus": texts([]town.MergeStatus{
			town.MergeWaiting, town.MergeReviewing, town.MergeMerging, town.MergeAwaitingPR, town.MergeMerged, town.MergeConflict,
			town.MergeGatesFailed, town.MergeRejected, town.MergeFailed, town.MergeCancelled,
		}),
		"RestartPolicy": texts([]town.RestartPolicy{town.RestartNever, town.RestartOnFailure}),
	} {
		var got []string
		for _, v := range doc.Components.Schemas[name].Value.Enum {
			got = append(got, v.(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("schema %s is %q, want %q", name, got, want)
		}
	}
}

func texts[S ~string](all []S) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = string(s)
	}
	return out
}
