package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"townd/gitmgr/gittest"
	"townd/supervisor/agenttest"
	"townd/town"
)

// needRoot skips what only root promises: isolation between agents.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("isolation between agents is promised to root only")
	}
}

// hostileTown is a town with a victim and a hostile agent in one rig.
type hostileTown struct {
	*testTown
	victim town.Agent
	repo   string // of the rig
	trap   string // directory of a program that tells as whom it ran
}

func newHostileTown(t *testing.T) *hostileTown {
	t.Helper()
	ht := &hostileTown{testTown: newTown(t, nil), trap: agenttest.Home(t)}
	ht.repo = filepath.Join(ht.home, "rigs/rig/repo.git")
	script := fmt.Sprintf("#!/bin/sh\nid -u >>%s/ran\nexit 1\n", ht.trap)
	if err := os.WriteFile(filepath.Join(ht.trap, "trap"), []byte(script), 0o755); err != nil { //nolint:gosec // run by anybody
		t.Fatal(err)
	}
	if err := os.Chmod(ht.trap, 0o777); err != nil { //nolint:gosec // written by anybody
		t.Fatal(err)
	}
	ht.victim = ht.start(ht.request("victim", "bash", "-c",
		`echo dear >~/diary; echo work >work.txt; git add work.txt; git commit -qm work; echo ready; exec sleep 10000`))
	ht.ready("victim")
	return ht
}

// hostileRequest asks for the hostile agent.
func (ht *hostileTown) hostileRequest() town.StartRequest {
	ht.t.Helper()
	p := plan{
		Home: ht.home, Address: ht.address, Repo: ht.repo, OwnID: "mallory", DefaultBranch: ht.remote.Branch,
		VictimID: "victim", VictimRun: ht.victim.RunID, VictimDir: ht.victim.Workdir, VictimBranch: ht.victim.Branch,
		Processes: map[string]int{"server": ht.server.Process.Pid, "keeper": ht.keeperPID(), "victim": *ht.victim.PID},
	}
	data, err := json.Marshal(p)
	if err != nil {
		ht.t.Fatal(err)
	}
	req := ht.request("mallory", ht.agent[0], hostileArgument)
	req.EnvVars = map[string]string{planEnv: string(data), "TRAP": ht.trap}
	return req
}

// keeperPID finds the keeper in /proc.
func (tt *testTown) keeperPID() int {
	tt.t.Helper()
	for _, p := range tt.processes() {
		if strings.Contains(p.command, program+" keeper ") {
			return p.pid
		}
	}
	tt.t.Fatal("no keeper is there")
	return 0
}

// A hostile agent gets at nothing of the server, the keeper and another agent of
// its rig: each of its attempts is told with what it met.
func TestHostileAgentIsRefused(t *testing.T) {
	t.Parallel()
	needRoot(t)
	ht := newHostileTown(t)
	before := ht.evidence()
	req := ht.hostileRequest()
	ht.start(req)
	attempts := 0
	output := ht.follow("mallory", func(p []byte) bool { return bytes.Contains(p, []byte("over\r\n")) })
	for line := range strings.Lines(string(output)) {
		var a attempt
		if json.Unmarshal([]byte(line), &a) != nil {
			continue
		}
		attempts++
		if a.Refusal == "" {
			t.Errorf("BREACH: %s", a.Name)
		} else {
			t.Logf("%s: %s", a.Name, a.Refusal)
		}
	}
	if attempts < 300 || !bytes.Contains(output, []byte("over\r\n")) {
		t.Errorf("%d attempts; it ended with %q", attempts, tail(output, 1000))
	}
	if names := abstractSockets(t, ht.server.Process.Pid, ht.keeperPID()); len(names) > 0 {
		t.Errorf("an agent could take %q when their holder dies, and keep the next one out", names)
	}
	ht.compare(before, ht.evidence())
	ht.tripOver(req)
	ht.compare(before, ht.evidence())
}

