package supervisor_test

import (
	"bytes"
	"testing"
	"time"

	"townd/supervisor"
	"townd/supervisor/typing"
)

// L8: typed as a person would, by way of the keeper, and read for sure.
func TestATypedMessageIsReadOnce(t *testing.T) {
	tt := newTown(t)
	tt.start(tt.request("toast", "echo"))
	for range 2 { // the second finds that it was typed
		if err := supervisor.TypeMessage(t.Context(), tt.Supervisor, "toast", "m1", "a line", typing.Options{Again: true}); err != nil {
			t.Errorf("typeMessage() = %v", err)
		}
	}
	if err := supervisor.TypeMessage(t.Context(), tt.Supervisor, "toast", "m2", "two\nlines", typing.Options{}); err != nil {
		t.Errorf("typeMessage() = %v", err)
	}
	const want = "a line\r\na line\r\ntwo\r\ntwo\r\nlines\r\nlines\r\n" // echoed by the terminal and by the agent
	if got := tt.output("toast", int64(len("ready\r\n"+want))); !bytes.Contains(got, []byte(want)) {
		t.Errorf("the agent printed %q, want %q", got, want)
	}
}

func TestAPersonsTextKeepsAMessageWaiting(t *testing.T) {
	tt := newTown(t)
	tt.start(tt.request("toast", "echo"))
	took, err := supervisor.TypeAfterPerson(t.Context(), tt.Supervisor, "toast", "m1", "a line", "ls\r")
	if err != nil || took < 2*time.Second {
		t.Errorf("typeMessage() = %v after %v, want it to wait until the person rested", err, took)
	}
}
