package gitmgr

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/gitmgr/gittest"
	"townd/town"
)

// Tokens of known shapes are put together here, so that no scanner of this
// repository takes them for lost ones.
var fakeSecrets = map[string]string{
	"key.txt":      "-----BEGIN OPENSSH PRIVATE " + "KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n",
	"github.txt":   "token = gh" + "p_" + strings.Repeat("a1B2", 9) + "\n",
	"anthropic.ts": "const k = 'sk-" + "ant-api03-" + strings.Repeat("x", 40) + "'\n",
	"aws.ini":      "AKI" + "AIOSFODNN7EXAMPLE\n",
	".env":         "A=b\n",
	"d/.env.local": "A=b\n",
	"id_ed25519":   "x",
}

func TestCheckpointLeavesOutSecretsAndGiants(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t, func(c *Config) { c.CheckpointFileBytes, c.CheckpointBytes = 1000, 3200 })
	w := mustWorktree(t, m, spec(r, "a"))
	var want []string
	for name, text := range fakeSecrets {
		write(t, filepath.Join(w.Dir, name), text)
		want = append(want, name)
	}
	saved := map[string]string{
		".env.example": "A=\n", "regexp.go": "`-----BEGIN PRIVATE KEY-----`\n", "ghp.txt": "ghp_short\n",
		"b1": strings.Repeat("b", 990), "b2": strings.Repeat("b", 990),
	}
	for name, text := range saved {
		write(t, filepath.Join(w.Dir, name), text)
	}
	write(t, filepath.Join(w.Dir, "giant"), strings.Repeat("g", 1001))
	write(t, filepath.Join(w.Dir, "z1"), strings.Repeat("z", 999))
	write(t, filepath.Join(w.Dir, "z2"), strings.Repeat("z", 999))
	write(t, filepath.Join(w.Dir, "odd :(top)\n*"), fakeSecrets["github.txt"])
	must(t, syscall.Mkfifo(filepath.Join(w.Dir, "pipe"), 0o600))
	must(t, os.Symlink("/etc/shadow", filepath.Join(w.Dir, "link.pem")))
	cp, err := m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	must(t, err)
	left := map[string]string{}
	for _, l := range cp.LeftOut {
		left[l.Path] = l.Why
	}
	for _, name := range append(want, "giant", "z2", "odd :(top)\n*") {
		if left[name] == "" {
			t.Errorf("%q is not named as left out", name)
		}
		if out, err := gittest.Command(w.Dir, "cat-file", "-e", cp.Commit+":"+name).CombinedOutput(); err == nil {
			t.Errorf("%q is saved: %s", name, out)
		}
		delete(left, name)
	}
	if len(left) > 0 || cp.LeftOutCount != len(cp.LeftOut) || left["giant"] != "" {
		t.Errorf("left out besides: %v", left)
	}
	for name, text := range saved {
		if got := read(t, filepath.Join(w.Dir, name)); got != text || git(t, w.Dir, "show", cp.Commit+":"+name) != strings.TrimSpace(text) {
			t.Errorf("%s is not saved", name)
		}
	}
	if text := git(t, w.Dir, "show", "-s", "--format=%B", cp.Commit); !strings.Contains(text, `Town-Left-Out: ".env" a file for secrets`) || strings.Contains(text, "a1B2") {
		t.Errorf("its message is %s", text)
	}
	for _, text := range fakeSecrets { // nor is an object of it anywhere
		if len(text) < 20 {
			continue
		}
		cmd := gittest.Command(w.Dir, "hash-object", "--stdin")
		cmd.Stdin = strings.NewReader(text)
		hash, err := cmd.Output()
		must(t, err)
		if gittest.Command(w.Dir, "cat-file", "-e", strings.TrimSpace(string(hash))).Run() == nil {
			t.Errorf("an object holds %.20q", text)
		}
	}
	sound(t, m)
}

