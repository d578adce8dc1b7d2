package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"townd/coordinator/tools/tooltest"
	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/supervisor/agenttest"
	"townd/town"
)

// newHallTown starts a town with a coordinator, which has the bead of toast.
func newHallTown(t *testing.T, env map[string]string) (*testTown, *tooltest.Hall) {
	t.Helper()
	hall := tooltest.Serve(t)
	hall.Beads["bead-toast"] = town.Bead{
		ID: "bead-toast", RigID: "rig", Title: "write a page", Body: "It says that all is well.", Status: town.BeadInProgress, AgentID: "toast", MaxAttempts: 3,
	}
	env["TOWND_COORDINATOR_URL"], env["TOWND_TOWN_ID"], env["TOWND_TOKEN"] = hall.URL, tooltest.TownID, tooltest.Token
	return newTown(t, env), hall
}

// beadRequest is the start of toast with its bead on the hook.
func (tt *testTown) beadRequest(argv ...string) town.StartRequest {
	req := tt.request("toast", argv...)
	req.TownID, req.BeadID, req.Generation = tooltest.TownID, "bead-toast", 3
	return req
}

// commitPage is a command line that does the work of the bead.
const commitPage = "echo all is well > page.txt && git add page.txt && git commit -q -m page"

// Every real CLI finds the town's tools, under the names that its prompt tells, and
// calls gt_prime, gt_checkpoint and gt_done itself: what its model says reaches the
// coordinator in the agent's name, and its branch the remote.
// Proves N2, N13.
func TestEveryCLICallsTheTownsTools(t *testing.T) {
	t.Parallel()
	for _, cli := range realCLIs {
		t.Run(cli.name, func(t *testing.T) {
			t.Parallel()
			model, url := llmtest.Serve(t, worker)
			tt, hall := newHallTown(t, map[string]string{
				"LLM_PROVIDER": cli.provider, "LLM_BASE_URL": url, "LLM_API_KEY": canary,
				"PATH": agenttest.Reachable(t, llmtest.Program(t, cli.name)) + ":" + os.Getenv("PATH"),
			})
			req := tt.beadRequest()
			req.CLI, req.Command, req.Model, req.Prompt = cli.name, nil, cli.model, "Work on your bead."
			agent := tt.start(req)
			a := tt.untilStatus("toast", town.StatusExited)
			if a.Reason != town.ReasonDone {
				t.Errorf("ended as %q, want done", a.Reason)
			}
			checkHandedOver(t, tt, hall, agent)
			checkToolsTold(t, model, cli.name)
		})
	}
}

// worker is a model that works on a bead by the town's tools.
func worker(r *llmtest.Request) llmtest.Step {
	results := 0
	for _, m := range r.Messages {
		if m.Role == "tool" {
			results++
		}
	}
	tool := func(name string, input map[string]any) llmtest.Step {
		for _, offered := range r.Tools {
			if strings.HasSuffix(offered.Name, name) {
				return llmtest.Step{Tools: []llmtest.Tool{{Name: offered.Name, Input: input}}}
			}
		}
		return llmtest.Step{Text: "There is no " + name + "."}
	}
	switch results {
	case 0:
		return tool("gt_prime", map[string]any{})
	case 1:
		return llmtest.Step{Tools: []llmtest.Tool{shell(r, commitPage)}}
	case 2:
		return tool("gt_checkpoint", map[string]any{"done": "the page", "data": map[string]any{"lines": 1}})
	case 3:
		return tool("gt_done", map[string]any{"summary": "too short"})
	case 4:
		return tool("gt_done", map[string]any{"summary": "Wrote the page that was asked for; nothing is left.", "verified": "ALIGNED"})
	}
	return llmtest.Step{Text: "Done."}
}

// checkHandedOver wants the coordinator to have been told in toast's name alone, and
// the commit on the remote before that.
func checkHandedOver(t *testing.T, tt *testTown, hall *tooltest.Hall, agent town.Agent) {
	t.Helper()
	tip := strings.TrimSpace(tt.remote.Git("rev-parse", agent.Branch))
	want := fmt.Sprintf(`{"epoch":3,"branch":%q,"commit":%q,"summary":"Verified: ALIGNED\n\nWrote the page that was asked for; nothing is left."}`, agent.Branch, tip)
	if got := hall.Told("POST", "/agents/toast/done"); !slices.Equal(got, []string{want}) {
		t.Errorf("done was told as %q, want %s", got, want)
	}
	if got := hall.Told("POST", "/agents/toast/checkpoint"); len(got) != 1 || got[0] != `{"data":{"done":"the page","data":{"lines":1}},"epoch":3}` {
		t.Errorf("checkpoint was told as %q", got)
	}
	if got := hall.Told("GET", "/agents/toast/prime"); len(got) != 1 {
		t.Errorf("prime was asked for %d times", len(got))
	}
	for _, r := range hall.OfAgents() {
		if r.Agent != "toast" {
			t.Errorf("%s was called by %q", r.Path, r.Agent)
		}
	}
}

