package e2e_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/llm/llmtest"
	"townd/supervisor/agentcli"
	"townd/town"
)

// serverScript is an MCP server with one tool, gt_done, over its standard input and
// output, which says its variable NOTED.
const serverScript = `while read -r line; do
	id=$(printf %s "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
	case $line in
	*'"initialize"'*) r='{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}' ;;
	*'"tools/list"'*) r='{"tools":[{"name":"gt_done","description":"Say that the work is done.","inputSchema":{"type":"object","properties":{}}}]}' ;;
	*'"tools/call"'*) r='{"content":[{"type":"text","text":"noted by '$NOTED'"}]}' ;;
	*) r='{}' ;;
	esac
	test -z "$id" || printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$r"
done`

// playMCP launches the CLI as agentcli says with a server of the test's own, and has
// its model call the server's tool. The town's own are TestEveryCLICallsTheTownsTools's.
func playMCP(t *testing.T, column *cliColumn) {
	called := ""
	model, url := llmtest.Serve(t, func(r *llmtest.Request) llmtest.Step {
		for _, tool := range r.Tools {
			if called == "" && strings.HasSuffix(tool.Name, "gt_done") {
				called = tool.Name
				return llmtest.Step{Tools: []llmtest.Tool{{Name: tool.Name, Input: map[string]any{}}}}
			}
		}
		return llmtest.Step{Text: "Done."}
	})
	cli, err := agentcli.Lookup(column.cli)
	if err != nil {
		t.Fatal(err)
	}
	spec := agentcli.Spec{
		Role: town.RolePolecat, Prompt: "finish", Workdir: t.TempDir(), Home: t.TempDir(), Townd: program,
		Models:   &agentcli.Models{ModelEndpoint: town.ModelEndpoint{Dialect: cli.Dialects()[0], BaseURL: url, Model: column.model}, Key: "capability"},
		MCP:      []agentcli.MCPServer{{Name: "gastown", Argv: []string{"/bin/sh", "-c", serverScript}, Env: map[string]string{"NOTED": "the town"}}},
		LookPath: func(string) (string, error) { return llmtest.Program(t, column.cli), nil },
	}
	launch(t, cli, spec)
	waitFor(t, "result of the server's tool", func() bool {
		requests := model.Requests()
		return len(requests) > 1 && strings.Contains(news(requests[len(requests)-1]), "noted by the town")
	})
	if t.Failed() {
		t.Fatalf("called %q, %d requests", called, len(model.Requests()))
	}
	column.set("MCP server configured", "`"+called+"`")
}

// launch runs a CLI as agentcli says until the test ends.
func launch(t *testing.T, cli agentcli.CLI, spec agentcli.Spec) {
	t.Helper()
	l, err := cli.Launch(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range l.Files {
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Path, f.Data, f.Mode); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"PATH": os.Getenv("PATH")}
	maps.Copy(env, l.Env)
	cmd := exec.Command(l.Argv[0], l.Argv[1:]...)
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	output := newBuffer()
	cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Workdir, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close() // it may have ended
		late := time.AfterFunc(30*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		_ = cmd.Wait() // however it ends
		late.Stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", cli.Name(), output)
		}
	})
	if _, err := input.Write(l.Stdin); err != nil {
		t.Fatal(err)
	}
	if l.CloseStdin {
		if err := input.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