// TestWorkGoesOnOnAnotherMachine: eviction of a container loses nothing that a
// checkpoint was pushed of.
func TestWorkGoesOnOnAnotherMachine(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 5})
	m := newManager(t)
	w, status := workbench(t, m, r)
	cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{})
	must(t, err)
	for i, want := range []bool{true, false} {
		if pushed, err := m.PushCheckpoint(t.Context(), "rig", w.Branch, "agent"); err != nil || pushed != want {
			t.Errorf("push %d: %v, %v", i, pushed, err)
		}
	}
	r.Commit("main", "meanwhile", "x")

	there := newManager(t)
	res, err := there.Restore(t.Context(), spec(r, w.Branch), "agent")
	must(t, err)
	if !res.Applied || res.State.Commit != cp.Commit || res.Base != w.Base || res.State.Branch != w.Branch {
		t.Errorf("Restore = %+v", res)
	}
	// What was staged is no longer, everything else is as it was.
	git(t, w.Dir, "reset", "--quiet")
	if diff := cmp.Diff(git(t, w.Dir, "status", "--porcelain", "-uall"), git(t, res.Dir, "status", "--porcelain", "-uall")); diff != "" || status == "" {
		t.Errorf("status (-here +there):\n%s", diff)
	}
	if git(t, w.Dir, "rev-parse", "HEAD") != git(t, res.Dir, "rev-parse", "HEAD") || git(t, res.Dir, "symbolic-ref", "HEAD") != headsPrefix+w.Branch {
		t.Error("the branch is not where it was")
	}
	again, err := there.Restore(t.Context(), spec(r, w.Branch), "agent")
	if err != nil || again.Applied || !strings.Contains(again.Why, "untracked files") {
		t.Errorf("again: %+v, %v", again, err)
	}
	sound(t, m)
	sound(t, there)
}

// TestCommitsThatWereNotPushedAreSaved: a clean worktree holds work too.
func TestCommitsThatWereNotPushedAreSaved(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	branchWith(t, m, r, "idle")
	tip := branchWith(t, m, r, "busy", "f=1", "f=2")
	git(t, m.rigs["rig"].path("busy"), "push", "--quiet", "origin", "busy~1:refs/heads/busy")
	for branch, want := range map[string]bool{"idle": false, "busy": true} {
		if cp, err := m.Checkpoint(t.Context(), "rig", branch, branch, Owner{}); err != nil || !cp.Clean {
			t.Errorf("%s: %+v, %v", branch, cp, err)
		}
		if pushed, err := m.PushCheckpoint(t.Context(), "rig", branch, branch); err != nil || pushed != want {
			t.Errorf("%s: %v, %v", branch, pushed, err)
		}
	}
	there := newManager(t)
	res, err := there.Restore(t.Context(), spec(r, "busy"), "busy")
	if err != nil || git(t, res.Dir, "rev-parse", "HEAD", "busy") != tip+"\n"+tip || res.State.Work {
		t.Errorf("Restore = %+v, %v", res, err)
	}
	if res, err := there.Restore(t.Context(), spec(r, "idle"), "idle"); err != nil || res.State.Commit != "" || !res.Created {
		t.Errorf("Restore = %+v, %v", res, err)
	}
}

func TestOldCheckpointDoesNotComeBack(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	save := func() Checkpoint {
		t.Helper()
		cp, err := m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
		must(t, err)
		_, err = m.PushCheckpoint(t.Context(), "rig", "a", "agent")
		must(t, err)
		return cp
	}
	write(t, filepath.Join(w.Dir, "f"), "1")
	save()
	must(t, os.Remove(filepath.Join(w.Dir, "f"))) // the agent thought better of it
	save()
	there := newManager(t)
	res, err := there.Restore(t.Context(), spec(r, "a"), "agent")
	if err != nil || res.State.Work || git(t, res.Dir, "status", "--porcelain") != "" {
		t.Errorf("Restore = %+v, %v", res, err)
	}
	write(t, filepath.Join(w.Dir, "f"), "2")
	save()
	r.Commit("a", "g", "somebody went on from it elsewhere")
	elsewhere := newManager(t)
	if res, err := elsewhere.Restore(t.Context(), spec(r, "a"), "agent"); err != nil || res.Applied || !strings.Contains(res.Why, "not where") {
		t.Errorf("Restore = %+v, %v", res, err)
	}
	r.Git("update-ref", checkpointPrefix+"agent2", "main") // what somebody else put there
	if res, err := elsewhere.Restore(t.Context(), spec(r, "b"), "agent2"); err != nil || res.State.Commit != "" {
		t.Errorf("Restore = %+v, %v", res, err)
	}
	states, err := m.Checkpoints("rig")
	if err != nil || len(states) != 1 || !states[0].Work || states[0].Branch != "a" || states[0].AgentID != "agent" {
		t.Errorf("Checkpoints = %+v, %v", states, err)
	}
}

