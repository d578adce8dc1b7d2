package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"townd/llm/llmtest"
	"townd/town"
)

// The tests of this file are the promises of the README, each kept through run,
// against a server that is a process of its own.

func TestAgentIsStartedWatchedAskedAndStopped(t *testing.T) {
	tt := startTown(t)
	id := strings.TrimSpace(tt.ok("start", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c",
		`echo "here: $(git branch --show-current)"; while read -r line; do echo "heard $line"; echo "$line" >>notes; done`))
	if id != "toast" {
		t.Fatalf("start printed %q, want the agent's id", id)
	}
	wantContains(t, "ps", tt.ok("ps"), "toast", "polecat", "running", "polecat/toast/")
	if got := tt.ok("message", "toast", "good", "morning"); len(strings.TrimSpace(got)) != 26 {
		t.Errorf("message printed %q, want its id", got)
	}
	out, ctx := newBuffer(), t.Context()
	followed := tt.background(ctx, out, "logs", "-f", "toast")
	out.await(t, "here: polecat/toast/")
	out.await(t, "heard good morning")
	wantContains(t, "screen", tt.ok("screen", "toast"), "heard good morning")
	wantContains(t, "diff", tt.ok("diff", "toast"), "+++ b/notes", "+good morning")
	wantContains(t, "diff --stat", tt.ok("diff", "--stat", "toast"), "1      0        notes")

	if got, want := tt.ok("stop", "toast"), "toast stopped"; !strings.HasPrefix(got, want) {
		t.Errorf("stop printed %q, want %q", got, want)
	}
	if code := <-followed; code != 0 {
		t.Errorf("logs -f ended with %d", code)
	}
	wantContains(t, "artifacts", tt.ok("artifacts", "toast"), "NAME", "changes.patch  diff")
	wantContains(t, "artifacts NAME", tt.ok("artifacts", "toast", "changes.patch"), "+++ b/notes", "+good morning")
	kept := filepath.Join(t.TempDir(), "kept.patch")
	tt.ok("artifacts", "toast", "changes.patch", "-o", kept)
	if r := tt.townd("artifacts", "toast", "changes.patch", "-o", kept); r.code != exitFailure || !strings.Contains(r.err, "exists") {
		t.Errorf("artifacts over a file that is there: code %d, %q", r.code, r.err)
	}
	if r := tt.townd("artifacts", "toast", "other", "-o", kept+"2"); r.code != exitFailure || !strings.Contains(r.err, "other") {
		t.Errorf("artifacts of a name that is not there: code %d, %q", r.code, r.err)
	}
	if _, err := os.Lstat(kept + "2"); err == nil {
		t.Error("a file was made for an artifact that is not there")
	}
	wantContains(t, "events", tt.ok("events", "toast"), `"status":"running"`, `"reason":"stopped"`)
	wantContains(t, "logs -n 1", tt.ok("logs", "-n", "1", "toast"), "heard good morning")
	if got := tt.ok("logs", "-n", "1", "toast"); strings.Count(got, "\n") != 1 {
		t.Errorf("logs -n 1 printed %q", got)
	}
	if r := tt.townd("message", "toast", "still there?"); r.code != exitFailure || !strings.Contains(r.err, "toast") {
		t.Errorf("message to an agent that ended: code %d, %q", r.code, r.err)
	}
	tt.ok("rm", "toast")
	if got := tt.ok("ps", "--json"); !strings.Contains(got, `"agents": []`) {
		t.Errorf("after rm there is: %s", got)
	}
}

