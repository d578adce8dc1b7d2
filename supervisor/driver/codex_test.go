package driver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMain plays codex, where the real one cannot be brought to do a thing:
// agentcli's tests run the real one.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[2] == "app-server" {
		os.Exit(playCodex(os.Args[1], os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// playCodex answers as codex would, in what the part leaves open, and ends with
// its input.
func playCodex(part string, in io.Reader, out io.Writer) int {
	told := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	turns := 0
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var r struct {
			ID     json.RawMessage
			Method string
			Params json.RawMessage
			Result json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return 9
		}
		if r.Method == "turn/start" {
			turns++
		}
		switch {
		case r.Method == "thread/start":
			told(`{"id":%s,"result":{"thread":{"id":"t"}}}`, r.ID)
		case r.Method == "turn/start" && part == "refuses" && turns == 1:
			told(`{"id":%s,"error":{"code":-32600,"message":"not now"}}`, r.ID)
		case r.Method == "turn/start" && part == "dies":
			return 3
		case r.Method == "turn/start" && part == "late":
			// The turn is over before its answer comes.
			told(`{"method":"turn/completed","params":{"threadId":"t","turn":{"id":"u"}}}`)
			told(`{"id":%s,"result":{"turn":{"id":"u"}}}`, r.ID)
		case r.Method == "turn/start":
			told(`{"id":%s,"result":{"turn":{"id":"u"}}}`, r.ID)
			told(`{"method":"turn/completed","params":{"threadId":"a subagent's","turn":{"id":"v"}}}`)
			told(`{"id":"approve-1","method":"item/commandExecution/requestApproval","params":{}}`)
		case r.Method == "" && r.Result != nil:
			told(`{"method":"turn/started","params":{"threadId":"t","turn":{"id":"u"}}}`)
			if part != "interrupted" || turns > 1 {
				told(`{"method":"turn/completed","params":{"threadId":"t","turn":{"id":"u","answer":%s}}}`, r.Result)
			}
		case r.Method == "turn/interrupt":
			told(`{"id":%s,"result":{}}`, r.ID)
			told(`{"method":"turn/completed","params":{"threadId":"t","turn":{"id":"u","interrupted":%s}}}`, r.Params)
		case r.Method != "initialized":
			told(`{"id":%s,"result":{}}`, r.ID)
		}
	}
	if part == "fails" {
		return 7
	}
	return 0
}

// drive runs a driver to its end, and returns its code and what it wrote.
func drive(t *testing.T, part, input string) (code int, said []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	code, err = Run(t.Context(), "codex", Options{Program: self, Args: []string{part}, In: strings.NewReader(input), Out: &out})
	if err != nil {
		t.Errorf("Run(): %v", err)
	}
	for line := range strings.Lines(out.String()) {
		said = append(said, strings.TrimSuffix(line, "\n"))
	}
	return code, said
}

const twoMessages = `{"type":"message","id":"m1","text":"one"}` + "\n" + `{"type":"message","id":"m2","text":"two"}` + "\n"

// opening is what every conversation begins with.
var opening = []string{`{"id":1,"result":{}}`, `{"id":2,"result":{"thread":{"id":"t"}}}`}

func turn(call int, message string) []string {
	return []string{
		fmt.Sprintf(`{"id":%d,"result":{"turn":{"id":"u"}}}`, call), `{"townd":"accepted","id":"` + message + `"}`,
		`{"method":"turn/completed","params":{"threadId":"a subagent's","turn":{"id":"v"}}}`,
		`{"id":"approve-1","method":"item/commandExecution/requestApproval","params":{}}`,
		`{"method":"turn/started","params":{"threadId":"t","turn":{"id":"u"}}}`,
		`{"method":"turn/completed","params":{"threadId":"t","turn":{"id":"u","answer":{"decision":"accept"}}}}`,
	}
}

func TestCodexHasOneTurnAfterAnotherAndItsApprovals(t *testing.T) {
	code, said := drive(t, "plain", twoMessages)
	want := append(append(append([]string{}, opening...), turn(3, "m1")...), turn(4, "m2")...)
	if diff := cmp.Diff(want, said); diff != "" || code != 0 {
		t.Errorf("code %d (-want +got):\n%s", code, diff)
	}
}

func TestCodexRefusesAMessageAndTakesTheNext(t *testing.T) {
	_, said := drive(t, "refuses", twoMessages)
	want := append(append([]string{}, opening...),
		`{"id":3,"error":{"code":-32600,"message":"not now"}}`, `{"townd":"refused","id":"m1","message":"not now"}`)
	if diff := cmp.Diff(append(want, turn(4, "m2")...), said); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAnInterruptWaitsForItsTurn: it comes before codex has a thread, let alone
// the turn, and ends that one alone.
func TestAnInterruptWaitsForItsTurn(t *testing.T) {
	first, second, _ := strings.Cut(twoMessages, "\n")
	_, said := drive(t, "interrupted", first+"\n"+`{"type":"interrupt"}`+"\n"+second)
	want := append(append([]string{}, opening...), turn(3, "m1")[:5]...)
	want = append(want, `{"id":4,"result":{}}`,
		`{"method":"turn/completed","params":{"threadId":"t","turn":{"id":"u","interrupted":{"threadId":"t","turnId":"u"}}}}`)
	if diff := cmp.Diff(append(want, turn(5, "m2")...), said); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnAnswerAfterItsTurnHoldsNothingUp(t *testing.T) {
	code, said := drive(t, "late", twoMessages)
	if got := strings.Join(said, "\n"); code != 0 || !strings.Contains(got, `"accepted","id":"m1"`) || !strings.Contains(got, `"accepted","id":"m2"`) {
		t.Errorf("code %d, %s", code, got)
	}
}

// TestCodexThatDiesRefusesWhatItNeverGot, and of what it got nothing is claimed.
func TestCodexThatDiesRefusesWhatItNeverGot(t *testing.T) {
	code, said := drive(t, "dies", twoMessages)
	want := append(append([]string{}, opening...), `{"townd":"refused","id":"m2","message":"codex has ended"}`)
	if diff := cmp.Diff(want, said); diff != "" || code != 3 {
		t.Errorf("code %d (-want +got):\n%s", code, diff)
	}
}

func TestCodexsExitCodeIsTheDrivers(t *testing.T) {
	if code, _ := drive(t, "fails", ""); code != 7 {
		t.Errorf("code %d, want 7", code)
	}
}

// TestTheEndOfTheDriverIsCodexs: it is told to end, and its exit code says so.
func TestTheEndOfTheDriverIsCodexs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	out := writer(func([]byte) { cancel() })
	code, err := Run(ctx, "codex", Options{Program: self, Args: []string{"plain"}, In: in, Out: out})
	if want := 128 + int(syscall.SIGTERM); code != want || err != nil {
		t.Errorf("code %d, error %v, want %d", code, err, want)
	}
}

// writer is called with what is written.
type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

func TestAProgramThatDoesNotStartIsAFault(t *testing.T) {
	var out strings.Builder
	code, err := Run(context.Background(), "codex", Options{Program: "/no/such/codex", In: strings.NewReader(""), Out: &out})
	if code != 1 || err != nil || !strings.HasPrefix(out.String(), `{"townd":"fault","kind":"crashed"`) {
		t.Errorf("code %d, error %v, output %q", code, err, out.String())
	}
}

func TestEveryRequestOfCodexIsAnswered(t *testing.T) {
	for method, want := range map[string]string{
		`item/fileChange/requestApproval {}`: `{"decision":"accept"}`,
		`execCommandApproval {}`:             `{"decision":"approved"}`,
		`item/permissions/requestApproval {"permissions":{"network":{"enabled":true}}}`: `{"permissions":{"network":{"enabled":true}},"scope":"turn"}`,
		`item/permissions/requestApproval {}`:                                           `null`,
		`item/tool/requestUserInput {"questions":[{"id":"q"}]}`:                         `{"answers":{}}`,
		`item/tool/call {}`: `{"contentItems":[],"success":false}`,
		`mcpServer/elicitation/request {"_meta":{"codex_approval_kind":"mcp_tool_call"}}`: `{"action":"accept","content":{}}`,
		`mcpServer/elicitation/request {"mode":"url","url":"http://127.0.0.1/"}`:          `{"action":"decline"}`,
		`account/chatgptAuthTokens/refresh {}`:                                            `null`,
	} {
		name, params, _ := strings.Cut(method, " ")
		got, err := json.Marshal(codexReply(codexLine{Method: name, Params: json.RawMessage(params)}))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", method, got, err, want)
		}
	}
}
