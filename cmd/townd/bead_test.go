package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// startQuietTown starts a town with rig slug in which nobody takes work.
func startQuietTown(t *testing.T) *testTown {
	t.Helper()
	tt := startTown(t)
	tt.ok("town", "pause", "for", "the", "test")
	tt.ok("rig", "add", "slug", "--repo", tt.repo, "--default-branch", "main", "--cli", "demo", "--gate", "sh test.sh", "-e", "DEMO_FAST=1")
	return tt
}

// answerOf is what a command prints with --json.
func answerOf[T any](t *testing.T, tt *testTown, args ...string) (v T) {
	t.Helper()
	out := tt.ok(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("townd %q --json: %v in:\n%s", args, err, out)
	}
	return v
}

// add makes a bead and returns the end of its id, which is printed.
func (tt *testTown) add(args ...string) string {
	tt.t.Helper()
	id := strings.TrimSpace(tt.ok(append([]string{"bead", "add", "slug"}, args...)...))
	if len(id) != 8 {
		tt.t.Fatalf("bead add printed %q, want the end of an id", id)
	}
	return id
}

func TestARigIsMadeChangedAndForgotten(t *testing.T) {
	tt := startQuietTown(t)
	wantContains(t, "rig ls", tt.ok("rig", "ls"), "slug", "file://"+tt.repo, "main", "demo", "sh test.sh", "merge")
	tt.ok("rig", "set", "slug", "--max-agents", "8", "--merge", "pull-request")
	shown := tt.ok("rig", "show", "slug")
	wantContains(t, "rig show", shown, `"DEMO_FAST": "(set)"`, `"maxAgents": 8`, `"mode": "pull-request"`, `"command": "sh test.sh"`)
	rig := answerOf[town.Rig](t, tt, "rig", "show", "slug")
	if rig.CLI != "demo" || rig.MaxAgents != 8 || rig.EnvVars["DEMO_FAST"] != "" || len(rig.EnvVars) != 1 {
		t.Errorf("rig show --json: %+v", rig)
	}
	if rigs := answerOf[struct{ Rigs []town.Rig }](t, tt, "rig", "ls"); len(rigs.Rigs) != 1 {
		t.Errorf("rig ls --json: %+v", rigs)
	}
	wantContains(t, "rig rm", tt.ok("rig", "rm", "slug"), "slug forgotten")
	if got := tt.ok("rig", "ls"); strings.Contains(got, "slug") {
		t.Errorf("after rig rm:\n%s", got)
	}
}