func TestRunEndsAsItsAgentDid(t *testing.T) {
	tt := startTown(t)
	for _, c := range []struct {
		name    string
		args    []string
		code    int
		out, on string // parts of the output and of what is told on stderr
	}{
		{"well", []string{"--", "sh", "-c", "cat README.md"}, 0, "# slug", "exited: exited"},
		{"with a code", []string{"--", "sh", "-c", "echo no; exit 3"}, 3, "no", "crashed (code 3)"},
		{"by a signal", []string{"--", "sh", "-c", "kill -KILL $$"}, 137, "", "SIGKILL"},
		{"too late", []string{"--max-time", "300ms", "--", "sleep", "600"}, exitTimeout, "", "timeout"},
		{"never ran", []string{"--", "no-such-program"}, exitFailure, "", "no-such-program"},
		{"no such repository", []string{"--rig", "r", "--", "true"}, exitFailure, "", "nowhere"},
		{"the built-in agent", []string{"--cli", "demo", "-e", "DEMO_FAST=1", "-p", "Write a haiku"}, 0, "write-a-haiku.md", "exited"},
	} {
		t.Run(c.name, func(t *testing.T) {
			repo := tt.repo
			if c.on == "nowhere" {
				repo = "/nowhere"
			}
			r := tt.townd(append([]string{"run", "--repo", repo}, c.args...)...)
			if r.code != c.code {
				t.Errorf("code %d, want %d", r.code, c.code)
			}
			wantContains(t, "stdout", r.out, c.out)
			wantContains(t, "stderr", r.err, c.on)
		})
	}
}

func TestRunEndsWithTheTurnOfAnAgentThatWouldWait(t *testing.T) {
	claude := llmtest.Program(t, "claude")
	_, model := llmtest.Serve(t, llmtest.WriteFile("haiku.txt", "an old silent pond"))
	tt := startTownWith(t, map[string]string{
		"TOWND_UID_COUNT": "0", // the program may lie where other users cannot go
		"PATH":            filepath.Dir(claude) + ":" + os.Getenv("PATH"),
	})
	args := []string{"run", "--repo", tt.repo, "--name", "toast", "--cli", "claude", "-p", "Write a haiku"}
	for name, value := range llmtest.ClaudeEnv(model) {
		args = append(args, "-e", name+"="+value)
	}
	r := tt.townd(args...)
	if r.code != 0 {
		t.Errorf("code %d: %s", r.code, r.err)
	}
	wantContains(t, "stdout", r.out, "→ Write ", "● turn ended")
	wantContains(t, "diff", tt.ok("diff", "toast"), "+an old silent pond")
	wantContains(t, "logs", tt.ok("logs", "toast"), "→ Write ")
	wantContains(t, "logs --raw", tt.ok("logs", "--raw", "toast"), `"type":"result"`)
	if r := tt.townd("attach", "toast"); r.code != exitFailure {
		t.Errorf("attach to an agent without a terminal ended with %d", r.code)
	}
}

