package gitmgr

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"townd/gitmgr/gittest"
	"townd/town"
)

// trick is one attempt to have a name do what names do not do.
type trick struct{ what, text string }

func tricks(canary string) []trick {
	return []trick{
		{"option", "--upload-pack=touch " + canary},
		{"option with a file", "--output=" + canary},
		{"short option", "-u" + canary},
		{"up", "../../../x"},
		{"up in the middle", "a/../../x"},
		{"dots", "a..b"},
		{"absolute", "/etc/x"},
		{"lock", "a.lock"},
		{"lock on the way", "a.lock/b"},
		{"hidden", ".git/hooks/x"},
		{"newline", "a\nb"},
		{"NUL", "a\x00b"},
		{"escape", "a\x1b[2Jb"},
		{"shell", "$(touch " + canary + ")"},
		{"backquote", "`touch " + canary + "` x"},
		{"revision", "HEAD@{1}"},
		{"range", "main^{/x}"},
		{"right to left", "x\u202ey"},
		{"nothing to see", "x\u200by"},
		{"not UTF-8", "x\xff"},
		{"remote helper", "ext::sh -c 'touch " + canary + "'"},
	}
}

// TestTricksAreRefusedAtEveryDoor proves of every method that takes a name that it
// refuses all of them, runs nothing and touches nothing.
// Proves W11.
func TestTricksAreRefusedAtEveryDoor(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "good"))
	canary := filepath.Join(t.TempDir(), "canary")
	ctx := t.Context()
	doors := map[string]func(s string) error{
		"Worktree": func(s string) error { _, err := m.Worktree(ctx, spec(r, s)); return err },
		"Worktree default branch": func(s string) error {
			sp := spec(r, "x")
			sp.DefaultBranch = s
			_, err := m.Worktree(ctx, sp)
			return err
		},
		"Worktree start point": func(s string) error { sp := spec(r, "x"); sp.StartPoint = s; _, err := m.Worktree(ctx, sp); return err },
		"Worktree URL": func(s string) error {
			sp := spec(r, "x")
			sp.URL = "file://" + s
			_, err := m.Worktree(ctx, sp)
			return err
		},
		"Worktree rig":         func(s string) error { sp := spec(r, "x"); sp.RigID = s; _, err := m.Worktree(ctx, sp); return err },
		"Prepare rig":          func(s string) error { _, err := m.Prepare(ctx, s, r.URL(), false, nil); return err },
		"Prepare URL":          func(s string) error { _, err := m.Prepare(ctx, "new", s, false, nil); return err },
		"Restore":              func(s string) error { _, err := m.Restore(ctx, spec(r, s), "agent"); return err },
		"Restore agent":        func(s string) error { _, err := m.Restore(ctx, spec(r, "good"), s); return err },
		"Checkpoint":           func(s string) error { _, err := m.Checkpoint(ctx, "rig", s, "agent", Owner{}); return err },
		"Checkpoint agent":     func(s string) error { _, err := m.Checkpoint(ctx, "rig", "good", s, Owner{}); return err },
		"PushCheckpoint":       func(s string) error { _, err := m.PushCheckpoint(ctx, "rig", s, "agent"); return err },
		"PushCheckpoint agent": func(s string) error { _, err := m.PushCheckpoint(ctx, "rig", "good", s); return err },
		"Diff":                 func(s string) error { _, err := m.Diff(ctx, "rig", s, w.Base, Owner{}, 1000); return err },
		"Diff base":            func(s string) error { _, err := m.Diff(ctx, "rig", "good", s, Owner{}, 1000); return err },
		"Log":                  func(s string) error { _, err := m.Log("rig", s, "", 1); return err },
		"Log base":             func(s string) error { _, err := m.Log("rig", "good", s, 1); return err },
		"Merge":                func(s string) error { _, err := m.Merge(ctx, MergeRequest{RigID: "rig", Branch: s}); return err },
		"Merge target": func(s string) error {
			_, err := m.Merge(ctx, MergeRequest{RigID: "rig", Branch: "good", Target: s})
			return err
		},
		"Merge URL": func(s string) error {
			_, err := m.Merge(ctx, MergeRequest{RigID: "rig", Branch: "good", URL: s})
			return err
		},
		"Remove":        func(s string) error { return m.Remove(ctx, "rig", s, true) },
		"Remove rig":    func(s string) error { return m.Remove(ctx, s, "good", true) },
		"Warm rig":      func(s string) error { return m.Warm(ctx, s, Owner{}) },
		"DropReady rig": func(s string) error { return m.DropReady(ctx, s, Owner{}, 0) },
		"SetRig sparse": func(s string) error { return m.SetRig("rig", RigSettings{Sparse: []string{s + "/*"}}) },
	}
	before := tree(t, m.c.Home)
	for name, door := range doors {
		for _, trick := range tricks(canary) {
			if trick.what == "absolute" && strings.HasSuffix(name, "URL") || trick.what == "lock" && (strings.HasSuffix(name, "rig") || strings.HasSuffix(name, "agent")) {
				continue // a path like any other, an id like any other
			}
			if err := door(trick.text); err == nil || town.HTTPStatus(err) >= 500 && !strings.HasSuffix(name, "base") {
				t.Errorf("%s by %s (%q): %v", name, trick.what, trick.text, err)
			}
		}
	}
	if after := tree(t, m.c.Home); after != before {
		t.Errorf("home was\n%s\nand is\n%s", before, after)
	}
	if _, err := os.Lstat(canary); err == nil {
		t.Error("a command ran")
	}
}

// TestTwinsAreApart proves that names which look alike, or are alike elsewhere, are
// different branches with worktrees of their own.
func TestTwinsAreApart(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	seen := map[string]string{}
	for _, branch := range []string{"twin", "Twin", "TWIN", "tw\u0131n", "caf\u00e9", "cafe\u0301", "\u0430dmin", "admin", "a%2Fb", "a/b", "Main"} {
		w := mustWorktree(t, m, spec(r, branch))
		write(t, filepath.Join(w.Dir, "own"), branch)
		if other, ok := seen[w.Dir]; ok {
			t.Errorf("%q has the worktree of %q", branch, other)
		}
		seen[w.Dir] = branch
		if _, err := m.Checkpoint(t.Context(), "rig", branch, fmt.Sprint("agent", len(seen)), Owner{}); err != nil {
			t.Error(err)
		}
	}
	for dir, branch := range seen {
		if got := read(t, filepath.Join(dir, "own")); got != branch {
			t.Errorf("the worktree of %q holds the file of %q", branch, got)
		}
		if got := git(t, dir, "-c", "core.quotePath=false", "symbolic-ref", "--short", "HEAD"); got != branch {
			t.Errorf("the worktree of %q is on %q", branch, got)
		}
	}
	sound(t, m)
}
