package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Without root, agents are processes of the server's own user. They cannot read
// its keys in the environment or the memory of the server and its keeper.
func TestKeysAreClosedToProcessesOfTheSameUser(t *testing.T) {
	t.Parallel()
	tt := prepareTown(t, map[string]string{"ANTHROPIC_API_KEY": canary})
	as := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		const nobody = 65534
		as.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(tt.home, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	tt.as = as
	tt.serve()
	closed := 0
	for _, p := range allProcesses() {
		if !strings.Contains(p.command, program) || !strings.Contains(p.command, tt.home) && p.pid != tt.server.Process.Pid {
			continue
		}
		closed++
		for _, file := range []string{"environ", "mem"} {
			read := exec.CommandContext(t.Context(), "head", "-c", "1", fmt.Sprintf("/proc/%d/%s", p.pid, file))
			read.SysProcAttr = as
			if out, err := read.CombinedOutput(); err == nil || !strings.Contains(string(out), "denied") {
				t.Errorf("%s of %v can be read: %v, %q", file, p, err, out)
			}
		}
	}
	if closed != 2 {
		t.Errorf("%d processes of the town were tried, want the server and the keeper", closed)
	}
}
