package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"townd/api"
	"townd/llm"
	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/supervisor/agenttest"
	"townd/town"
)

// trialRun is a `townd try` that a test has before it, as a person has.
type trialRun struct {
	t         *testing.T
	out, errs *buffer
	interrupt context.CancelFunc
	ended     chan struct{} // closed when code is set
	code      int
	town      map[string]string // what it invites to export
}

func startTrial(t *testing.T, env map[string]string, args ...string) *trialRun {
	t.Helper()
	all := map[string]string{"TOWND_LISTEN": "127.0.0.1:0", "DEMO_FAST": "1", "HOME": t.TempDir()}
	maps.Copy(all, env)
	r := &trialRun{t: t, out: newBuffer(), errs: newBuffer(), ended: make(chan struct{})}
	var ctx context.Context
	ctx, r.interrupt = context.WithCancel(t.Context())
	go func() {
		defer close(r.ended)
		std := stdio{strings.NewReader(""), r.out, r.errs, func(name string) string { return all[name] }}
		r.code = run(ctx, append([]string{"try"}, args...), std)
	}()
	t.Cleanup(func() { r.interrupt(); <-r.ended })
	return r
}

// invited waits until it has shown all, and takes what it says to type.
func (r *trialRun) invited() {
	r.t.Helper()
	r.out.await(r.t, "Ctrl-C ends the town")
	exported := regexp.MustCompile(`export TOWND_HOME=(\S+) TOWND_URL=(\S+)`).FindStringSubmatch(r.out.String())
	if exported == nil {
		r.t.Fatalf("no environment to copy in:\n%s", r.out)
	}
	r.town = map[string]string{"TOWND_HOME": exported[1], "TOWND_URL": exported[2]}
}

// townd runs a command that a person types in the other terminal.
func (r *trialRun) townd(args ...string) string {
	r.t.Helper()
	got := runTownd(r.t.Context(), r.town, args...)
	if got.code != 0 {
		r.t.Fatalf("townd %q: code %d, %s", args, got.code, got.err)
	}
	return got.out
}

// merged waits until a bead is merged, and returns it.
func (r *trialRun) merged(id string) (b town.Bead) {
	r.t.Helper()
	waitFor(r.t, "the merge of "+id, func() bool {
		b = town.Bead{}
		if err := json.Unmarshal([]byte(r.townd("bead", "show", "--json", id)), &b); err != nil {
			r.t.Fatal(err)
		}
		return b.Status == town.BeadClosed || b.Status == town.BeadFailed
	})
	if b.Status != town.BeadClosed || b.Commit == "" {
		r.t.Errorf("bead %s is %s: %s", id, b.Status, b.Why)
	}
	return b
}

// main returns what main of the sample's remote has under that name.
func (r *trialRun) main(name string) string {
	r.t.Helper()
	out, err := exec.CommandContext(r.t.Context(), "git", "-C", filepath.Join(r.town["TOWND_HOME"], "slug.git"), "show", "main:"+name).CombinedOutput()
	if err != nil {
		r.t.Errorf("%s is not in main: %v: %s", name, err, out)
	}
	return string(out)
}

// end presses Ctrl-C and wants nothing left.
func (r *trialRun) end() {
	r.t.Helper()
	r.interrupt()
	<-r.ended
	if r.code != 0 {
		r.t.Errorf("try ended with %d: %s", r.code, r.errs)
	}
	wantContains(r.t, "try", r.out.String(), "nothing is left of it")
	if left := processesWith(r.t, r.town["TOWND_HOME"]); len(left) > 0 {
		r.t.Errorf("processes are left: %q", left)
	}
}