// tripOver has the server handle all that the hostile agent has planted.
func (ht *hostileTown) tripOver(req town.StartRequest) {
	t := ht.t
	t.Helper()
	planted := filepath.Join(ht.trap, "prompt.md")
	look := func(when string) {
		if d, err := ht.Diff(t.Context(), "mallory", 0); err != nil {
			t.Logf("diff %s: %v", when, err)
		} else {
			t.Logf("diff %s: %d files", when, len(d.Files))
		}
		_, err := os.Lstat(planted)
		ran, _ := os.ReadFile(filepath.Join(ht.trap, "ran")) // missing when nothing ran
		if err == nil || strings.Contains("\n"+string(ran), "\n0\n") {
			t.Errorf("%s: the server was led to write in %s (%v), the trap ran as users %q", when, planted, err == nil, ran)
		}
	}
	look("after planting")
	if _, err := ht.Message(t.Context(), "mallory", town.MessageRequest{Prompt: "swap"}, ""); err != nil {
		t.Fatal(err)
	}
	ht.follow("mallory", func(p []byte) bool { return bytes.Contains(p, []byte("swapped\r\n")) })
	look("after swapping the repository")
	ht.stop("mallory", town.StopRequest{})
	look("after the stop")
	again, err := ht.Start(t.Context(), req)
	if t.Logf("started again: %s %v", again.Status, err); err != nil && strings.Contains(err.Error(), "internal error") {
		t.Error("the answer to a start that fails because of what the agent did to its home does not say so")
	}
	look("after another start")
	ht.stop("mallory", town.StopRequest{Signal: "SIGKILL"})
	t.Logf("forgotten: %v", ht.Delete(t.Context(), "mallory"))
	look("after it was forgotten")
	next := ht.start(ht.request("next", ht.mode("sleep")...))
	if next.Status != town.StatusRunning {
		t.Errorf("the next agent of the rig is %s %s", next.Status, next.Error)
	}
	look("after another agent's start")
}

// evidence is what a hostile agent must not have changed: by path, what is there.
func (ht *hostileTown) evidence() map[string]string {
	ht.t.Helper()
	facts := make(map[string]string)
	for _, dir := range []string{"token", "agents/victim", "keeper", "rigs/rig/repo.git", "rigs/rig/worktrees/polecat/victim", "runs/" + ht.victim.RunID} {
		root := filepath.Join(ht.home, dir)
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if strings.HasPrefix(filepath.Base(path), "-pool") {
				return fs.SkipDir // what waits there comes and goes
			}
			if errors.Is(err, fs.ErrNotExist) && path != root {
				return nil // it went meanwhile, as a temporary file does
			} else if err != nil {
				return err
			}
			rel, _ := filepath.Rel(ht.home, path)
			if fact, ok := evidenceOf(path, entry); ok {
				facts[rel] = fact
			}
			return nil
		})
		if err != nil {
			ht.t.Fatal(err)
		}
	}
	for _, p := range ht.processes() {
		if p.agentID == "victim" || p.uid == 0 {
			facts[fmt.Sprintf("process %d", p.pid)] = fmt.Sprint(p.uid)
		}
	}
	facts["remote"] = ht.remote.Git("for-each-ref")
	facts["branches"] = gitOutput(ht.t, ht.repo, "for-each-ref", "refs/heads/main", "refs/heads/polecat/victim", "refs/remotes", "refs/replace", "refs/town/checkpoints/victim")
	facts["victim"] = fmt.Sprint(ht.status("victim").Status)
	return facts
}

// evidenceOf describes one file. Left out are the logs and sockets that change
// by themselves, and directories that all of a rig may add to.
func evidenceOf(path string, entry fs.DirEntry) (string, bool) {
	info, err := entry.Info()
	if err != nil || entry.Name() == "keeper.log" || entry.Name() == "record.json" || strings.Contains(path, "/repo.git/worktrees/polecat-mallory") {
		return "", false
	}
	fact := fmt.Sprint(info.Mode(), " of ", info.Sys().(*syscall.Stat_t).Uid)
	if info.Mode().IsRegular() {
		data, err := os.ReadFile(path)
		fact += fmt.Sprintf(" %x %v", sha256.Sum256(data), err)
	}
	return fact, true
}

