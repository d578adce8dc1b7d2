package agentcli_test

import (
	"strings"
	"testing"
)

// TestCommandReadsItsPromptsAndIsTyped: a shell finds its prompts in files, prints
// nothing typed unasked, and reads a message as a line.
func TestCommandReadsItsPromptsAndIsTyped(t *testing.T) {
	a := newAgent(t, "command", map[string]string{"GREETING": "hi\nthere"})
	a.spec.LookPath = nil
	a.spec.Prompt, a.spec.SystemPrompt = "the prompt", "the system prompt"
	a.spec.Command = []string{"bash", "-c", `stty -echo; cat "$TOWND_SYSTEM_PROMPT_FILE" "$TOWND_PROMPT_FILE"; echo; echo "$HOME $GREETING"; read -r line; echo "got $line"`}
	p := a.start()
	if _, err := p.stdin.WriteString("a message\r"); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := "the system promptthe prompt\r\n" + a.spec.Home + " hi\r\nthere\r\ngot a message\r\n"
	if got := strings.TrimPrefix(string(a.output), "a message\r\n"); got != want { // echoed when typed before stty
		t.Errorf("output %q, want %q", got, want)
	}
}
