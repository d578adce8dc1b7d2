package supervisor_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"townd/gitmgr"
	"townd/gitmgr/gittest"
)

// A gate runs as a user of the rig's own that no agent has, and leaves no process.
func TestGatesRunAsAUserOfTheirOwn(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("agents have users of their own only under root")
	}
	tt := newTown(t)
	remote := gittest.New(t, gittest.Options{})
	remote.Commit("work", "work.txt", "work\n")
	tt.remote = remote.URL()
	agent := tt.request("toast", "sleep")
	tt.start(agent)
	res, err := tt.Merge(t.Context(), gitmgr.MergeRequest{
		RigID: "rig", Branch: "work", Gates: []gitmgr.Gate{{Name: "who", Command: "id -u; setsid sleep 10000 >/dev/null 2>&1 &"}},
	})
	if err != nil || res.Status != gitmgr.MergeDone {
		t.Fatalf("Merge() = %+v, %v", res, err)
	}
	uid := strings.TrimSpace(res.Gates[0].Output)
	if uid == "0" || uid == fmt.Sprint(tt.users) {
		t.Errorf("the gate ran as user %s, want one that is neither the server's nor the agent's", uid)
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if status, err := os.ReadFile("/proc/" + p.Name() + "/status"); err == nil && strings.Contains(string(status), "\nUid:\t"+uid+"\t") &&
			!strings.Contains(string(status), "\nState:\tZ") {
			t.Errorf("process %s of the gate is left:\n%s", p.Name(), status)
		}
	}
}
