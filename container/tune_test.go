package container_test

import (
	"errors"
	"net/http"
	"testing"

	"townd/town"
)

// N14: an agent that has no model to change says so, and wrong bodies are named.
func TestTuningRefusesWhatCannotBe(t *testing.T) {
	tt := newTown(t)
	if _, err := tt.Start(t.Context(), tt.request("toast", "echo")); err != nil {
		t.Fatal(err)
	}
	if err := tt.SetModel(t.Context(), "toast", "m"); !errors.Is(err, town.ErrConflict) {
		t.Errorf("SetModel() of a terminal program = %v, want ErrConflict", err)
	}
	if err := tt.SetSystemPrompt(t.Context(), "nobody", "You are."); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("SetSystemPrompt() of an unknown agent = %v, want ErrNotFound", err)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPatch, "/agents/toast/model", `{}`, http.StatusBadRequest},
		{http.MethodPatch, "/agents/toast/model", `{"model":"a\nb"}`, http.StatusBadRequest},
		{http.MethodPatch, "/agents/toast/model", `{"model":7}`, http.StatusBadRequest},
		{http.MethodPut, "/agents/toast/system-prompt", `{"systemPrompt":" "}`, http.StatusBadRequest},
		{http.MethodPut, "/agents/toast/model", `{"model":"m"}`, http.StatusMethodNotAllowed},
		{http.MethodGet, "/agents/toast/system-prompt", "", http.StatusMethodNotAllowed},
	} {
		if got := tt.call(c.method, c.path, c.body); got.StatusCode != c.status {
			t.Errorf("%s %s %s = %d, want %d", c.method, c.path, c.body, got.StatusCode, c.status)
		}
	}
}
