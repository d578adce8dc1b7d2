package keeper

import (
	"bytes"
	"testing"
)

func TestOutputIsExactWhenTheProgramPrintsAndEnds(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	for range 20 {
		r := mustSpawn(t, c, newSpawn(t, program("print", "100000")...))
		exit := waitExit(t, c, r.ID)
		if exit.Code != 0 || exit.Signal != "" || exit.Asked || exit.Escalated || exit.Size != 100_000 {
			t.Errorf("exit = %+v, want code 0, size 100000", exit)
		}
		if got := output(t, r.Transcript); !bytes.Equal(got, pattern(100_000)) {
			t.Fatalf("output of %d bytes is not what was printed", len(got))
		}
		if err := c.Forget(t.Context(), r.ID); err != nil {
			t.Errorf("Forget() = %v", err)
		}
	}
}