// compare wants everything that was there to be there unchanged.
func (ht *hostileTown) compare(before, after map[string]string) {
	ht.t.Helper()
	for path, want := range before {
		if got, ok := after[path]; !ok || got != want {
			ht.t.Errorf("%s was\n%s\nand is now (there: %v)\n%s", path, want, ok, got)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok && (strings.Contains(path, "/hooks/") || strings.Contains(path, "/info/") || !strings.Contains(path, "repo.git")) {
			ht.t.Errorf("%s is new: %s", path, after[path])
		}
	}
}

// abstractSockets lists the names that processes listen on and that have no file:
// whoever is first has them.
func abstractSockets(t *testing.T, pids ...int) (names []string) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	held := make(map[string]bool)
	for _, pid := range pids {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil || len(links) == 0 {
			t.Fatalf("descriptors of %d: %v", pid, err)
		}
		for _, link := range links {
			target, _ := os.Readlink(link) // one that was just closed is none
			held[target] = true
		}
	}
	for line := range strings.Lines(string(table)) {
		// Num RefCount Protocol Flags Type St Inode Path, unix(7) and proc(5)
		if f := strings.Fields(line); len(f) == 8 && f[7][0] == '@' && held["socket:["+f[6]+"]"] {
			names = append(names, f[7])
		}
	}
	return names
}

func gitOutput(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := gittest.Command(dir, append([]string{"-c", "safe.directory=*"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// The branch of a forgotten agent stays as it was, also when another agent gets
// its user.
func TestForgottenAgentsBranchIsNotItsSuccessors(t *testing.T) {
	t.Parallel()
	needRoot(t)
	tt := newTown(t, map[string]string{"TOWND_POOL_SIZE": "0"}) // whose users would come first
	tt.start(tt.request("first", "bash", "-c", "git commit -q --allow-empty -m mine; echo ready; exec sleep 10000"))
	tt.ready("first")
	tt.stop("first", town.StopRequest{})
	if err := tt.Delete(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	repo := filepath.Join(tt.home, "rigs/rig/repo.git")
	before := gitOutput(t, repo, "rev-parse", "refs/heads/polecat/first/bead")
	tt.start(tt.request("second", "bash", "-c", `git update-ref refs/heads/polecat/first/bead HEAD
		echo 0123456789012345678901234567890123456789 >`+repo+`/refs/heads/polecat/first/bead; rm -f `+repo+`/refs/heads/polecat/first/bead; echo ready; exec sleep 10000`))
	tt.ready("second")
	t.Logf("second agent: %s", tt.follow("second", func(p []byte) bool { return bytes.Contains(p, []byte("ready")) }))
	if after := gitOutput(t, repo, "for-each-ref", "--format=%(objectname)", "refs/heads/polecat/first"); after != before {
		t.Errorf("the branch was at %s and is now at %q", before, after)
	}
	tt.start(tt.request("first", "bash", "-c", "git commit -q --allow-empty -m more; echo ready; exec sleep 10000"))
	tt.ready("first")
	if got := gitOutput(t, repo, "log", "--format=%s", "-2", "refs/heads/polecat/first/bead"); got != "more\nmine" {
		t.Errorf("the agent that came back to its branch has %q on it, want more on top of mine", got)
	}
}

// An agent does not begin on what another one put in the place of its branch.
func TestPlantedBranchIsNotStartedOn(t *testing.T) {
	t.Parallel()
	needRoot(t)
	tt := newTown(t, nil)
	tt.start(tt.request("mallory", "bash", "-c", `git commit -q --allow-empty -m planted; git update-ref refs/heads/polecat/next/bead HEAD; echo ready; exec sleep 10000`))
	tt.ready("mallory")
	next, err := tt.Start(t.Context(), tt.request("next", "bash", "-c", "git log --format=%s -1; echo ready; exec sleep 10000"))
	if err != nil {
		t.Logf("refused: %v", err)
		return
	}
	output := tt.follow("next", func(p []byte) bool { return bytes.Contains(p, []byte("ready")) })
	if bytes.Contains(output, []byte("planted")) {
		t.Errorf("the agent works on another one's commit: %s in %s", output, next.Workdir)
	}
}