// TestAnotherBranchIsNoneOfACheckpoint: an agent that was on one bead begins the next
// where anybody would.
func TestAnotherBranchIsNoneOfACheckpoint(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	branchWith(t, m, r, "polecat/toast/1", "f=1")
	for _, dirty := range []bool{false, true} {
		if dirty {
			write(t, filepath.Join(m.rigs["rig"].path("polecat/toast/1"), "g"), "2")
		}
		_, err := m.Checkpoint(t.Context(), "rig", "polecat/toast/1", "toast", Owner{})
		must(t, err)
		_, err = m.PushCheckpoint(t.Context(), "rig", "polecat/toast/1", "toast")
		must(t, err)
		res, err := m.Restore(t.Context(), spec(r, fmt.Sprint("polecat/toast/", dirty)), "toast")
		if err != nil || res.Applied || git(t, res.Dir, "rev-parse", "HEAD") != r.Git("rev-parse", "main") || git(t, res.Dir, "status", "--porcelain") != "" {
			t.Errorf("Restore = %+v, %v", res, err)
		}
	}
}

func TestRestoreInARepositoryWithoutCommits(t *testing.T) {
	r := gittest.New(t, gittest.Options{Empty: true})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	write(t, filepath.Join(w.Dir, "f"), "1")
	_, err := m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	must(t, err)
	must(t, m.Remove(t.Context(), "rig", "a", true))
	res, err := m.Restore(t.Context(), spec(r, "a"), "agent")
	if err != nil || !res.Applied || git(t, res.Dir, "status", "--porcelain") != "?? f" {
		t.Errorf("Restore = %+v, %v", res, err)
	}
}

func TestRestoreAsAnAgentsUser(t *testing.T) {
	m := isolated(t)
	r := gittest.New(t, gittest.Options{})
	w := mustWorktree(t, m, ownedSpec(r, "polecat/alice/1", uidA))
	_, err := shellAs(uidA, w.GID, w.Dir, "", "echo 1 > f; git commit -q --allow-empty -m one; mkdir d; echo 2 > d/g")
	must(t, err)
	_, err = m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{})
	must(t, err)
	must(t, m.Remove(t.Context(), "rig", w.Branch, true))
	res, err := m.Restore(t.Context(), ownedSpec(r, "polecat/alice/1", uidB), "agent")
	must(t, err)
	if out, err := gitAs(uidB, res.GID, res.Dir, "status", "--porcelain", "-uall"); err != nil || out != "?? d/g\n?? f" {
		t.Errorf("status %q, %v", out, err)
	}
	if uidOf(t, filepath.Join(res.Dir, "d/g")) != uidB {
		t.Error("its files are another's")
	}
	if out, err := gitAs(uidB, res.GID, res.Dir, "commit", "-q", "--allow-empty", "-m", "two"); err != nil {
		t.Errorf("commit: %s", out)
	}
}

