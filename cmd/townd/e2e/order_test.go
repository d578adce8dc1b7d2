package e2e_test

import (
	"errors"
	"testing"

	"townd/town"
)

// A start that arrives during a stop waits for its end: there are never two of
// an agent, also when the server is killed in between.
func TestStartDuringStopIsOrdered(t *testing.T) {
	t.Parallel()
	tt := newTown(t, nil)
	req := tt.request("toast", tt.mode("deaf")...)
	grace := 1.0
	for _, kill := range []bool{false, true} {
		first := tt.start(req)
		tt.ready("toast")
		stopped, started := make(chan error, 1), make(chan error, 1)
		var again town.Agent
		go func() {
			_, err := tt.Stop(t.Context(), "toast", town.StopRequest{GraceSeconds: &grace})
			stopped <- err
		}()
		tt.untilStatus("toast", town.StatusStopping)
		go func() {
			a, err := tt.Start(t.Context(), req)
			again = a.Agent
			started <- err
		}()
		if kill {
			tt.restart()
			if <-stopped == nil || <-started == nil {
				t.Error("calls under way were answered well by a server that was killed before the grace was over")
			}
			tt.stop("toast", town.StopRequest{Signal: "SIGKILL"})
			again = tt.start(req)
		} else if err := errors.Join(<-stopped, <-started); err != nil {
			t.Fatal(err)
		}
		procs := tt.ofAgent("toast")
		if again.RunID == first.RunID || len(procs) != 1 || procs[0].run != again.RunID {
			t.Errorf("run %s, then run %s; processes: %v", first.RunID, again.RunID, procs)
		}
		tt.stop("toast", town.StopRequest{Signal: "SIGKILL"})
	}
}

// A start of an older generation is refused, also by the next server and after
// the agent's end.
func TestOlderGenerationIsRefused(t *testing.T) {
	t.Parallel()
	tt := newTown(t, nil)
	generation := func(n int64) town.StartRequest {
		req := tt.request("toast", tt.mode("sleep")...)
		req.Generation, req.Prompt = n, "do it"
		return req
	}
	refused := func(n int64) {
		t.Helper()
		if _, err := tt.Start(t.Context(), generation(n)); !errors.Is(err, town.ErrConflict) {
			t.Errorf("start of generation %d: %v, want a conflict (409)", n, err)
		}
	}
	first := tt.start(generation(5))
	refused(4)
	tt.restart()
	refused(4)
	if a := tt.start(generation(5)); a.RunID != first.RunID {
		t.Errorf("the same generation started run %s beside %s", a.RunID, first.RunID)
	}
	second := tt.start(generation(6))
	if procs := tt.ofAgent("toast"); second.RunID == first.RunID || len(procs) != 1 || procs[0].run != second.RunID {
		t.Errorf("newer generation: run %s after %s, processes %v", second.RunID, first.RunID, procs)
	}
	refused(5)
	tt.stop("toast", town.StopRequest{})
	tt.restart()
	refused(5)
	tt.start(generation(6))
}
