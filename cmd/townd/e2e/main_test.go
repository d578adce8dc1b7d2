// Package e2e_test proves what a town promises from outside: the real program as
// a process of its own, driven over HTTP, with real agents and repositories. What
// is true is found out without the town's own code, in /proc and on disk.
package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/supervisor/agenttest"
)

// program is the townd that the tests run.
var program string

// TestMain makes the test binary an agent when it is called as one, and builds
// townd before the tests.
func TestMain(m *testing.M) {
	agenttest.Main()
	hostileMain()
	hallMain()
	remove, err := build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	for range 500 {
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(10 * time.Millisecond) // goroutines that end have no event
	}
	if n := runtime.NumGoroutine(); n > before && code == 0 {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		fmt.Fprintf(os.Stderr, "%d goroutines are left, %d were there before the tests\n", n, before)
		code = 1
	}
	if err := remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// sources makes a cached result of these tests depend on every file that
// program is made of: go test knows only what a test itself has looked at.
var sources = sync.OnceValue(func() error {
	return filepath.WalkDir("../../..", func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != "../../.." && strings.HasPrefix(entry.Name(), ".") {
			return filepath.SkipDir
		}
		if err == nil && !entry.IsDir() {
			_, err = os.Stat(path)
		}
		return err
	})
})

// build makes program, where agents' users can reach it.
func build() (remove func() error, err error) {
	dir, err := os.MkdirTemp("", "townd-e2e-")
	if err != nil {
		return nil, err
	}
	program = filepath.Join(dir, "townd")
	out, err := exec.Command("go", "build", "-o", program, "townd/cmd/townd").CombinedOutput()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("build townd: %w\n%s", err, out), os.RemoveAll(dir))
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // agents' users pass through
		return nil, err
	}
	return func() error { return os.RemoveAll(dir) }, nil
}