func TestRunStopsItsAgentWhenItIsInterrupted(t *testing.T) {
	tt := startTown(t)
	ctx, interrupt := context.WithCancel(t.Context())
	out := newBuffer()
	ended := tt.background(ctx, out, "run", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c", "echo at work; sleep 600")
	out.await(t, "at work")
	interrupt()
	if code := <-ended; code != exitStopped {
		t.Errorf("code %d, want %d", code, exitStopped)
	}
	var listed struct{ Agents []town.Agent }
	if err := json.Unmarshal([]byte(tt.ok("ps", "--json")), &listed); err != nil {
		t.Fatal(err)
	}
	if len(listed.Agents) != 1 || listed.Agents[0].Reason != town.ReasonStopped {
		t.Errorf("agents: %+v, want one that is stopped", listed.Agents)
	}
}

func TestKilledServerLosesNoByteAndNoAgent(t *testing.T) {
	tt := startTown(t)
	const count = 200000
	tt.ok("start", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c",
		fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo $i; done; read -r end", count))
	out := newBuffer()
	followed := tt.background(t.Context(), out, "logs", "-f", "toast")
	out.await(t, "1000\r\n")
	for range 3 {
		tt.kill()
		tt.serve()
	}
	out.await(t, fmt.Sprintf("\n%d\r\n", count))
	tt.ok("message", "toast", "end")
	if code := <-followed; code != 0 {
		t.Errorf("logs -f ended with %d", code)
	}
	var want strings.Builder
	for i := 1; i <= count; i++ {
		fmt.Fprintf(&want, "%d\r\n", i)
	}
	want.WriteString("end\r\n") // the terminal's echo
	if got := out.String(); got != want.String() {
		t.Errorf("followed %d bytes, printed %d; the first difference is at byte %d", len(got), want.Len(), difference(got, want.String()))
	}
	if got := tt.ok("logs", "toast"); got != want.String() {
		t.Errorf("logs differ at byte %d", difference(got, want.String()))
	}
}

func difference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestStopAllStopsEveryAgent(t *testing.T) {
	tt := startTown(t)
	for _, name := range []string{"amber", "birch", "cedar"} {
		tt.ok("start", "--repo", tt.repo, "--name", name, "--", "sleep", "600")
	}
	got := tt.ok("stop", "--all", "--grace", "5s")
	wantContains(t, "stop --all", got, "amber stopped", "birch stopped", "cedar stopped")
	if got := tt.ok("ps", "--live"); strings.Count(got, "\n") != 1 {
		t.Errorf("live agents are left:\n%s", got)
	}
	wantContains(t, "health", tt.ok("health"), "ok", "0 of at most 256")
}

func TestServerEndsItsAgentsOnSIGTERM(t *testing.T) {
	tt := startTown(t)
	tt.ok("start", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c", "trap '' TERM HUP; echo $$ >pid; while :; do sleep 600; done")
	var a town.Agent
	waitFor(t, "the agent's pid file", func() bool {
		var listed struct{ Agents []town.Agent }
		if err := json.Unmarshal([]byte(tt.ok("ps", "--json")), &listed); err != nil {
			t.Fatal(err)
		}
		a = listed.Agents[0]
		_, err := os.Stat(filepath.Join(a.Workdir, "pid"))
		return err == nil
	})
	tt.end()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", *a.PID)); err == nil {
		t.Errorf("process %d of the agent outlived the town", *a.PID)
	}
	waitFor(t, "the keeper's end", func() bool { return len(processesWith(t, tt.home)) == 0 })
}

// processesWith returns the command lines that hold text.
func processesWith(t *testing.T, text string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), text) {
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

func TestCommandsSayWhatToDo(t *testing.T) {
	tt := startTown(t)
	other := tt.env()
	other["TOWND_TOKEN"] = "wrong"
	nobody := tt.env()
	nobody["TOWND_URL"] = "http://" + freeAddress(t)
	far := tt.env()
	far["TOWND_URL"] = "https://town.example"
	odd := tt.env()
	odd["TOWND_URL"] = "127.0.0.1:8080"
	elsewhere := tt.env()
	elsewhere["TOWND_HOME"] = shortDir(t)
	for _, c := range []struct {
		name string
		env  map[string]string
		args []string
		code int
		want string
	}{
		{"no server", nobody, []string{"ps"}, exitFailure, "start one with `townd serve`"},
		{"wrong token", other, []string{"ps"}, exitFailure, "set TOWND_TOKEN"},
		{"another machine without a token", far, []string{"ps"}, exitFailure, "TOWND_TOKEN: set it"},
		{"no address", odd, []string{"ps"}, exitFailure, "TOWND_URL: must be http://host:port"},
		{"no agent", tt.env(), []string{"logs", "nobody"}, exitFailure, `agent "nobody"`},
		{"no id", tt.env(), []string{"stop"}, exitUsage, "townd ps lists them"},
		{"all and some", tt.env(), []string{"stop", "--all", "toast"}, exitUsage, "not both"},
		{"unknown command", tt.env(), []string{"stpo"}, exitFailure, `unknown command "stpo"`},
		{"unknown flag", tt.env(), []string{"ps", "--jsno"}, exitUsage, "usage: townd ps"},
		{"a program without --", tt.env(), []string{"run", "make", "test"}, exitUsage, "come after --"},
		{"no terminal", tt.env(), []string{"attach", "toast"}, exitFailure, "townd logs -f toast"},
		{"no such role", tt.env(), []string{"start", "--repo", "/r", "--role", "baker", "--", "true"}, exitFailure, "role must be one of"},
		{"reserved variable", tt.env(), []string{"start", "--repo", "/r", "-e", "PATH=/x", "--", "true"}, exitFailure, "envVars.PATH is set by the town"},
		{"unset variable", tt.env(), []string{"start", "--repo", "/r", "-e", "NOPE", "--", "true"}, exitFailure, "NOPE=VALUE"},
		{"no token here", elsewhere, []string{"token"}, exitFailure, "townd serve makes it"},
		{"server of a taken home", tt.env(), []string{"serve"}, exitFailure, "runs already"},
		{"server of a taken address", elsewhere, []string{"serve"}, exitFailure, "is in use by another program"},
		{"a demonstration at a taken address", tt.env(), []string{"try"}, exitFailure, "TOWND_LISTEN=127.0.0.1:8081 make run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runTownd(t.Context(), c.env, c.args...)
			if r.code != c.code {
				t.Errorf("code %d, want %d", r.code, c.code)
			}
			wantContains(t, "stderr", r.err, c.want)
		})
	}
}

func TestTokenIsMadeOnceAndForTheServersUserOnly(t *testing.T) {
	tt := startTown(t)
	token := tt.ok("token")
	info, err := os.Stat(filepath.Join(tt.home, "token"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("token file is %v, want 0600", info.Mode().Perm())
	}
	tt.kill()
	tt.serve()
	if again := tt.ok("token"); again != token || len(token) < 44 {
		t.Errorf("token %q, after a restart %q", token, again)
	}
	if strings.Contains(tt.log.String(), strings.TrimSpace(token)) {
		t.Error("the server's log holds the token")
	}
}

func TestSecondSignalDoesNotWaitForStubbornAgents(t *testing.T) {
	tt := startTownWith(t, map[string]string{"TOWND_STOP_SECONDS": "600"})
	out := newBuffer()
	followed := tt.background(t.Context(), out, "run", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c",
		"trap '' TERM HUP; echo stubborn; while :; do sleep 600; done")
	out.await(t, "stubborn")
	tt.signal(syscall.SIGTERM)
	tt.log.await(t, `"status":"stopping"`)
	tt.signal(syscall.SIGTERM)
	if err := tt.server.Wait(); err != nil {
		t.Errorf("server: %v\n%s", err, tt.log)
	}
	if code := <-followed; code != exitKilled {
		t.Errorf("run ended with %d, want %d", code, exitKilled)
	}
}

func TestHangupEndsTheServerOnly(t *testing.T) {
	tt := startTown(t)
	tt.ok("start", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c", "read -r line; echo heard $line; read -r end")
	tt.signal(syscall.SIGHUP)
	if err := tt.server.Wait(); err != nil {
		t.Fatalf("server: %v\n%s", err, tt.log)
	}
	tt.log = newBuffer()
	tt.serve()
	out := newBuffer()
	followed := tt.background(t.Context(), out, "logs", "-f", "toast")
	tt.ok("message", "toast", "you again") // it reads on: of one that ends at once nobody knows whether it had read
	tt.ok("stop", "toast")
	if code := <-followed; code != 0 {
		t.Errorf("logs -f ended with %d", code)
	}
	wantContains(t, "logs", out.String(), "heard you again")
}

func TestServerRefusesTheUsersOfAnotherTown(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root's agents have users of their own")
	}
	tt := startTown(t)
	rival := tt.env()
	rival["TOWND_HOME"], rival["TOWND_LISTEN"] = shortDir(t), "127.0.0.1:0"
	r := runTownd(t.Context(), rival, "serve")
	if r.code != exitFailure {
		t.Errorf("code %d, want %d", r.code, exitFailure)
	}
	wantContains(t, "stderr", r.err, "choose another TOWND_UID_BASE")

	// Its agents keep their users while it is down.
	tt.ok("start", "--repo", tt.repo, "--name", "toast", "--", "sleep", "600")
	tt.kill()
	r = runTownd(t.Context(), rival, "serve")
	wantContains(t, "stderr", r.err, "which is for this town's agents")
	tt.serve()
}
