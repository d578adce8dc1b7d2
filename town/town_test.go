package town_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"townd/town"
)

func goodStart() town.StartRequest {
	return town.StartRequest{
		AgentID: "a1", RigID: "r1", TownID: "t1", Role: town.RolePolecat, Name: "Toast", Identity: "Toast of r1",
		Prompt: "do it\n", Model: "some/model", GitURL: "https://example.invalid/x.git", Branch: "polecat/toast/b1", DefaultBranch: "main",
	}
}

// N3: every field of a start request is checked, and each issue names its field
// and says what would be right.
func TestStartRequestIssuesNameTheirFields(t *testing.T) {
	good := goodStart()
	if err := good.Validate(); err != nil {
		t.Fatalf("Validate() of a good request = %v", err)
	}
	for path, breakIt := range map[string]func(*town.StartRequest){
		"agentId":             func(r *town.StartRequest) { r.AgentID = "../x" },
		"rigId":               func(r *town.StartRequest) { r.RigID = "" },
		"townId":              func(r *town.StartRequest) { r.TownID = "a b" },
		"beadId":              func(r *town.StartRequest) { r.BeadID = "-x" },
		"role":                func(r *town.StartRequest) { r.Role = "king" },
		"name":                func(r *town.StartRequest) { r.Name = " " },
		"identity":            func(r *town.StartRequest) { r.Identity = "a\nb" },
		"model":               func(r *town.StartRequest) { r.Model = strings.Repeat("m", 5000) },
		"gitUrl":              func(r *town.StartRequest) { r.GitURL = "" },
		"branch":              func(r *town.StartRequest) { r.Branch = "" },
		"prompt":              func(r *town.StartRequest) { r.Prompt = strings.Repeat("x", 1<<20+1) },
		"systemPrompt":        func(r *town.StartRequest) { r.SystemPrompt = "a\x00b" },
		"command":             func(r *town.StartRequest) { r.CLI = "command" },
		"command[1]":          func(r *town.StartRequest) { r.CLI, r.Command = "command", []string{"a", "b\x00"} },
		"generation":          func(r *town.StartRequest) { r.Generation = -1 },
		"restart":             func(r *town.StartRequest) { r.Restart = "always" },
		"effort":              func(r *town.StartRequest) { r.Effort = "huge" },
		"fork":                func(r *town.StartRequest) { r.Fork = true },
		"cols":                func(r *town.StartRequest) { r.Cols = 1001 },
		"rows":                func(r *town.StartRequest) { r.Rows = 60000 },
		"limits.turns":        func(r *town.StartRequest) { r.Limits.Turns = -1 },
		"limits.seconds":      func(r *town.StartRequest) { r.Limits.Seconds = 1e12 },
		"limits.idleSeconds":  func(r *town.StartRequest) { r.Limits.IdleSeconds = 1e12 },
		"envVars.PATH":        func(r *town.StartRequest) { r.EnvVars = map[string]string{"PATH": "/x"} },
		"envVars.HOME":        func(r *town.StartRequest) { r.EnvVars = map[string]string{"HOME": "/x"} },
		"envVars.LD_PRELOAD":  func(r *town.StartRequest) { r.EnvVars = map[string]string{"LD_PRELOAD": "x"} },
		"envVars.GIT_SSH":     func(r *town.StartRequest) { r.EnvVars = map[string]string{"GIT_SSH": "x"} },
		"envVars.TOWND_TOKEN": func(r *town.StartRequest) { r.EnvVars = map[string]string{"TOWND_TOKEN": "x"} },
		"envVars.1X":          func(r *town.StartRequest) { r.EnvVars = map[string]string{"1X": "x"} },
		"envVars.":            func(r *town.StartRequest) { r.EnvVars = map[string]string{"": "x"} },
		"envVars.X":           func(r *town.StartRequest) { r.EnvVars = map[string]string{"X": strings.Repeat("x", 128<<10)} },
		"envVars.GASTOWN_AGENT_ID": func(r *town.StartRequest) {
			r.EnvVars = map[string]string{"GASTOWN_AGENT_ID": "another"}
		},
	} {
		r := goodStart()
		breakIt(&r)
		err := r.Validate()
		invalid, ok := errors.AsType[*town.InvalidError](err)
		if !ok || !errors.Is(err, town.ErrInvalid) {
			t.Errorf("%s: Validate() = %v, want an InvalidError", path, err)
			continue
		}
		if len(invalid.Issues) != 1 || invalid.Issues[0].Path != path || invalid.Issues[0].Message == "" {
			t.Errorf("%s: issues = %+v, want one of that path", path, invalid.Issues)
		}
	}
}