func TestABeadIsMadeListedChangedAndClosed(t *testing.T) {
	tt := startQuietTown(t)
	body := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(body, []byte("first line\n\x1b[31msecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := tt.add("--priority", "high", "--label", "now", "--label", "ui", "--body-file", body, "--type", "bug", "move", "the", "page")
	second := tt.add("--needs", first, "--dedupe-key", "one", "--attempts", "2", "write about it")
	third := strings.TrimSpace(tt.ok("sling", "slug", "--after", "1h", "sweep up"))

	shown := tt.ok("bead", "show", first)
	wantContains(t, "bead show", shown, "move the page", "open", "bug, high", "now, ui", "first line\n", "[31msecond line", "by person", "0 of 3")
	if strings.Contains(shown, "\x1b") {
		t.Errorf("bead show prints what a terminal obeys: %q", shown)
	}
	b := answerOf[town.Bead](t, tt, "bead", "show", first)
	if !strings.HasSuffix(b.ID, first) || b.Priority != town.PriorityHigh || b.Source != "person" || len(b.Labels) != 2 {
		t.Errorf("bead show --json: %+v", b)
	}
	if got := answerOf[town.Bead](t, tt, "bead", "show", b.ID); got.ID != b.ID {
		t.Errorf("bead show with the whole id: %+v", got)
	}
	wantContains(t, "bead show", tt.ok("bead", "show", second), b.ID, "0 of 2")
	if later := answerOf[town.Bead](t, tt, "bead", "show", third); later.NotBefore == nil || time.Until(*later.NotBefore) < 50*time.Minute {
		t.Errorf("sling --after 1h: %+v", later.NotBefore)
	}
	again := tt.townd("bead", "add", "slug", "--dedupe-key", "one", "something else")
	if strings.TrimSpace(again.out) != second || !strings.Contains(again.err, "with this key already") {
		t.Errorf("the same key again: %+v", again)
	}

	list := tt.ok("bead", "ls")
	wantContains(t, "bead ls", list, first, second, third, "move the page", "high")
	if strings.Index(list, third) > strings.Index(list, first) {
		t.Errorf("bead ls is not newest first:\n%s", list)
	}
	for want, args := range map[string][]string{
		first:  {"--label", "ui"},
		second: {"--search", "about"},
		third:  {"--rig", "slug", "--limit", "1", "--status", "open"},
	} {
		if got := answerOf[api.BeadList](t, tt, append([]string{"bead", "ls"}, args...)...); len(got.Beads) != 1 || !strings.HasSuffix(got.Beads[0].ID, want) {
			t.Errorf("bead ls %q: %+v, want %s", args, got.Beads, want)
		}
	}
	wantContains(t, "bead ls --limit 1", tt.ok("bead", "ls", "--limit", "1"), "there are more: --limit or --all")
	if got := answerOf[api.BeadList](t, tt, "bead", "ls", "--all"); len(got.Beads) != 3 {
		t.Errorf("bead ls --all: %d", len(got.Beads))
	}

	tt.ok("bead", "edit", first, "--title", "move both pages", "--priority", "low", "--label", "later")
	wantContains(t, "edited", tt.ok("bead", "show", first), "move both pages", "bug, low", "later", "first line")
	wantContains(t, "hold", tt.ok("bead", "hold", first, "not", "now"), first, "open", "not now")
	wantContains(t, "retry", tt.ok("bead", "retry", first, "--reason", "go"), first+" open")
	wantContains(t, "close", tt.ok("bead", "close", first, "--reason", "obsolete"), first+" closed")
	wantContains(t, "history", tt.ok("bead", "show", first), "close: open → closed", "obsolete", "retry")
	if waits := answerOf[town.Bead](t, tt, "bead", "show", second); strings.Contains(waits.Why, first) {
		t.Errorf("the one that needed it waits still: %s", waits.Why)
	}
}

func TestAConvoyIsMadeShownStartedAndClosed(t *testing.T) {
	tt := startQuietTown(t)
	out := tt.ok("convoy", "add", "slug", "a login page", "--staged", "--in-turn", "--land-at-end", "--task", "the form", "--task", "the session")
	wantContains(t, "convoy add", out, "the form", "the session", "slug")
	id, _, _ := strings.Cut(out, "\n")
	wantContains(t, "convoy ls", tt.ok("convoy", "ls"), id, "staged", "0 of 2", "at the end", "a login page")
	wantContains(t, "convoy show", tt.ok("convoy", "show", id), "the form", "the session", "staged")
	shown := answerOf[struct {
		town.Convoy
		All []town.Bead
	}](t, tt, "convoy", "show", id)
	if len(shown.All) != 2 || shown.Mode != town.LandAtEnd || shown.Branch == "" {
		t.Errorf("convoy show --json: %+v", shown)
	}
	wantContains(t, "convoy start", tt.ok("convoy", "start", id), id+" open")
	wantContains(t, "convoy close", tt.ok("convoy", "close", id), id+" closed")

	plan := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(plan, []byte(`{"tasks": [{"title": "first"}, {"title": "second", "body": "text", "dependsOn": [0]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	made := answerOf[api.ConvoyMade](t, tt, "convoy", "add", "slug", "from", "a", "plan", "--file", plan)
	if len(made.Beads) != 2 || made.Beads[1].Body != "text" || len(made.Beads[1].DependsOn) != 1 || made.Convoy.Title != "from a plan" {
		t.Errorf("convoy add --file: %+v", made)
	}
}

// What a person types wrong is said so that it can be typed right.
func TestCommandsOfTheTownRefuseWhatIsWrong(t *testing.T) {
	tt := startQuietTown(t)
	bead := tt.add("a bead")
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"bead", "add"}, exitUsage, "give a rig (townd rig ls) and a title"},
		{[]string{"bead", "add", "slug"}, exitUsage, "give a title"},
		{[]string{"bead", "add", "nowhere", "x"}, exitFailure, "rig nowhere"},
		{[]string{"bead", "add", "slug", "--priority", "urgent", "x"}, exitFailure, "priority"},
		{[]string{"bead", "add", "slug", "--type", "epic", "x"}, exitFailure, "type"},
		{[]string{"bead", "add", "slug", "--needs", "zzzzzzzz", "x"}, exitFailure, "--needs: bead zzzzzzzz"},
		{[]string{"bead", "add", "slug", "--body", "a", "--body-file", bad, "x"}, exitUsage, "not both"},
		{[]string{"bead", "add", "slug", "--body-file", "/nowhere", "x"}, exitFailure, "/nowhere"},
		{[]string{"bead", "show"}, exitUsage, "give a bead (townd bead ls)"},
		{[]string{"bead", "show", "a", "b"}, exitUsage, "give only"},
		{[]string{"bead", "show", "zzzz"}, exitFailure, "bead zzzz"},
		{[]string{"bead", "show", "../../rigs"}, exitFailure, "rigs"},
		{[]string{"bead", "ls", "--status", "lost"}, exitFailure, "status"},
		{[]string{"bead", "ls", "--limit", "501"}, exitFailure, "limit"},
		{[]string{"bead", "edit", bead, "--priority", "urgent"}, exitFailure, "priority"},
		{[]string{"bead", "hold", bead}, exitUsage, "give a reason"},
		{[]string{"bead", "frobnicate"}, exitUsage, "frobnicate"},
		{[]string{"rig", "add", "a rig", "--repo", tt.repo}, exitFailure, "rigId"},
		{[]string{"rig", "add", "site", "--repo", tt.repo, "--cli", "vim"}, exitUsage, "--cli must be one of"},
		{[]string{"rig", "add", "site", "--repo", tt.repo, "--merge", "magic"}, exitFailure, "merge.mode"},
		{[]string{"rig", "add", "site", "--repo", tt.repo, "-e", "NOPE"}, exitFailure, "NOPE=VALUE"},
		{[]string{"rig", "show", "nowhere"}, exitFailure, "rig nowhere"},
		{[]string{"rig", "rm"}, exitUsage, "give a rig (townd rig ls)"},
		{[]string{"convoy", "add", "slug", "title"}, exitFailure, "tasks"},
		{[]string{"convoy", "add", "slug", "title", "--task", "a", "--task", "b"}, exitFailure, "parallel"},
		{[]string{"convoy", "add", "slug", "title", "--file", bad}, exitFailure, "bad.json"},
		{[]string{"convoy", "show", "zzzz"}, exitFailure, `0 convoys end in "zzzz"`},
		{[]string{"mail", "send", "nobody", "hello"}, exitFailure, "nobody"},
		{[]string{"mail", "send", "nobody"}, exitUsage, "give a subject"},
		{[]string{"mail", "ack", "zzzz"}, exitFailure, `0 mails end in "zzzz"`},
		{[]string{"escalations", "close", "zzzz"}, exitFailure, `0 escalations end in "zzzz"`},
		{[]string{"escalations", "close"}, exitUsage, "give an escalation (townd escalations)"},
		{[]string{"ask", "answer", "zzzz", "yes"}, exitFailure, `0 questions end in "zzzz"`},
		{[]string{"ask", "answer"}, exitUsage, "give a question (townd ask ls)"},
		{[]string{"town", "pause"}, exitUsage, "give a reason"},
		{[]string{"town", "status", "now"}, exitUsage, "now"},
	} {
		if r := tt.townd(c.args...); r.code != c.code || !strings.Contains(r.err, c.want) {
			t.Errorf("townd %q: code %d, want %d with %q: %s%s", c.args, r.code, c.code, c.want, r.out, r.err)
		}
	}
}
