package container_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"townd/api"
	"townd/town"
)

// X21: everything is saved, agents go on, nothing is started any more, and health says so.
func TestDrainAnswersWithAManifest(t *testing.T) {
	tt := newTown(t)
	dirty := tt.request("dirty", "sleep")
	dirty.Command = []string{"bash", "-c", "echo work >work.txt; echo k >.env; echo ready; exec sleep 10000"}
	if _, err := tt.Start(t.Context(), dirty); err != nil {
		t.Fatal(err)
	}
	tt.start("clean", "sleep")
	if _, err := tt.Follow(t.Context(), "dirty", api.StreamOptions{}, func(m api.Message) error {
		if bytes.Contains(m.Data, []byte("ready")) {
			return io.EOF
		}
		return nil
	}); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	m, err := tt.Drain(t.Context(), api.DrainRequest{DeadlineSeconds: 60})
	if err != nil || len(m.Agents) != 2 {
		t.Fatalf("Drain() = %+v, %v; want both agents", m, err)
	}
	clean, saved := m.Agents[0], m.Agents[1]
	if clean.AgentID != "clean" || clean.Checkpoint != nil || clean.Error != "" || clean.Status != town.StatusRunning {
		t.Errorf("the clean agent is told as %+v", clean)
	}
	if saved.AgentID != "dirty" || saved.Branch != dirty.Branch || saved.Checkpoint == nil || saved.Error != "" {
		t.Fatalf("the dirty agent is told as %+v", saved)
	}
	if c := saved.Checkpoint; c.Ref != "refs/town/checkpoints/dirty" || len(c.Commit) != 40 || c.Pushed || len(c.LeftOut) != 1 || c.LeftOut[0].Path != ".env" {
		t.Errorf("its checkpoint is told as %+v", c)
	}
	if h, err := tt.Health(t.Context()); err != nil || !h.Draining || h.Status != api.HealthDraining || h.Agents != 2 {
		t.Errorf("Health() = %+v, %v; want draining, with both agents", h, err)
	}
	_, err = tt.Start(t.Context(), tt.request("late", "sleep"))
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Status != http.StatusServiceUnavailable {
		t.Errorf("Start() = %v, want 503", err)
	}
	if got := tt.call(http.MethodPost, "/drain", ""); got.StatusCode != http.StatusOK || len(asList(got.object(t)["agents"])) != 2 {
		t.Errorf("a drain without a body answered %s %s", got.Status, got.body)
	}
	for _, body := range []string{`{"deadlineSeconds":0}`, `{"deadlineSeconds":-1}`, `{"deadlineSeconds":3601}`, `{"deadlineSeconds":"1"}`, `[]`, `x`} {
		refused(t, tt.call(http.MethodPost, "/drain", body), http.StatusBadRequest, "")
	}
	soon := tt.call(http.MethodPost, "/drain", `{"deadlineSeconds":1e-9}`).object(t)
	if got := asList(soon["agents"]); len(got) != 2 || got[0].(map[string]any)["error"] != "not saved within the deadline" {
		t.Errorf("a drain without time answered %v", soon)
	}
	refused(t, tt.callAs("", http.MethodPost, "/drain", ""), http.StatusUnauthorized, "")
}