// Issue 5: from a failing test to a merged fix, with every step shown, and then more
// work that a person slings.
func TestTryShowsTheWholeCircleAndLeavesNothingBehind(t *testing.T) {
	r := startTrial(t, nil)
	r.invited()
	wantContains(t, "try", r.out.String(),
		"sh test.sh fails", "takes it, on branch polecat/", "townd tool gt_prime", "FAIL 'Hello, World!'", "townd tool gt_checkpoint",
		"townd tool gt_done", "+  tr -cs", "claim: open → in_progress", "done: in_progress → in_review", "merged: in_review → closed",
		"merged into main as", `sling slug "write a haiku"`)
	wantContains(t, "main", r.main("slug.sh"), "tr -cs")
	id := strings.TrimSpace(r.townd("sling", "slug", "write", "a", "haiku"))
	b := r.merged(id)
	wantContains(t, "main", r.main("write-a-haiku.md"), "write a haiku")
	wantContains(t, "bead show", r.townd("bead", "show", id), b.AgentID, b.Branch, b.Commit, "The demo agent did the task")
	wantContains(t, "town status", r.townd("town", "status"), "container ok", "2 closed")
	wantContains(t, "logs", r.townd("logs", b.AgentID), "Add write-a-haiku.md")
	r.end()
}

// TestTryRunsEveryCLI shows the circle with each real program (issue 5): the CLI calls
// gt_prime, gt_checkpoint and gt_done by MCP, its fix is merged, and it has no key.
func TestTryRunsEveryCLI(t *testing.T) {
	const canary = "sk-canary-of-the-trial"
	for cli, provider := range map[string]string{
		"claude": "claude", "kilo": "compatible", "opencode": "compatible", "codex": "compatible", "gemini": "gemini",
	} {
		t.Run(cli, func(t *testing.T) {
			t.Setenv("PATH", agenttest.Reachable(t, llmtest.Program(t, cli))+":"+os.Getenv("PATH"))
			model, url := llmtest.Serve(t, fixSlug)
			r := startTrial(t, map[string]string{
				"LLM_PROVIDER": provider, "LLM_BASE_URL": url, "LLM_API_KEY": canary, "LLM_MODEL": "scripted-model",
			}, "--cli", cli)
			r.invited()
			wantContains(t, "try", r.out.String(), "its program is "+cli, "→ ", "gt_prime", "gt_checkpoint", "gt_done", "+  tr -cs", "merged into main as")
			wantContains(t, "main", r.main("slug.sh"), "tr -cs")
			if n := len(model.Requests()); n < 5 {
				t.Errorf("the model was asked %d times, want at least 5", n)
			}
			var notes struct{ Notes []town.Note }
			var list api.BeadList
			if err := json.Unmarshal([]byte(r.townd("bead", "ls", "--json")), &list); err != nil || len(list.Beads) != 1 {
				t.Fatalf("beads %+v, %v", list, err)
			}
			b := list.Beads[0]
			if err := json.Unmarshal([]byte(r.townd("bead", "show", "--json", shortID(b.ID))), &notes); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(b.Summary, "One dash between words") || !strings.Contains(string(b.Checkpoint), "slug.sh is fixed") || b.Attempts != 1 {
				t.Errorf("the bead is %+v, its notes %+v", b, notes.Notes)
			}
			for _, p := range processesWith(t, r.town["TOWND_HOME"]) {
				if strings.Contains(p, canary) {
					t.Errorf("the key is in %q", p)
				}
			}
			r.end()
		})
	}
}

// fixSlug is a model that does the bead of the sample by the town's tools.
func fixSlug(r *llmtest.Request) llmtest.Step {
	const fix = `sed -i -e 's/tr -c /tr -cs /' -e '$s/$/ | sed -e "s,^-,," -e "s,-$,,"/' slug.sh && sh test.sh && git commit -qam 'slug: one dash between words'`
	results := 0
	for _, m := range r.Messages {
		if m.Role == "tool" {
			results++
		}
	}
	switch results {
	case 0:
		return townTool(r, "gt_prime", map[string]any{})
	case 1:
		return llmtest.Step{Text: "Words are joined by many dashes.", Tools: []llmtest.Tool{shellOf(r, fix)}}
	case 2:
		return townTool(r, "gt_checkpoint", map[string]any{"done": "slug.sh is fixed"})
	case 3:
		return townTool(r, "gt_done", map[string]any{"summary": "One dash between words, none at the ends: sh test.sh passes.", "verified": "ALIGNED"})
	}
	return llmtest.Step{Text: "The test passes."}
}