// checkToolsTold wants the prompt to name each tool as the CLI does, and answers to
// have reached the model.
func checkToolsTold(t *testing.T, model *llmtest.Server, name string) {
	t.Helper()
	cli, err := agentcli.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	prefix := cli.ToolPrefix("gastown")
	requests := model.Requests()
	offered := 0
	for _, tool := range requests[0].Tools {
		bare := strings.TrimPrefix(tool.Name, prefix) // codex offers them in a namespace of its own
		if strings.HasPrefix(bare, "gt_") {
			offered++
			if !strings.Contains(requests[0].System, "`"+prefix+bare+"`") {
				t.Errorf("the prompt does not name %s", prefix+bare)
			}
		}
	}
	if offered != 16 {
		t.Errorf("%d tools are offered, want 16", offered)
	}
	var told strings.Builder
	for _, r := range requests {
		told.WriteString(news(r))
	}
	for _, want := range []string{"On your hook is bead bead-toast", "write a page</data-", "Noted. All of your work is in commits.", "20 characters", "Handed over. End your turn now."} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("the model was not told %q:\n%s", want, told.String())
		}
	}
}

// An agent whose CLI takes no servers calls the same tools in its shell; the server
// is killed before the last call, which waits for the next one.
func TestAnAgentCallsTheTownsToolsInItsShell(t *testing.T) {
	t.Parallel()
	tt, hall := newHallTown(t, map[string]string{})
	script := `set -e
test "$(townd tool | wc -l)" = 16
townd tool gt_prime
` + commitPage + `
townd tool gt_checkpoint '{"done": "the page", "data": {"lines": 1}}'
! townd tool gt_done '{"summary": "too short"}' || exit 3
! townd tool gt_sling '{"rig_id": "rig", "title": "for another"}' || exit 4
! townd tool gt_note 'no json' || exit 5
echo draft > draft.txt
touch waiting; until [ -e go ]; do sleep 0.05; done; rm -f waiting go
! townd tool gt_done '{"summary": "Wrote the page that was asked for; nothing is left.", "verified": "ALIGNED"}' || exit 6
rm draft.txt
townd tool --json gt_done '{"summary": "Wrote the page that was asked for; nothing is left.", "verified": "ALIGNED"}'
`
	agent := tt.start(tt.beadRequest("/bin/sh", "-c", script))
	waitFor(t, "the middle of the script", func() bool { _, err := os.Lstat(filepath.Join(agent.Workdir, "waiting")); return err == nil })
	tt.kill()
	if err := os.WriteFile(filepath.Join(agent.Workdir, "go"), nil, 0o644); err != nil { //nolint:gosec // seen by the agent
		t.Fatal(err)
	}
	tt.serve()
	a := tt.untilStatus("toast", town.StatusExited)
	output := string(tt.follow("toast", func([]byte) bool { return false }))
	if a.Reason != town.ReasonDone || a.ExitCode == nil || *a.ExitCode != 0 {
		t.Fatalf("ended as %q with %v; it printed\n%s", a.Reason, a.ExitCode, output)
	}
	for _, want := range []string{"On your hook is bead bead-toast", `You have no tool "gt_sling"`, "1 files of your worktree are in no commit", "draft.txt", `"text":"Handed over. End your turn now."`} {
		if !strings.Contains(output, want) {
			t.Errorf("it did not print %q:\n%s", want, output)
		}
	}
	checkHandedOver(t, tt, hall, agent)
	prompt, err := exec.CommandContext(t.Context(), "cat", filepath.Join(tt.home, "agents/toast/home/.townd/system-prompt.md")).Output()
	if err != nil || !strings.Contains(string(prompt), "`townd tool gt_done`") {
		t.Errorf("the prompt does not name the tools (%v):\n%s", err, prompt)
	}
}

