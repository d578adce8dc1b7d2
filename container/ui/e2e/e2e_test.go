// Package e2e_test looks at the dashboard as a person does: a real browser at a
// real town, whose server is killed meanwhile.
package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/container/ui/e2e/steps"
	"townd/gitmgr/gittest"
	"townd/llm/llmtest"
	"townd/supervisor/agenttest"
)

const (
	// patience says nothing about how fast it should be: the machine may be busy.
	patience = 8 * time.Minute
	users    = 100
	token    = "a-token-of-the-test"
	held     = 16 << 20 // bytes of a run's output: less than a step prints
)

// TestDashboardInABrowser has one subtest for each step of dashboard.mjs, which
// depend on each other. TOWND_UI_SHOTS names a directory for pictures of each view.
func TestDashboardInABrowser(t *testing.T) {
	claude := llmtest.Program(t, "claude")
	_, model := llmtest.Serve(t, conversation)
	tt := serve(t, "PATH="+agenttest.Reachable(t, claude)+":"+os.Getenv("PATH"),
		"LLM_PROVIDER=claude", "LLM_BASE_URL="+model, "LLM_API_KEY=sk-of-nobody", fmt.Sprint("TOWND_TRANSCRIPT_BYTES=", held),
		`TOWND_QUOTA_PROBE=echo '{"pct": 40.2, "limit": "five_hour", "reset_at_iso": "2100-01-02T15:04:05Z"}'`)
	remote := gittest.NewAt(t, filepath.Join(agenttest.Home(t), "remote.git"), gittest.Options{Files: 3})
	tt.townd(t, "rig", "add", "site", "--repo", remote.Path, "--cli", "demo")
	steps.Run(t, "dashboard.mjs", patience, "TOWND_URL="+tt.url(), "TOWND_TOKEN="+token,
		"SERVER_LOCK="+filepath.Join(tt.home, "server.lock"), "SHOTS="+os.Getenv("TOWND_UI_SHOTS"))
}

// conversation is a model that says what a page must not run, calls a tool and is
// done.
func conversation(r *llmtest.Request) llmtest.Step {
	if r.Last().Role != "tool" {
		return llmtest.Step{
			Text:  "<img src=x onerror=alert(1)> I write.",
			Tools: []llmtest.Tool{{Name: "write", Input: map[string]any{"file_path": "one.txt", "content": "<b>written</b>\n"}}},
		}
	}
	return llmtest.Step{Text: "It is done.", Header: http.Header{
		"Anthropic-Ratelimit-Input-Tokens-Limit": {"50000"}, "Anthropic-Ratelimit-Input-Tokens-Remaining": {"2100"},
		"Anthropic-Ratelimit-Input-Tokens-Reset": {time.Now().Add(time.Hour).UTC().Format(time.RFC3339)},
	}}
}

// uiTown is a town of the test's own.
type uiTown struct {
	home, address string
	program       string   // townd
	env           []string // of a command that talks to the town
}

func (tt *uiTown) url() string { return "http://" + tt.address }

// townd runs a command that talks to the town.
func (tt *uiTown) townd(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tt.program, args...)
	cmd.Env = tt.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("townd %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// serve starts a town, whose keeper brings its server back.
func serve(t *testing.T, settings ...string) *uiTown {
	tt := &uiTown{home: agenttest.Home(t), address: freeAddress(t), program: filepath.Join(agenttest.Home(t), "townd")}
	if out, err := exec.Command("go", "build", "-o", tt.program, "townd/cmd/townd").CombinedOutput(); err != nil {
		t.Fatalf("build townd: %v\n%s", err, out)
	}
	base := 1<<24 + users*rand.Uint32N(1<<18) // far from those of a town at work here
	tt.env = append([]string{
		"HOME=" + tt.home, "TOWND_HOME=" + tt.home, "TOWND_LISTEN=" + tt.address, "TOWND_URL=" + tt.url(),
		"TOWND_TOKEN=" + token, "TOWND_GIT_PROTOCOLS=file", "TOWND_STOP_SECONDS=5",
		fmt.Sprint("TOWND_UID_BASE=", base), fmt.Sprint("TOWND_GID_BASE=", base), fmt.Sprint("TOWND_UID_COUNT=", users),
	}, settings...)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	keeper := exec.Command(tt.program, "keeper", "--", tt.program, "serve")
	keeper.Env, keeper.Stdout, keeper.Stderr = tt.env, log, log
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = keeper.Process.Signal(syscall.SIGTERM)
		_ = keeper.Wait() // its exit code tells of the killed server
		if t.Failed() {
			data, _ := os.ReadFile(log.Name())
			t.Logf("the town's log:\n%s", data[max(0, len(data)-20_000):])
		}
		log.Close()
	})
	await(t, tt.address)
	return tt
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await returns when something listens on address: a socket has no event for it.
func await(t *testing.T, address string) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
