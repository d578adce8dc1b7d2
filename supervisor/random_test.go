package supervisor_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/town"
)

// Whatever is asked of three agents in whatever order, by several callers at
// once, with servers that end in between: in the end every agent is what its
// record says, once or not at all.
func TestRandomLivesStayLawful(t *testing.T) {
	tt := newTown(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // not for secrets
	requests := map[string]town.StartRequest{}
	for i, mode := range []string{"sleep", "lines", "fork"} {
		id := fmt.Sprintf("agent%d", i)
		requests[id] = tt.request(id, mode, "50")
	}
	grace := 0.1
	const rounds, callers = 6, 8
	for round := range rounds {
		var wg sync.WaitGroup
		for range callers {
			id, op, generation := fmt.Sprintf("agent%d", rnd.IntN(3)), rnd.IntN(6), int64(round)
			wg.Go(func() {
				var err error
				switch op {
				case 0, 1, 2:
					req := requests[id]
					req.Generation = generation
					_, _, err = tt.Start(t.Context(), req)
				case 3:
					_, err = tt.Stop(t.Context(), id, town.StopRequest{GraceSeconds: &grace})
				case 4:
					_, err = tt.Message(t.Context(), id, town.MessageRequest{Prompt: "x"}, "")
				case 5:
					if a, e := tt.Agent(id); e == nil && a.PID != nil {
						_ = syscall.Kill(*a.PID, syscall.SIGKILL)
					}
				}
				if err != nil && !errors.Is(err, town.ErrConflict) && !errors.Is(err, town.ErrNotFound) && !errors.Is(err, town.ErrUnavailable) {
					t.Errorf("operation %d on %s: %v", op, id, err)
				}
			})
		}
		wg.Wait()
		if rnd.IntN(2) == 0 {
			tt.reopen()
		}
	}
	for id, req := range requests {
		req.Generation = rounds
		a := tt.start(req)
		if a.Status != town.StatusRunning || a.PID == nil {
			t.Errorf("%s is %s", id, a.Status)
		}
		// Within its exec, which is told as done before, it has no environment.
		waitFor(t, "process of "+id, func() bool { return len(marked(t, a.RunID)) > 0 })
		if _, err := tt.Stop(t.Context(), id, town.StopRequest{GraceSeconds: &grace}); err != nil {
			t.Error(err)
		}
	}
	if left := below(t, tt.home); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}
