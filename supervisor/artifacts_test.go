package supervisor_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"townd/gitmgr/gittest"
	"townd/town"
)

// artifact returns the content of one artifact of a run.
func (tt *testTown) artifact(id, run, name string) string {
	tt.t.Helper()
	f, _, err := tt.OpenArtifact(tt.t.Context(), id, run, name)
	if err != nil {
		tt.t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		tt.t.Fatal(err)
	}
	return string(data)
}

func names(list town.Artifacts) string {
	var all []string
	for _, a := range list.Artifacts {
		all = append(all, string(a.Kind)+" "+a.Name)
	}
	return strings.Join(all, ", ")
}

// W10: diff, commits and files of a run are there when its worktree is gone, each run's own, and go with the agent.
func TestWhatARunLeftOutlivesItsWorktree(t *testing.T) {
	tt := newTown(t)
	tt.config.ArtifactBytes = 1 << 20
	tt.reopen()
	first := tt.start(tt.script("toast", `echo one >one.txt; git add one.txt; git commit -qm "first piece" -m "with a reason"
		echo two >two.txt; printf 'k=gh''p_%036d\n' 7 >.env.local
		echo seen >"$TOWND_ARTIFACTS/report.txt"; ln -s /etc/passwd "$TOWND_ARTIFACTS/passwd"`))
	tt.untilStatus("toast", town.StatusExited)
	list, err := tt.Artifacts(t.Context(), "toast", "")
	if err != nil || names(list) != "diff changes.patch, commits commits.json, file report.txt" || list.RunID != first.RunID ||
		list.LeftOutCount != 1 || list.LeftOut[0].Path != "passwd" {
		t.Fatalf("Artifacts() = %+v, %v", list, err)
	}
	if err := tt.git.Remove(t.Context(), "rig", first.Branch, true); err != nil {
		t.Fatal(err)
	}
	patch := tt.artifact("toast", "", "changes.patch")
	clone := filepath.Join(t.TempDir(), "clone")
	if out, err := gittest.Command(".", "clone", "-q", tt.remote, clone).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	apply := gittest.Command(clone, "apply", "-")
	apply.Stdin = strings.NewReader(patch)
	if out, err := apply.CombinedOutput(); err != nil {
		t.Errorf("the patch does not apply: %v: %s", err, out)
	}
	if got := read(t, filepath.Join(clone, "one.txt")) + read(t, filepath.Join(clone, "two.txt")); got != "one\ntwo\n" || strings.Contains(patch, "ghp_") {
		t.Errorf("with the patch applied one.txt and two.txt hold %q; the secret is in it: %v", got, strings.Contains(patch, "ghp_"))
	}
	var commits struct {
		Base, Head string
		Commits    []struct{ Author, Subject, Body string }
	}
	if err := json.Unmarshal([]byte(tt.artifact("toast", "", "commits.json")), &commits); err != nil {
		t.Fatal(err)
	}
	if len(commits.Commits) != 1 || commits.Commits[0].Author != "toast" || commits.Commits[0].Subject != "first piece" || commits.Commits[0].Body != "with a reason" || len(commits.Base) != 40 {
		t.Errorf("commits.json = %+v", commits)
	}
	if got := tt.artifact("toast", "", "report.txt"); got != "seen\n" {
		t.Errorf("report.txt = %q", got)
	}

	again := tt.start(tt.script("toast", `rm "$TOWND_ARTIFACTS"/*; echo later >"$TOWND_ARTIFACTS/later.txt"; git reset -q --hard HEAD~1; git clean -qfd`))
	tt.ended("toast")
	if list, err := tt.Artifacts(t.Context(), "toast", ""); err != nil || names(list) != "file later.txt" || list.RunID != again.RunID {
		t.Errorf("Artifacts() of the next run = %+v, %v", list, err)
	}
	if got := tt.artifact("toast", first.RunID, "report.txt"); got != "seen\n" {
		t.Errorf("report.txt of the first run = %q", got)
	}
	if _, err := tt.Artifacts(t.Context(), "toast", "another"); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("Artifacts() of a run that is not the agent's = %v", err)
	}
	if err := tt.Forget(t.Context(), "toast"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(tt.home, "runs", first.RunID)); err == nil {
		t.Error("a forgotten agent's artifacts are left")
	}
}

// ended waits for the end of the agent's newest run.
func (tt *testTown) ended(id string) {
	tt.t.Helper()
	waitFor(tt.t, "the end of "+id, func() bool {
		a, err := tt.Agent(id)
		return err == nil && a.Status == town.StatusExited
	})
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// An agent that says that it is done has its artifacts taken while it goes on.
func TestArtifactsAreTakenWhenAnAgentIsDone(t *testing.T) {
	tt := newTown(t)
	tt.config.ArtifactBytes = 1 << 20
	tt.reopen()
	a := tt.start(tt.script("toast", `echo one >"$TOWND_ARTIFACTS/one"; echo x >x.txt; printf '%s' "$GASTOWN_SESSION_TOKEN"; sleep 10000 & wait`))
	if err := tt.Report(t.Context(), string(tt.output("toast", 26)), town.Report{State: town.ReasonDone, Text: "all of it"}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "artifacts of a live agent", func() bool {
		list, err := tt.Artifacts(t.Context(), "toast", "")
		return err == nil && names(list) == "diff changes.patch, file one"
	})
	if err := os.WriteFile(filepath.Join(a.Workdir, "x.txt"), []byte("more\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tt.stopped("toast", town.StopRequest{})
	if got := tt.artifact("toast", "", "changes.patch"); !strings.Contains(got, "+more") {
		t.Errorf("the patch at its end is\n%s", got)
	}
}

// What an agent can do about the directory of its artifacts keeps no run from its start or its end.
func TestAgentThatSpoilsItsArtifactsEnds(t *testing.T) {
	tt := newTown(t)
	tt.config.ArtifactBytes = 1 << 20
	tt.reopen()
	for i, script := range []string{
		`rmdir "$TOWND_ARTIFACTS"; ln -s / "$TOWND_ARTIFACTS"; echo x >x.txt`,
		`rm "$TOWND_ARTIFACTS"; mkfifo "$TOWND_ARTIFACTS"`,
		`rm "$TOWND_ARTIFACTS"; mkdir "$TOWND_ARTIFACTS"; mkfifo "$TOWND_ARTIFACTS/f"; truncate -s 4T "$TOWND_ARTIFACTS/huge"; chmod 0 "$TOWND_ARTIFACTS"`,
	} {
		tt.start(tt.script("toast", script))
		tt.ended("toast")
		list, err := tt.Artifacts(t.Context(), "toast", "")
		if err != nil || names(list) != "diff changes.patch" {
			t.Errorf("script %d: Artifacts() = %+v, %v", i, list, err)
		}
	}
}
