package supervisor_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"townd/town"
)

// TestAnAgentHandsItsWorkOver by its capability: what is in no commit is told and
// nothing pushed; then the branch is, and that the remote is gone holds nothing up.
func TestAnAgentHandsItsWorkOver(t *testing.T) {
	tt := newTown(t)
	a := tt.start(tt.script("toast", "echo $GASTOWN_SESSION_TOKEN >$HOME/capability; echo a >a.txt; git add a.txt; git commit -qm a; echo b >b.txt; echo ready; exec sleep 10000"))
	tt.output("toast", 7)
	data, err := os.ReadFile(filepath.Join(tt.home, "agents/toast/home/capability"))
	if err != nil {
		t.Fatal(err)
	}
	capability := strings.TrimSpace(string(data))
	if got, err := tt.Caller(capability); err != nil || got.AgentID != "toast" || got.Role != town.RolePolecat || got.RunID != a.RunID {
		t.Errorf("Caller() = %+v, %v", got, err)
	}
	branch := func() string { // at the remote
		out, _ := exec.CommandContext(t.Context(), "git", "-C", strings.TrimPrefix(tt.remote, "file://"), "rev-parse", "--verify", "-q", "refs/heads/"+a.Branch).Output()
		return strings.TrimSpace(string(out))
	}
	hand := func() town.HandOver {
		t.Helper()
		h, err := tt.HandOver(t.Context(), capability)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if h := hand(); h.Commits != 1 || !slices.Equal(h.Changed, []string{"b.txt"}) || branch() != "" {
		t.Errorf("HandOver() = %+v with a change, the remote has %q", h, branch())
	}
	saved, err := tt.SaveWork(t.Context(), capability)
	if err != nil || saved.Commit == "" {
		t.Errorf("SaveWork() = %+v, %v", saved, err)
	}
	if err := os.Remove(filepath.Join(a.Workdir, "b.txt")); err != nil {
		t.Fatal(err)
	}
	remote := strings.TrimPrefix(tt.remote, "file://")
	if err := os.Rename(remote, remote+".gone"); err != nil {
		t.Fatal(err)
	}
	if h := hand(); h.PushError == "" || h.Commit == "" {
		t.Errorf("HandOver() = %+v without a remote", h)
	}
	if err := os.Rename(remote+".gone", remote); err != nil {
		t.Fatal(err)
	}
	if h := hand(); h.PushError != "" || h.Commit != branch() || branch() == "" {
		t.Errorf("HandOver() = %+v, the remote has %q", h, branch())
	}
	for name, err := range map[string]error{
		"Caller":   second(tt.Caller("of another")),
		"HandOver": second(tt.HandOver(t.Context(), "of another")),
		"SaveWork": second(tt.SaveWork(t.Context(), "of another")),
	} {
		if !errors.Is(err, town.ErrUnauthorized) {
			t.Errorf("%s with a capability of nobody: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
