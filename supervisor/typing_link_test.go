package supervisor_test

import (
	"bytes"
	"testing"
	"time"

	"townd/town"
)

// N5: what is for a terminal is typed as a person would, line by line, and read.
func TestATypedMessageIsReadOnce(t *testing.T) {
	tt := newTown(t)
	tt.start(tt.request("toast", "echo"))
	for range 2 { // the second is the first
		if _, err := tt.Message(t.Context(), "toast", town.MessageRequest{Prompt: "a line"}, "key"); err != nil {
			t.Errorf("Message() = %v", err)
		}
	}
	if _, err := tt.Message(t.Context(), "toast", town.MessageRequest{Prompt: "two\nlines"}, ""); err != nil {
		t.Errorf("Message() = %v", err)
	}
	const want = "a line\r\na line\r\ntwo\r\ntwo\r\nlines\r\nlines\r\n" // echoed by the terminal and by the agent
	if got := tt.output("toast", int64(len("ready\r\n"+want))); !bytes.Contains(got, []byte(want)) {
		t.Errorf("the agent printed %q, want %q", got, want)
	}
}

func TestAPersonsTextKeepsAMessageWaiting(t *testing.T) {
	tt := newTown(t)
	tt.start(tt.request("toast", "echo"))
	typed := time.Now()
	if err := tt.Input(t.Context(), "toast", []byte("ls\r")); err != nil {
		t.Fatal(err)
	}
	_, err := tt.Message(t.Context(), "toast", town.MessageRequest{Prompt: "a line"}, "")
	if took := time.Since(typed); err != nil || took < 2*time.Second {
		t.Errorf("Message() = %v after %v, want it to wait until the person rested", err, took)
	}
}
