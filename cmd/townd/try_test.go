package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
)

func TestTryShowsAnAgentAtWorkAndLeavesNothingBehind(t *testing.T) {
	env := map[string]string{"TOWND_LISTEN": "127.0.0.1:0", "DEMO_FAST": "1", "HOME": t.TempDir()}
	out, errs := newBuffer(), newBuffer()
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"try"}, stdio{strings.NewReader(""), out, errs, func(name string) string { return env[name] }})
	}()
	out.await(t, "Ctrl-C ends the town")
	wantContains(t, "try", out.String(),
		"FAIL 'Hello, World!'", demoIdle, "+  tr -cs", "the test passes", "attach toast", "message toast", "stop toast")

	// What it invites to is typed.
	exported := regexp.MustCompile(`export TOWND_HOME=(\S+) TOWND_URL=(\S+)`).FindStringSubmatch(out.String())
	if exported == nil {
		t.Fatalf("no environment to copy in:\n%s", out)
	}
	town := map[string]string{"TOWND_HOME": exported[1], "TOWND_URL": exported[2]}
	if r := runTownd(t.Context(), town, "message", "toast", "write a haiku"); r.code != 0 {
		t.Errorf("message: %s", r.err)
	}
	watched, stopWatching := context.WithCancel(t.Context())
	seen := newBuffer()
	watching := make(chan int, 1)
	go func() {
		watching <- run(watched, []string{"logs", "-f", "toast"}, stdio{strings.NewReader(""), seen, errs, func(name string) string { return town[name] }})
	}()
	seen.await(t, "Add write-a-haiku.md")
	stopWatching()
	<-watching
	if r := runTownd(t.Context(), town, "stop", "toast"); !strings.Contains(r.out, "toast stopped") {
		t.Errorf("stop: %q %q", r.out, r.err)
	}

	interrupt()
	if code := <-done; code != 0 {
		t.Errorf("try ended with %d: %s", code, errs)
	}
	wantContains(t, "try", out.String(), "nothing is left of it")
	if left := processesWith(t, exported[1]); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}
