package supervisor_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// marked lists the processes of a run as /proc shows them, by the marker in
// their environment; zombies have none.
func marked(t *testing.T, run string) []int { return withEnv(t, "TOWND_RUN_ID="+run) }

// below lists the agents' processes of the town at home.
func below(t *testing.T, home string) []int { return withEnv(t, "HOME="+home+"/agents/") }

func withEnv(t *testing.T, setting string) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if bytes.Contains(env, []byte(setting)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func killProcess(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Fatal("no process to kill")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// waitFor polls for what has no event to wait on.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within 30 s", what)
		}
	}
}
