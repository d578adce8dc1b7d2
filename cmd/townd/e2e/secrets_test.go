package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// canaries are secrets that each can be found again. Those of the server nobody
// but the server may have, those given with a start nobody but the agent.
type canaries struct{ server, given map[string]string }

func newCanaries() canaries {
	return canaries{
		server: map[string]string{
			"TOWND_TOKEN": "canary-server-token-1b6d", "GH_TOKEN": "canary-server-gh-77e1", "GITHUB_TOKEN": "canary-server-github-55aa",
			"LLM_API_KEY": "canary-server-llm-0c3f", "ANTHROPIC_API_KEY": "canary-server-anthropic-93b2", "AWS_SECRET_ACCESS_KEY": "canary-server-aws-1f4e",
			"GITHUB_WEBHOOK_SECRET": "canary-server-webhook-2d9c", "SSH_ASKPASS": "canary-server-askpass-31c7",
			"GIT_CONFIG_PARAMETERS": "canary-server-git-6ef0", "DATABASE_URL": "postgres://u:canary-server-db-5d5d@db/x",
		},
		given: map[string]string{
			"ANTHROPIC_API_KEY": "canary-given-anthropic-4e1d", "MY_PASSWORD": "canary-given-password-9c0f", "PLAIN": "canary-given-plain-\n-7b2a",
			"JSON": `{"apiKey":"canary-given-json-d41c"}`, "SHORT_TOKEN": "canary-given-short-e2b8",
		},
	}
}

const (
	serverCanary = "canary-server-"
	givenCanary  = "canary-given-"
	wrongCanary  = "canary-wrong-" // what callers send by mistake
)

// No secret of the server is in an agent's or the keeper's environment, and
// none of anybody's in a log, a file, an argument, an answer or an event.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	secrets := newCanaries()
	env := map[string]string{"LOG_LEVEL": "debug"}
	maps.Copy(env, secrets.server)
	tt := newTown(t, env)
	watch := tt.watchProcesses()
	req := tt.request("toast", "bash", "-c", "echo work >work.txt; git add work.txt; git commit -qm work; echo more >more.txt; echo ready; exec sleep 10000")
	req.EnvVars = secrets.given
	tt.start(req)
	tt.ready("toast")
	tt.provoke(req)
	tt.restart() // adoption reads and logs as well
	tt.provoke(req)
	tt.look()
	tt.stop("toast", town.StopRequest{})
	tt.look()
	tt.start(req)
	tt.ready("toast")
	tt.stop("toast", town.StopRequest{})
	if err := tt.Delete(t.Context(), "toast"); err != nil {
		t.Error(err)
	}
	watch.end(t)
	tt.noCanary("servers' log", tt.log.String())
	tt.noCanaryInFiles()
}

// provoke asks for what is refused, with secrets in places where they do not
// belong and in places where they do.
func (tt *testTown) provoke(good town.StartRequest) {
	t := tt.t
	t.Helper()
	for name, change := range map[string]func(*town.StartRequest){
		"another specification": func(r *town.StartRequest) { r.Prompt = "other" },
		"a password in the URL": func(r *town.StartRequest) { r.GitURL = "https://user:" + wrongCanary + "url@example.invalid/x.git" },
		"a token as user":       func(r *town.StartRequest) { r.GitURL = "https://" + wrongCanary + "user@example.invalid/x.git" },
		"a broken URL":          func(r *town.StartRequest) { r.GitURL = "https://u:" + wrongCanary + "broken@[/x.git" },
		"a bad name":            func(r *town.StartRequest) { r.EnvVars = map[string]string{"A B": wrongCanary + "name"} },
		"a refused name":        func(r *town.StartRequest) { r.EnvVars = map[string]string{"GIT_TOKEN": wrongCanary + "refused"} },
		"a NUL":                 func(r *town.StartRequest) { r.EnvVars = map[string]string{"A": wrongCanary + "\x00"} },
		"too long": func(r *town.StartRequest) {
			r.EnvVars = map[string]string{"A": strings.Repeat(wrongCanary, 20_000)}
		},
		"a broken configuration": func(r *town.StartRequest) {
			r.CLI, r.Command, r.Prompt = "kilo", nil, "x"
			r.EnvVars = map[string]string{"KILO_CONFIG_CONTENT": `{"apiKey":"` + wrongCanary + `config", nonsense}`}
		},
		"a configuration of another type": func(r *town.StartRequest) {
			r.CLI, r.Command, r.Prompt = "kilo", nil, "x"
			r.EnvVars = map[string]string{"KILO_CONFIG_CONTENT": `{"agent":"` + wrongCanary + `agent"}`}
		},
		"no repository": func(r *town.StartRequest) {
			r.AgentID, r.RigID, r.GitURL = "other", "other", "file:///nonexistent/x.git"
		},
		"no program": func(r *town.StartRequest) { r.AgentID, r.Command = "other", []string{"/nonexistent/program"} },
		"no such place": func(r *town.StartRequest) {
			r.AgentID, r.Branch, r.StartPoint = "other", "polecat/other/bead", "nowhere"
		},
	} {
		r := good
		change(&r)
		_, err := tt.Start(t.Context(), r)
		e, ok := errors.AsType[*api.Error](err)
		if !ok {
			t.Errorf("start with %s: %v; want it refused", name, err)
			continue
		}
		tt.noCanary("refusal of a start with "+name, fmt.Sprintf("%s %+v", e.Text, err))
	}
	wrong := api.New("http://"+tt.address, wrongCanary+"token", tt.http)
	if _, err := wrong.Agents(t.Context()); !errors.Is(err, town.ErrUnauthorized) {
		t.Errorf("a wrong token: %v", err)
	} else {
		tt.noCanary("refusal of a token", err.Error())
	}
	for _, target := range []string{"/agents?token=" + wrongCanary + "query", "/agents/toast/stream?ticket=" + wrongCanary + "ticket", "/" + "?key=" + wrongCanary + "path"} {
		resp, err := tt.http.Get("http://" + tt.address + target) //nolint:noctx // the client's own
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(resp.Body) // what came is looked at
		resp.Body.Close()
		tt.noCanary("answer to "+target, body.String())
	}
}

