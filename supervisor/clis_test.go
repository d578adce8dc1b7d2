package supervisor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script makes a program of a shell script.
func script(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVersionIsAskedOnceUntilTheProgramChanges(t *testing.T) {
	dir := t.TempDir()
	path, count := filepath.Join(dir, "cli"), filepath.Join(dir, "count")
	script(t, path, "echo x >> "+count+"\necho 'cli-tool 1.2.3-beta.1 (build 9)'\n")
	var v versions
	for range 3 {
		all := []CLI{{Path: path, Tested: "1.2.9"}, {Path: path, Tested: "1.3.0"}, {Path: ""}}[:1]
		v.fill(t.Context(), all)
		if all[0].Version != "1.2.3-beta.1" || !all[0].InRange || all[0].Error != "" {
			t.Fatalf("it is %+v", all[0])
		}
	}
	if b, err := os.ReadFile(count); err != nil || string(b) != "x\n" {
		t.Errorf("asked %q, %v: want once", b, err)
	}
	script(t, path, "echo v1.3.0\n")
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	all := []CLI{{Path: path, Tested: "1.2.9"}}
	if v.fill(t.Context(), all); all[0].Version != "1.3.0" || all[0].InRange {
		t.Errorf("replaced, it is %+v", all[0])
	}
}

func TestProgramsThatTellNoVersionAreSaidSo(t *testing.T) {
	dir := t.TempDir()
	for want, text := range map[string]string{
		"exit status 3":    "echo 1.2.3; exit 3",
		"tells no version": "yes | head -c 1000000",
	} {
		all := []CLI{{Path: script(t, filepath.Join(dir, "cli"), text)}}
		var v versions
		if v.fill(t.Context(), all); !strings.Contains(all[0].Error, want) || all[0].Version != "" || len(v.known) != 0 {
			t.Errorf("%s: it is %+v, %v", text, all[0], v.known)
		}
	}
}

// TestVersionIsAskedWithoutOurEnvironment proves that a program gets none of the
// town's secrets, and that what it leaves running is ended with the wait for it.
func TestVersionIsAskedWithoutOurEnvironment(t *testing.T) {
	t.Setenv("TOWND_TOKEN", "canary")
	dir := t.TempDir()
	if _, err := askVersion(t.Context(), script(t, filepath.Join(dir, "cli"), "[ -z \"$TOWND_TOKEN\" ] && [ -d \"$HOME\" ] && [ \"$HOME\" != \"$OLDHOME\" ] && echo 1.0.0\n")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("nobody waits")
	started := filepath.Join(dir, "started")
	slow := script(t, filepath.Join(dir, "slow"), "sleep 600 &\necho > "+started+"\nwait\n")
	done := make(chan error, 1)
	go func() {
		_, err := askVersion(ctx, slow)
		done <- err
	}()
	for { // until the script runs
		if _, err := os.Stat(started); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("askVersion() = %v, want %v", err, why)
	}
}