// The agent that is built in does a bead and hands it over.
func TestTheDemoAgentHandsOverItsBead(t *testing.T) {
	t.Parallel()
	tt, hall := newHallTown(t, map[string]string{})
	req := tt.beadRequest()
	req.CLI, req.Prompt, req.EnvVars = "demo", "Write a page", map[string]string{"DEMO_FAST": "1"}
	agent := tt.start(req)
	if a := tt.untilStatus("toast", town.StatusExited); a.Reason != town.ReasonDone {
		t.Errorf("ended as %q; it printed\n%s", a.Reason, tt.follow("toast", func([]byte) bool { return false }))
	}
	tip := strings.TrimSpace(tt.remote.Git("rev-parse", agent.Branch))
	if got := hall.Told("POST", "/agents/toast/done"); len(got) != 1 || !strings.Contains(got[0], tip) {
		t.Errorf("done was told as %q, want commit %s", got, tip)
	}
	for method, path := range map[string]string{"GET": "/agents/toast/prime", "POST": "/agents/toast/checkpoint"} {
		if got := hall.Told(method, path); len(got) != 1 {
			t.Errorf("%s was called %d times", path, len(got))
		}
	}
}

// What an agent says while the coordinator is down reaches it afterwards, once and in
// order, also when the server was killed meanwhile: what was done before the end of
// the run that did it.
func TestWhatAnAgentSaysOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	tt, hall := newHallTown(t, map[string]string{})
	var down atomic.Bool
	down.Store(true)
	hall.SetFault(func(w http.ResponseWriter, _ *http.Request) bool {
		if down.Load() {
			tooltest.Problem(w, http.StatusInternalServerError, "out of order")
		}
		return down.Load()
	})
	tt.start(tt.beadRequest("/bin/sh", "-c", "set -e\n"+commitPage+`
! townd tool gt_prime || exit 3
townd tool gt_checkpoint '{"done": "the page"}'
townd tool gt_note '{"text": "found nothing"}'
townd tool gt_done '{"summary": "Wrote the page that was asked for; nothing is left."}'`))
	a := tt.untilStatus("toast", town.StatusExited)
	output := string(tt.follow("toast", func([]byte) bool { return false }))
	if a.Reason != town.ReasonDone || strings.Count(output, "recorded; will be delivered") != 3 || !strings.Contains(output, "The coordinator does not answer now") {
		t.Errorf("ended as %q; it printed\n%s", a.Reason, output)
	}
	tt.restart()
	before := len(hall.Requests())
	down.Store(false)
	facts := func() []string {
		var paths []string
		for _, r := range hall.Requests()[before:] {
			if strings.HasPrefix(r.Path, "/agents/toast/") || strings.HasPrefix(r.Path, "/beads/") {
				paths = append(paths, r.Path)
			}
		}
		return paths
	}
	waitFor(t, "end of the run at the coordinator", func() bool { return slices.Contains(facts(), "/agents/toast/completed") })
	want := []string{"/agents/toast/checkpoint", "/beads/bead-toast/notes", "/agents/toast/done", "/agents/toast/completed"}
	if got := facts(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// An agent that stops without a word is told of its tools, by their names.
func TestAnAgentIsRemindedOfItsTools(t *testing.T) {
	t.Parallel()
	cli := realCLIs[0]
	told := ""
	model, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
		if told == "" && strings.Contains(news(r), "is still open") {
			told = news(r)
		}
		if told == "" {
			return llmtest.Step{Text: "I stop."}
		}
		for _, m := range r.Messages {
			if m.Role == "tool" {
				return llmtest.Step{Text: "Blocked."}
			}
		}
		return llmtest.Step{Tools: []llmtest.Tool{{Name: "mcp__gastown__gt_escalate", Input: map[string]any{"title": "no schema", "blocked": true}}}}
	})
	tt, hall := newHallTown(t, map[string]string{
		"LLM_PROVIDER": cli.provider, "LLM_BASE_URL": url, "LLM_API_KEY": canary,
		"PATH": agenttest.Reachable(t, llmtest.Program(t, cli.name)) + ":" + os.Getenv("PATH"),
	})
	req := tt.beadRequest()
	req.CLI, req.Command, req.Model, req.Prompt = cli.name, nil, cli.model, "Work on your bead."
	tt.start(req)
	if a := tt.untilStatus("toast", town.StatusExited); a.Reason != town.ReasonBlocked {
		t.Errorf("ended as %q, want blocked", a.Reason)
	}
	for _, want := range []string{"`mcp__gastown__gt_done`", "`mcp__gastown__gt_escalate` with blocked true", "`mcp__gastown__gt_status` with waiting true"} {
		if !strings.Contains(told, want) {
			t.Errorf("the reminder does not name %s: %q (%d requests)", want, told, len(model.Requests()))
		}
	}
	var e town.EscalationRequest
	if got := hall.Told("POST", "/escalations"); len(got) != 1 || json.Unmarshal([]byte(got[0]), &e) != nil || e.AgentID != "toast" || e.BeadID != "bead-toast" {
		t.Errorf("escalations %q", got)
	}
}
