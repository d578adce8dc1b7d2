package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/town"
)

func TestRequestIsMadeFromFewFlags(t *testing.T) {
	taken := []town.Agent{}
	for _, name := range names[1:] {
		taken = append(taken, town.Agent{AgentID: name, Name: name})
	}
	f := requestFlags{repo: "/srv/Acme Site.git", env: []string{"CI=true", "LANG", "EMPTY="}}
	f.req.Role = town.RolePolecat
	std := stdio{getenv: func(name string) string { return map[string]string{"LANG": "C.UTF-8"}[name] }}
	got, err := f.request(t.Context(), std, []string{"make", "test"}, taken)
	if err != nil {
		t.Fatal(err)
	}
	if branch := regexp.MustCompile(`^polecat/amber/[0-9a-z]{8}$`); !branch.MatchString(got.Branch) {
		t.Errorf("branch %q, want %v", got.Branch, branch)
	}
	want := town.StartRequest{
		AgentID: "amber", RigID: "acme-site", TownID: "local", Role: town.RolePolecat, Name: "amber",
		Identity: "amber-polecat-acme-site", GitURL: "file:///srv/Acme%20Site.git", Branch: got.Branch,
		EnvVars: map[string]string{"CI": "true", "LANG": "C.UTF-8", "EMPTY": ""}, CLI: "command", Command: []string{"make", "test"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if name := freeName(append(taken, town.Agent{Name: names[0]})); !strings.HasSuffix(name, "2") {
		t.Errorf("with every name taken the next is %q, want one with a number", name)
	}
}

func TestRequestTakesTheRepositoryHere(t *testing.T) {
	gitHere(t)
	dir := filepath.Join(t.TempDir(), "work")
	repo := makeRepository(t)
	git(t, ".", "clone", "-q", repo, dir)
	t.Chdir(dir)
	if err := os.WriteFile("task.md", []byte("Write a haiku\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := requestFlags{promptFile: "task.md"}
	f.req.Role = town.RoleMayor
	req, err := f.request(t.Context(), stdio{getenv: func(string) string { return "" }}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if req.GitURL != repo || req.RigID != "slug" || req.Prompt != "Write a haiku\n" || req.CLI != "" {
		t.Errorf("request for %q in %q: %q with cli %q", req.GitURL, req.RigID, req.Prompt, req.CLI)
	}
	f.req.Prompt = "Another"
	if _, err := f.request(t.Context(), stdio{}, nil, nil); err == nil || !strings.Contains(err.Error(), "not both") {
		t.Errorf("two prompts: %v", err)
	}
}

func TestURLOfATownHere(t *testing.T) {
	for _, tt := range []struct{ listen, want string }{
		{"127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"0.0.0.0:9000", "http://127.0.0.1:9000"},
		{":9000", "http://127.0.0.1:9000"},
		{"[::]:9000", "http://127.0.0.1:9000"},
		{"[::1]:9000", "http://[::1]:9000"},
		{"town.example:80", "http://town.example:80"},
	} {
		if got := urlOf(tt.listen); got != tt.want {
			t.Errorf("urlOf(%q) = %q, want %q", tt.listen, got, tt.want)
		}
	}
}

func TestRunsExitCodeTellsTheOutcome(t *testing.T) {
	for _, tt := range []struct {
		reason town.Reason
		code   *int
		want   int
	}{
		{town.ReasonExited, new(0), 0},
		{town.ReasonCrashed, new(3), 3},
		{town.ReasonCrashed, new(137), 137},
		{town.ReasonDone, new(143), 0},
		{town.ReasonStopped, new(0), exitStopped},
		{town.ReasonKilled, nil, exitKilled},
		{town.ReasonOOM, new(137), exitKilled},
		{town.ReasonTimeout, new(143), exitTimeout},
		{town.ReasonBudget, new(0), exitFailure},
		{town.ReasonStartFailed, nil, exitFailure},
		{town.ReasonCrashed, nil, exitFailure},
	} {
		if got := exitCode(town.Agent{Reason: tt.reason, ExitCode: tt.code}); got != tt.want {
			t.Errorf("exitCode(%s) = %d, want %d", tt.reason, got, tt.want)
		}
	}
}

func TestTailKeepsTheLastLines(t *testing.T) {
	for _, tt := range []struct {
		keep    int
		written []string
		want    string
	}{
		{0, []string{"a\n", "b"}, "a\nb"},
		{2, []string{"a\nb\n", "c\n"}, "b\nc\n"},
		{2, []string{"a\nb\nc"}, "b\nc"},
		{5, []string{"a\n"}, "a\n"},
		{1, []string{""}, ""},
		{3, []string{strings.Repeat("line\n", tailBytes), "end\n"}, "line\nline\nend\n"},
	} {
		var got strings.Builder
		out := &tail{w: &got, keep: tt.keep}
		for _, s := range tt.written {
			if n, err := out.Write([]byte(s)); n != len(s) || err != nil {
				t.Fatalf("Write() = %d, %v", n, err)
			}
		}
		if err := out.flush(); err != nil || got.String() != tt.want {
			t.Errorf("last %d lines: %q, %v; want %q", tt.keep, &got, err, tt.want)
		}
	}
}