// TestRestoreKilledAnywhereIsBegunAgain kills each git that writes files, once so many of
// them are written.
func TestRestoreKilledAnywhereIsBegunAgain(t *testing.T) {
	const files = 100
	r := gittest.New(t, gittest.Options{Files: files})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	for i := range files {
		path := filepath.Join(w.Dir, fmt.Sprintf("dir000/file%05d.txt", i))
		write(t, path, fmt.Sprint("changed ", i))
		must(t, os.Chmod(path, 0o755)) // so that a shell can tell
	}
	_, err := m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	must(t, err)
	_, err = m.PushCheckpoint(t.Context(), "rig", "a", "agent")
	must(t, err)
	killed := 0
	for command, written := range map[string]string{"checkout": "-e", "read-tree": "-x"} {
		for _, after := range []int{-1, 0, files / 3, files * 2 / 3, files - 1} {
			until := "true"
			if after >= 0 {
				until = fmt.Sprintf(`[ %s "$GIT_WORK_TREE/dir000/file%05d.txt" ]`, written, after)
			}
			flag := filepath.Join(t.TempDir(), "kill")
			write(t, flag, "")
			there := newManager(t, func(c *Config) {
				c.Git = slowGit(t, fmt.Sprintf(`if [ "$1" = %s ] && [ -e '%s' ]; then git "$@" & until %s; do :; done; kill -9 $!; wait $!; exit; fi`, command, flag, until))
			})
			_, err := there.Prepare(t.Context(), "rig", r.URL(), false, nil)
			must(t, err)
			if _, err := there.Restore(t.Context(), spec(r, "a"), "agent"); err != nil {
				killed++
				t.Log(err)
			}
			must(t, os.Remove(flag))
			res, err := there.Restore(t.Context(), spec(r, "a"), "agent")
			must(t, err)
			if n := strings.Count(git(t, res.Dir, "status", "--porcelain"), "\n") + 1; n != files || git(t, res.Dir, "diff", "--cached", "--name-only") != "" {
				t.Errorf("%s killed after %d files: %d are changed: %+v", command, after+1, n, res)
			}
			if git(t, res.Dir, "symbolic-ref", "HEAD") != "refs/heads/a" {
				t.Error("HEAD is detached")
			}
		}
	}
	if killed == 0 {
		t.Error("nothing was killed")
	}
}

func TestPushOfACheckpointTellsWhyItFailed(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("", "")
	m := newManager(t)
	w, err := m.Worktree(t.Context(), httpSpec(h, "a"))
	must(t, err)
	write(t, filepath.Join(w.Dir, "f"), "1")
	cp, err := m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	must(t, err)
	for fault, kind := range map[gittest.Fault]error{gittest.Unauthorized: ErrAuth, gittest.Forbidden: ErrDenied, gittest.Broken: ErrNetwork, gittest.NotFound: ErrRepository} {
		h.Set(fault)
		_, err := m.PushCheckpoint(t.Context(), "rig", "a", "agent")
		wantKind(t, err, kind, "push checkpoint of rig rig branch a: git push: ")
		wantKind(t, err, town.ErrGit, "")
	}
	h.Set(gittest.Serve)
	pushed, err := m.PushCheckpoint(t.Context(), "rig", "a", "agent")
	if err != nil || !pushed || r.Git("rev-parse", cp.Ref) != cp.Commit {
		t.Errorf("pushed %v, %v", pushed, err)
	}
}

func FuzzSecretIn(f *testing.F) {
	for name, text := range fakeSecrets {
		f.Add(name, []byte(text))
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		if why := secretIn(name, b); strings.Contains(why, "\n") {
			t.Fatal(why)
		}
	})
}

func TestListOfCheckpointsReadsNoOtherRefs(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "a"))
	write(t, filepath.Join(w.Dir, "f"), "f")
	_, err := m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	must(t, err)
	heads := filepath.Join(m.rigs["rig"].repo, headsPrefix)
	must(t, syscall.Mkfifo(filepath.Join(heads, "pipe"), 0o666)) // an agent's: reading it never ends
	write(t, filepath.Join(heads, "x.lock"), "")
	if all, err := m.Checkpoints("rig"); err != nil || len(all) != 1 || all[0].AgentID != "agent" {
		t.Errorf("Checkpoints = %+v, %v", all, err)
	}
	must(t, m.Remove(t.Context(), "rig", "a", true))
	if s := mustSweep(t, m, Policy{OlderThan: 1, CheckpointsOlderThan: 1, Keep: keepOnly()}); s.Checkpoints != 1 {
		t.Errorf("swept %+v", s)
	}
	must(t, os.Remove(filepath.Join(heads, "pipe")))
}
