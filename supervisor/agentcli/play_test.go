package agentcli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/supervisor/agentcli"
	"townd/supervisor/driver"
	"townd/town"
)

// TestMain plays townd when a CLI starts the test binary as such.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "drive":
			os.Exit(drive(os.Args[2:]))
		case "hook":
			os.Exit(hook(os.Args[2], os.Stdin))
		case "mcp":
			serveTool(os.Stdin, os.Stdout)
			os.Exit(0)
		}
	}
	flag.Parse()
	before := runtime.NumGoroutine()
	code := m.Run()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // has goroutines of its own
	if n := runtime.NumGoroutine(); code == 0 && n > before && !fuzzing {
		println("goroutines left over:", n-before)
		code = 1
	}
	os.Exit(code)
}

// drive is `townd drive`; the flags are those of cmd/townd.
func drive(args []string) int {
	o := driver.Options{In: os.Stdin, Out: os.Stdout}
	flags := flag.NewFlagSet("drive", flag.ExitOnError)
	flags.StringVar(&o.Session, "session", "", "")
	flags.BoolVar(&o.Fork, "fork", false, "")
	flags.StringVar(&o.Model, "model", "", "")
	flags.StringVar(&o.Effort, "effort", "", "")
	flags.StringVar(&o.SystemFile, "system-file", "", "")
	_ = flags.Parse(args) // exits
	o.Program, o.Args = flags.Arg(1), flags.Args()[2:]
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer release()
	code, err := driver.Run(ctx, flags.Arg(0), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// rules are what hook does in the town's place, in the variable rulesVar.
type rules struct {
	Log   string // path of a file that gets every call
	Deny  string // a tool is denied when its call, as JSON, has this
	Fail  string // how the hook ends before a tool: "exit", or "kill" for a signal; "" when it answers
	Stops int    // how many ends of turns are sent back
}

const (
	rulesVar = "AGENTCLI_TEST_RULES"
	denied   = "House rule 42: not here."
	sentBack = "There is work on your hook."
)

// hook is `townd hook CLI [POINT]` without a town.
func hook(name string, stdin io.Reader) int {
	out, err := answer(name, stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Stdout.Write(out.Stdout)
	os.Stderr.Write(out.Stderr)
	return out.Exit
}

func answer(name string, stdin io.Reader) (agentcli.HookOutput, error) {
	var none agentcli.HookOutput
	var r rules
	if err := json.Unmarshal([]byte(os.Getenv(rulesVar)), &r); err != nil {
		return none, err
	}
	cli, err := agentcli.Lookup(name)
	if err != nil {
		return none, err
	}
	input, err := io.ReadAll(stdin)
	if err != nil {
		return none, err
	}
	call, err := cli.ParseHook(input)
	if err != nil {
		return none, err
	}
	told, err := json.Marshal(call)
	if err != nil {
		return none, err
	}
	log, err := os.OpenFile(r.Log, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return none, err
	}
	defer log.Close()
	if _, err := log.Write(append(told, '\n')); err != nil {
		return none, err
	}
	switch {
	case call.Point == town.HookToolBefore && r.Fail == "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case call.Point == town.HookToolBefore && r.Fail == "exit":
		os.Exit(1)
	case call.Point == town.HookToolBefore && r.Deny != "" && strings.Contains(string(told), r.Deny):
		return cli.AnswerHook(call, town.HookAnswer{Deny: true, Reason: denied}), nil
	case call.Point == town.HookStop && r.Stops > 0:
		all, err := os.ReadFile(r.Log)
		if err != nil {
			return none, err
		}
		if bytes.Count(all, []byte(`"point":"stop"`)) <= r.Stops {
			return cli.AnswerHook(call, town.HookAnswer{Deny: true, Reason: sentBack}), nil
		}
	}
	return cli.AnswerHook(call, town.HookAnswer{}), nil
}

// hooked makes the agent's hooks call this test binary, which does as r says. It
// returns what reads the calls so far.
func (a *agent) hooked(r rules) (calls func() []town.HookCall) {
	a.t.Helper()
	r.Log = filepath.Join(a.t.TempDir(), "calls")
	b, err := json.Marshal(r)
	if err != nil {
		a.t.Fatal(err)
	}
	a.spec.Hooks, a.spec.Env[rulesVar] = true, string(b)
	return func() []town.HookCall {
		a.t.Helper()
		told, err := os.ReadFile(r.Log)
		if err != nil {
			a.t.Fatalf("no hook ran: %v\n%s", err, a.output)
		}
		var all []town.HookCall
		for line := range bytes.Lines(told) {
			var c town.HookCall
			if err := json.Unmarshal(line, &c); err != nil {
				a.t.Fatal(err)
			}
			all = append(all, c)
		}
		return all
	}
}

// signatory is the variable of serveTool's name, which its tool signs with.
const signatory = "AGENTCLI_TEST_SIGNATORY"

// tool is the server of the tool gt_done, which signs with name.
func (a *agent) tool(name string) agentcli.MCPServer {
	return agentcli.MCPServer{Name: "gastown", Argv: []string{a.spec.Townd, "mcp"}, Env: map[string]string{signatory: name}}
}

// serveTool is an MCP server with one tool, gt_done, which tells its arguments.
func serveTool(in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var r struct {
			ID     json.RawMessage
			Method string
			Params struct {
				ProtocolVersion string
				Arguments       json.RawMessage
			}
		}
		if json.Unmarshal(lines.Bytes(), &r) != nil || r.ID == nil {
			continue
		}
		result := map[string]any{}
		switch r.Method {
		case "initialize":
			result["protocolVersion"] = r.Params.ProtocolVersion
			result["capabilities"] = map[string]any{"tools": map[string]any{}}
			result["serverInfo"] = map[string]any{"name": "test", "version": "1"}
		case "tools/list":
			schema := map[string]any{"type": "object", "properties": map[string]any{"summary": map[string]any{"type": "string"}}}
			result["tools"] = []any{map[string]any{
				"name": "gt_done", "description": "Tell " + os.Getenv(signatory) + " that the work is done.", "inputSchema": schema,
			}}
		case "tools/call":
			result["content"] = []any{map[string]any{
				"type": "text", "text": fmt.Sprintf("noted %s by %s", r.Params.Arguments, os.Getenv(signatory)),
			}}
		}
		if err := json.NewEncoder(out).Encode(map[string]any{"jsonrpc": "2.0", "id": r.ID, "result": result}); err != nil {
			return // the client has gone
		}
	}
}