// townTool calls a tool of the town's by the name that the CLI offers it under.
func townTool(r *llmtest.Request, name string, input map[string]any) llmtest.Step {
	for _, offered := range r.Tools {
		if strings.HasSuffix(offered.Name, name) {
			return llmtest.Step{Tools: []llmtest.Tool{{Name: offered.Name, Input: input}}}
		}
	}
	return llmtest.Step{Text: "There is no " + name + "."}
}

// shellOf runs a command line with the shell that the CLI offers.
func shellOf(r *llmtest.Request, command string) llmtest.Tool {
	for _, offered := range r.Tools {
		switch offered.Name {
		case "exec_command": // codex
			return llmtest.Tool{Name: offered.Name, Input: map[string]any{"cmd": command}}
		case "run_shell_command": // gemini
			return llmtest.Tool{Name: offered.Name, Input: map[string]any{"command": command}}
		}
	}
	return llmtest.Tool{Name: "bash", Input: map[string]any{"command": command}}
}

func TestTryTakesTheFirstProgramThatHasAKey(t *testing.T) {
	bin := shortDir(t)
	for _, name := range []string{"claude", "codex"} {
		script := "#!/bin/sh\n[ \"$1\" = --version ] && echo 1.2.3 && exit\necho " + name + " is no good >&2; exit 3\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil { //nolint:gosec // agents' users run it
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		want []string // on standard output and error
		code int
	}{
		{"no key", nil, nil, []string{"its program is demo", "merged into main as"}, 0},
		{"a key of another's", map[string]string{"GEMINI_API_KEY": "k"}, nil, []string{"its program is demo"}, 0},
		{"a key of the second", map[string]string{"OPENAI_API_KEY": "k"}, nil, []string{"its program is codex", "codex ended before its task was done"}, exitFailure},
		{"by name without a key", nil, []string{"--cli", "claude"}, []string{"set ANTHROPIC_API_KEY or OPENROUTER_API_KEY"}, exitFailure},
		{"by name with another's key", map[string]string{"GEMINI_API_KEY": "k"}, []string{"--cli", "codex"}, []string{"set OPENAI_API_KEY"}, exitFailure},
		{"by name, not installed", map[string]string{"LLM_API_KEY": "k"}, []string{"--cli", "kilo"}, []string{"kilo is not installed: npm"}, exitFailure},
		{"demo by name", map[string]string{"OPENAI_API_KEY": "k"}, []string{"--cli", "demo"}, []string{"its program is demo"}, 0},
		{"no such program", nil, []string{"--cli", "vim"}, []string{`must be one of claude, kilo, opencode, codex, gemini, demo, not "vim"`}, exitUsage},
		{"settings that cannot be used", map[string]string{"LLM_PROVIDER": "nobody"}, nil, []string{"LLM_PROVIDER: must be one of"}, exitUsage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := startTrial(t, tt.env, tt.args...)
			if tt.code == 0 {
				r.invited()
				r.end()
			} else if <-r.ended; r.code != tt.code {
				t.Errorf("code %d, want %d", r.code, tt.code)
			}
			wantContains(t, "try", r.out.String()+r.errs.String(), tt.want...)
		})
	}
}

// TestKeysThatAreAskedForWouldDo has the gateway say whether each variable that a
// person is told to set opens a model to that CLI.
func TestKeysThatAreAskedForWouldDo(t *testing.T) {
	for _, name := range agentcli.Names() {
		cli, err := agentcli.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(cli.Dialects()) == 0 {
			continue
		}
		for variable := range strings.SplitSeq(keyOf(name), " or ") {
			config, err := modelsOf(map[string]string{variable: "key"})
			if err != nil {
				t.Fatal(err)
			}
			config.URL = "http://127.0.0.1:1"
			gateway, err := llm.New(config)
			if err != nil {
				t.Fatal(fmt.Errorf("%s: %w", variable, err))
			}
			if _, ok := gateway.Endpoint(cli.Dialects(), ""); !ok {
				t.Errorf("%s opens no model to %s", variable, name)
			}
			if err := gateway.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
