package supervisor_test

import (
	"path/filepath"
	"testing"

	"townd/supervisor/agenttest"
	"townd/supervisor/keeper"
)

// A run that the keeper holds and no agent has is ended: a call to start it may
// arrive there when whoever made it is dead or has given up.
func TestRunOfNoAgentIsEnded(t *testing.T) {
	tt := newTown(t)
	c, err := keeper.Dial(t.Context(), filepath.Join(tt.home, "keeper"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run, err := c.Spawn(t.Context(), keeper.Spawn{
		Run: "stray", Argv: agenttest.Program(t, "tree"), Env: []string{keeper.MarkerEnv + "=stray"}, Dir: "/",
		Cols: 80, Rows: 24, Transcript: filepath.Join(tt.home, "runs/stray"),
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "end of the stray run", func() bool {
		runs, err := c.Runs(t.Context())
		return err == nil && len(runs) == 0
	})
	if left := marked(t, run.ID); len(left) > 0 {
		t.Errorf("processes %v of the run are left", left)
	}
}