// look reads everything that the town tells.
func (tt *testTown) look() {
	t := tt.t
	t.Helper()
	for _, path := range []string{
		"/health", "/metrics", "/openapi.json", "/agents", "/agents/toast/status", "/agents/toast/events", "/agents/toast/diff", "/agents/toast/transcript",
		"/agents/toast/transcript?format=asciicast", "/agents/toast/screen",
	} {
		bt := &badTown{testTown: tt}
		resp, body := bt.send(raw{method: "GET", target: path})
		if resp == nil || resp.StatusCode != 200 {
			t.Errorf("GET %s: %v %s", path, resp, body)
			continue
		}
		tt.noCanary("answer to GET "+path, body)
	}
}

func (tt *testTown) noCanary(where, text string) {
	tt.t.Helper()
	for _, canary := range []string{serverCanary, givenCanary, wrongCanary} {
		if i := strings.Index(text, canary); i >= 0 {
			tt.t.Errorf("%s holds a secret: …%s…", where, text[max(0, i-200):min(len(text), i+100)])
		}
	}
}

// noCanaryInFiles looks into every file of the town and of its remote.
func (tt *testTown) noCanaryInFiles() {
	tt.t.Helper()
	files := 0
	for _, dir := range []string{tt.home, tt.remote.Path} {
		tt.eachFile(dir, func(path string, data []byte) {
			files++
			tt.noCanary(path, string(data))
		})
	}
	if files < 20 {
		tt.t.Errorf("only %d files were looked into", files)
	}
}

// processWatch looks at the arguments and environments of processes as they come
// and go.
type processWatch struct {
	stop  context.CancelFunc
	done  sync.WaitGroup
	seen  int
	found map[string]bool
}

// watchProcesses watches until end is called.
func (tt *testTown) watchProcesses() *processWatch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &processWatch{stop: cancel, found: make(map[string]bool)}
	w.done.Go(func() {
		for ctx.Err() == nil {
			for _, p := range allProcesses() {
				w.look(tt, p)
			}
			time.Sleep(time.Millisecond) // there is no event for a new process
		}
	})
	tt.t.Cleanup(cancel)
	return w
}

func (w *processWatch) look(tt *testTown, p proc) {
	if strings.Contains(p.command, "canary-") {
		w.found["arguments of "+p.String()] = true
	}
	if tt.isAgents(p) {
		w.seen++
		if bytes.Contains(p.openEnviron(), []byte(serverCanary)) {
			w.found["environment of the agent's "+p.String()] = true
		}
		return
	}
	environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid)) // empty for one that has just ended
	if strings.Contains(p.command, " keeper ") && strings.Contains(p.command, tt.home) && bytes.Contains(environ, []byte("canary-")) {
		w.found["environment of the keeper, "+p.String()] = true
	}
}

func (w *processWatch) end(t *testing.T) {
	t.Helper()
	w.stop()
	w.done.Wait()
	for where := range w.found {
		t.Errorf("a secret is in the %s", where)
	}
	if w.seen < 10 {
		t.Errorf("agents' processes were seen %d times only", w.seen)
	}
}
