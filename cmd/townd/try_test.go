package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"townd/llm"
	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/supervisor/agenttest"
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

// say sends the agent a message and follows its output until that shows want.
func (r *trialRun) say(text, want string) {
	r.t.Helper()
	if got := runTownd(r.t.Context(), r.town, "message", "toast", text); got.code != 0 {
		r.t.Errorf("message: %s", got.err)
	}
	watched, stopWatching := context.WithCancel(r.t.Context())
	seen := newBuffer()
	watching := make(chan int, 1)
	go func() {
		std := stdio{strings.NewReader(""), seen, r.errs, func(name string) string { return r.town[name] }}
		watching <- run(watched, []string{"logs", "-f", "toast"}, std)
	}()
	seen.await(r.t, want)
	stopWatching()
	<-watching
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

func TestTryShowsAnAgentAtWorkAndLeavesNothingBehind(t *testing.T) {
	r := startTrial(t, nil)
	r.invited()
	wantContains(t, "try", r.out.String(),
		"FAIL 'Hello, World!'", demoIdle, "+  tr -cs", "the test passes", "attach toast", "message toast", "stop toast")
	r.say("write a haiku", "Add write-a-haiku.md")
	if got := runTownd(t.Context(), r.town, "stop", "toast"); !strings.Contains(got.out, "toast stopped") {
		t.Errorf("stop: %q %q", got.out, got.err)
	}
	r.end()
}

// TestTryRunsEveryCLI shows the demo with each real program (issue 3): it finds and
// fixes the bug through the town's gateway, takes a message, and has no key.
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
			wantContains(t, "try", r.out.String(), "its program is "+cli, "→ ", "● turn ended", "+  tr -cs", "the test passes", "logs -f toast")
			r.say("write a haiku", "An old silent pond")
			if n := len(model.Requests()); n < 3 {
				t.Errorf("the model was asked %d times, want at least 3", n)
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

// fixSlug is a model that does the task of the sample, and whatever else with words.
func fixSlug(r *llmtest.Request) llmtest.Step {
	switch last := r.Last(); {
	case last.Role == "tool":
		return llmtest.Step{Text: "The test passes."}
	case strings.Contains(last.Text, "haiku"):
		return llmtest.Step{Text: "An old silent pond"}
	}
	const fix = `sed -i -e 's/tr -c /tr -cs /' -e '$s/$/ | sed -e "s,^-,," -e "s,-$,,"/' slug.sh && sh test.sh && git commit -qam 'slug: one dash between words'`
	tool := llmtest.Tool{Name: "bash", Input: map[string]any{"command": fix}}
	for _, s := range r.Tools {
		switch s.Name {
		case "exec_command": // codex
			tool = llmtest.Tool{Name: s.Name, Input: map[string]any{"cmd": fix}}
		case "run_shell_command": // gemini
			tool.Name = s.Name
		}
	}
	return llmtest.Step{Text: "Words are joined by many dashes.", Tools: []llmtest.Tool{tool}}
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
		{"no key", nil, nil, []string{"its program is demo", "the test passes"}, 0},
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