func TestEveryIssueIsNamedAtOnce(t *testing.T) {
	err := (&town.StartRequest{}).Validate()
	invalid, ok := errors.AsType[*town.InvalidError](err)
	if !ok || len(invalid.Issues) != 7 {
		t.Errorf("Validate() of an empty request = %v, want the seven required fields", err)
	}
}

func TestStopAndMessageAreChecked(t *testing.T) {
	for _, r := range []town.StopRequest{{}, {Signal: "SIGTERM"}, {Signal: "SIGKILL", GraceSeconds: new(0.0)}} {
		if err := r.Validate(); err != nil {
			t.Errorf("Validate(%+v) = %v", r, err)
		}
	}
	for _, r := range []town.StopRequest{{Signal: "KILL"}, {GraceSeconds: new(-1.0)}, {GraceSeconds: new(3601.0)}} {
		if err := r.Validate(); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("Validate(%+v) = %v, want invalid", r, err)
		}
	}
	for _, m := range []town.MessageRequest{{}, {Prompt: "a\x00"}, {Prompt: "a", Deliver: "soon"}, {Prompt: strings.Repeat("x", town.MaxPromptBytes+1)}} {
		if err := m.Validate(); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("Validate(%.40v) = %v, want invalid", m, err)
		}
	}
	if err := (&town.MessageRequest{Prompt: "a", Deliver: town.DeliverNow}).Validate(); err != nil {
		t.Errorf("Validate() = %v", err)
	}
}

func TestIDsAreOrderedAndDistinct(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	seen := make(map[string]bool)
	for i := range 1000 {
		id := town.NewID(now.Add(time.Duration(i) * time.Millisecond))
		if len(id) != 26 || town.CheckID(id) != nil || seen[id] {
			t.Fatalf("NewID() = %q", id)
		}
		seen[id] = true
	}
	if a, b := town.NewID(now), town.NewID(now.Add(time.Millisecond)); a >= b {
		t.Errorf("%q is not before %q", a, b)
	}
}

func TestKindsAndStatusesMatchBothWays(t *testing.T) {
	for _, kind := range []error{
		town.ErrInvalid, town.ErrUnauthorized, town.ErrForbidden, town.ErrNotFound, town.ErrConflict, town.ErrGone,
		town.ErrTooLarge, town.ErrBudget, town.ErrCapacity, town.ErrGit, town.ErrUnavailable, town.ErrNoSpace, town.ErrStartFailed,
	} {
		status := town.HTTPStatus(fmt.Errorf("doing: %w", kind))
		if status == http.StatusInternalServerError || !errors.Is(town.KindOf(status), kind) {
			t.Errorf("%v -> %d -> %v", kind, status, town.KindOf(status))
		}
	}
	if got := town.HTTPStatus(errors.New("x")); got != http.StatusInternalServerError {
		t.Errorf("HTTPStatus of no kind = %d", got)
	}
}

// An id becomes a file name and a path segment: nothing that passes may be more.
func FuzzCheckID(f *testing.F) {
	for _, s := range []string{"a", "..", "a/b", "a.", "A-1_.x", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if town.CheckID(id) == nil && (id == "" || len(id) > 128 || strings.ContainsAny(id, "/\\\x00\n ") || strings.Contains(id, "..") || id[0] == '.' || id[0] == '-') {
			t.Errorf("CheckID(%q) = nil", id)
		}
	})
}
