package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/api"
	"townd/gitmgr/gittest"
	"townd/llm/llmtest"
	"townd/supervisor/agenttest"
	"townd/town"
)

// container is a townd that reports to the Worker.
type container struct {
	t       *testing.T
	program string
	address string
	env     []string // besides what every one has
	log     *os.File
	server  *exec.Cmd
	ended   chan struct{} // closed when server has; nil before the first
}

// newContainer prepares a townd; start starts it.
func newContainer(t *testing.T) *container {
	t.Helper()
	dir := agenttest.Home(t)
	c := &container{t: t, program: filepath.Join(dir, "townd")}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", c.program, "townd/cmd/townd").CombinedOutput(); err != nil {
		t.Fatalf("build townd: %v\n%s", err, out)
	}
	c.address = freeAddress(t)
	var err error
	if c.log, err = os.Create(filepath.Join(t.TempDir(), "log")); err != nil {
		t.Fatal(err)
	}
	return c
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts the container with a new disk, and waits until it serves.
func (c *container) start(workerURL string) {
	c.t.Helper()
	if err := c.launch(workerURL); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, "townd serves", func() bool {
		resp, err := http.Get("http://" + c.address + "/health") //nolint:noctx // a probe
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
}

// launch starts the container with a new disk. It is stopped when the test ends.
func (c *container) launch(workerURL string) error {
	users := 1<<24 + 1000*rand.Uint32N(1<<18) // far from those of a town at work here
	home := agenttest.Home(c.t)
	c.server = exec.Command(c.program, "keeper", "--", c.program, "serve")
	c.server.Env = []string{
		"PATH=" + filepath.Dir(c.program) + ":" + os.Getenv("PATH"), "HOME=" + home, "TOWND_HOME=" + home, "TOWND_LISTEN=" + c.address,
		"TOWND_TOKEN=" + token, "TOWND_TOWN_ID=" + townID, "TOWND_COORDINATOR_URL=" + workerURL, "TOWND_HEARTBEAT_SECONDS=1",
		"TOWND_GIT_PROTOCOLS=file", "TOWND_STOP_SECONDS=30", "TOWND_PUSH_CHECKPOINTS=true",
		fmt.Sprintf("TOWND_UID_BASE=%d", users), fmt.Sprintf("TOWND_GID_BASE=%d", users), "TOWND_UID_COUNT=1000",
	}
	c.server.Env = append(c.server.Env, c.env...) // the last of a name counts
	c.server.Stdout, c.server.Stderr = c.log, c.log
	if err := c.server.Start(); err != nil {
		return err
	}
	server, ended := c.server, make(chan struct{})
	c.ended = ended
	go func() {
		defer close(ended)
		_ = server.Wait() // its log tells
	}()
	c.t.Cleanup(func() {
		end(server, ended)
		if c.t.Failed() {
			said, _ := os.ReadFile(c.log.Name())
			c.t.Logf("townd said:\n%s", said)
		}
	})
	return nil
}

// stop ends the container as Cloudflare does: SIGTERM, and it may take its time.
func (c *container) stop() { end(c.server, c.ended) }

func end(server *exec.Cmd, ended chan struct{}) {
	_ = server.Process.Signal(syscall.SIGTERM) // it may be gone
	<-ended
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(50 * time.Millisecond): // whoever is asked tells only who asks
		}
	}
}

// until waits until a bead is in that status.
func until(t *testing.T, hall *api.HallClient, id string, status town.BeadStatus) (b town.Bead) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the bead is %+v", b)
		}
	}()
	eventually(t, fmt.Sprintf("bead %s is %s", id, status), func() (ok bool) {
		var err error
		if b, err = hall.Bead(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return b.Status == status
	})
	return b
}

// newTown is the Worker with a townd as its container, and a rig whose agents run a script.
func newTown(t *testing.T, script string) (c *container, w *worker, hall *api.HallClient, remote *gittest.Remote) {
	t.Helper()
	return newTownOf(t, town.RigSettings{CLI: "command", Command: []string{"bash", "-c", script}})
}

// newTownOf is newTown with other agents; env is for the container.
func newTownOf(t *testing.T, set town.RigSettings, env ...string) (c *container, w *worker, hall *api.HallClient, remote *gittest.Remote) {
	t.Helper()
	c = newContainer(t)
	c.env = env
	w = serve(t, "http://"+c.address)
	c.start(w.url)
	hall, remote = newRig(t, w, set)
	return c, w, hall, remote
}

// newRig makes a rig of a new remote.
func newRig(t *testing.T, w *worker, set town.RigSettings) (hall *api.HallClient, remote *gittest.Remote) {
	t.Helper()
	hall = api.NewHall(w.url, townID, token, nil)
	remote = gittest.NewAt(t, filepath.Join(agenttest.Home(t), "remote.git"), gittest.Options{Files: 3})
	set.GitURL, set.DefaultBranch = remote.URL(), "main"
	if _, _, err := hall.PutRig(t.Context(), "app", set); err != nil {
		t.Fatal(err)
	}
	return hall, remote
}

// N12, B16, B17: the Durable Object has the container start an agent, the agent calls a
// tool of the town, the object's state has it, and the branch is merged.
func TestWorkGoesThroughTheContainerAndBack(t *testing.T) {
	_, _, hall, remote := newTown(t, `
		townd tool gt_prime >/dev/null &&
		echo "all is well" > page.txt && git add page.txt && git commit -qm page && git push -q origin HEAD &&
		townd tool gt_done '{"summary": "wrote the page, and it says that all is well", "verified": "ALIGNED"}'`)
	b, _, err := hall.CreateBead(t.Context(), "app", town.BeadRequest{Title: "write a page", Body: "It says that all is well."})
	if err != nil {
		t.Fatal(err)
	}
	b = until(t, hall, b.ID, town.BeadClosed)
	if b.Attempts != 1 || b.Commit == "" || !strings.Contains(b.Summary, "wrote the page") {
		t.Errorf("the bead is %+v", b)
	}
	if got := remote.Git("show", "main:page.txt"); strings.TrimSpace(got) != "all is well" {
		t.Errorf("main has the page %q", got)
	}
	eventually(t, "the run's end is known", func() bool {
		runs, err := hall.Runs(t.Context(), api.RunQuery{BeadID: b.ID})
		return err == nil && len(runs.Runs) == 1 && runs.Runs[0].EndedAt != nil
	})
}

// calls are what the model of a bead does by the town's tools, in order.
var calls = []llmtest.Tool{
	{Name: "gt_prime", Input: map[string]any{}},
	{Name: "Bash", Input: map[string]any{
		"command": "echo all is well > page.txt && git add page.txt && git commit -q -m page", "description": "write the page",
	}},
	{Name: "gt_done", Input: map[string]any{"summary": "Wrote the page that was asked for; nothing is left.", "verified": "ALIGNED"}},
}

// model makes the call that follows those whose results it was shown.
func model(r *llmtest.Request) llmtest.Step {
	shown := slices.DeleteFunc(slices.Clone(r.Messages), func(m llmtest.Message) bool { return m.Role != "tool" })
	if len(shown) >= len(calls) {
		return llmtest.Step{Text: "Done."}
	}
	call := calls[len(shown)]
	i := slices.IndexFunc(r.Tools, func(offered llmtest.ToolSpec) bool { return strings.HasSuffix(offered.Name, call.Name) })
	if i < 0 {
		return llmtest.Step{Text: "There is no " + call.Name + "."}
	}
	call.Name = r.Tools[i].Name
	return llmtest.Step{Tools: []llmtest.Tool{call}}
}

// N12 with a real CLI, whose model is scripted.
func TestRealCLIWorksForATownOfTheWorker(t *testing.T) {
	program := llmtest.Program(t, "claude")
	_, url := llmtest.Serve(t, model)
	_, _, hall, remote := newTownOf(t, town.RigSettings{CLI: "claude", Model: "claude-sonnet-4-5"},
		"LLM_PROVIDER=claude", "LLM_BASE_URL="+url, "LLM_API_KEY=of-the-test", "PATH="+agenttest.Reachable(t, program)+":"+os.Getenv("PATH"))
	b, _, err := hall.CreateBead(t.Context(), "app", town.BeadRequest{Title: "write a page", Body: "It says that all is well."})
	if err != nil {
		t.Fatal(err)
	}
	b = until(t, hall, b.ID, town.BeadClosed)
	if !strings.Contains(b.Summary, "Wrote the page") {
		t.Errorf("the bead is %+v", b)
	}
	if got := remote.Git("show", "main:page.txt"); strings.TrimSpace(got) != "all is well" {
		t.Errorf("main has the page %q", got)
	}
	events, err := hall.Events(t.Context(), api.AgentEventQuery{BeadID: b.ID, Limit: 1000, Wait: 10 * time.Second})
	if err != nil || len(events.Events) == 0 {
		t.Errorf("the town has no events of the bead, %v", err)
	}
}

// A stream by ticket through the Worker loses no byte and no order.
func TestStreamThroughTheWorkerIsWhole(t *testing.T) {
	const lines = 20_000
	_, w, hall, _ := newTown(t, fmt.Sprintf(`seq -f 'line %%.0f of many' 1 %d; echo END-OF-IT; sleep 60`, lines))
	b, _, err := hall.CreateBead(t.Context(), "app", town.BeadRequest{Title: "print"})
	if err != nil {
		t.Fatal(err)
	}
	b = until(t, hall, b.ID, town.BeadInProgress)
	control := api.New(w.url+"/api/towns/"+townID+"/container", token, nil)
	eventually(t, "the agent runs", func() bool {
		a, err := control.Agent(t.Context(), b.AgentID)
		return err == nil && a.Status == town.StatusRunning
	})
	stream, err := control.Stream(t.Context(), b.AgentID, api.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var got strings.Builder
	for !strings.Contains(got.String(), "END-OF-IT") {
		m, err := stream.Next(t.Context())
		if err != nil {
			t.Fatalf("after %d bytes: %v", got.Len(), err)
		}
		got.Write(m.Data)
		if gap, ok := m.Frame.(api.GapFrame); ok {
			t.Errorf("a gap: %+v", gap)
		}
	}
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d of many\r\n", i+1)
	}
	if !strings.HasPrefix(got.String(), want.String()) {
		t.Errorf("the stream of %d bytes is not what was printed, %d bytes", got.Len(), want.Len())
	}
}

// The container is taken away and another one comes, with an empty disk: the agent goes
// on from its checkpoint, on its branch, in the next epoch.
func TestAnotherContainerGoesOnWithTheWork(t *testing.T) {
	c, w, hall, _ := newTown(t, `
		if test -e half.txt; then
			echo and the rest >> half.txt && git add half.txt && git commit -qm whole && git push -q origin HEAD &&
			townd tool gt_done '{"summary": "went on with the half that was there", "verified": "ALIGNED"}'
		else
			echo half > half.txt
		fi; sleep 300`)
	b, _, err := hall.CreateBead(t.Context(), "app", town.BeadRequest{Title: "in two halves"})
	if err != nil {
		t.Fatal(err)
	}
	b = until(t, hall, b.ID, town.BeadInProgress)
	control := api.New("http://"+c.address, token, nil)
	eventually(t, "the first half is there", func() bool {
		a, err := control.Agent(t.Context(), b.AgentID)
		if err != nil || a.Workdir == "" {
			return false
		}
		_, err = os.Stat(filepath.Join(a.Workdir, "half.txt"))
		return err == nil
	})
	if _, err := control.Drain(t.Context(), api.DrainRequest{}); err != nil {
		t.Fatal(err)
	}
	var before town.TownStatus
	eventually(t, "the town knows that the container ends", func() bool {
		before, err = hall.TownStatus(t.Context())
		return err == nil && before.Instance != nil && before.Instance.Status == api.HealthDraining
	})
	c.stop()
	c.start(w.url)
	eventually(t, "the new container is the town's", func() bool {
		s, err := hall.TownStatus(t.Context())
		return err == nil && s.Instance != nil && s.Instance.Epoch == before.Instance.Epoch+1
	})
	w.advance(t, time.Minute) // the rest after an attempt that ended
	b = until(t, hall, b.ID, town.BeadClosed)
	if b.Epoch != 2 {
		t.Errorf("the bead is closed in epoch %d, want 2", b.Epoch)
	}
}

// container makes a call of the control API through the Worker.
func (w *worker) container(t *testing.T, method, path string) (status int, body map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+"/api/towns/"+townID+"/container"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(data, &body) // what is no object is told by the status
	return resp.StatusCode, body
}

// A person stops an agent: the town orders it, the container does it, and the bead is held.
func TestStopReachesTheAgent(t *testing.T) {
	_, w, hall, _ := newTown(t, "sleep 300")
	b, _, err := hall.CreateBead(t.Context(), "app", town.BeadRequest{Title: "to be stopped"})
	if err != nil {
		t.Fatal(err)
	}
	b = until(t, hall, b.ID, town.BeadInProgress)
	eventually(t, "the agent runs", func() bool {
		status, a := w.container(t, http.MethodGet, "/agents/"+b.AgentID+"/status")
		return status == http.StatusOK && a["status"] == "running"
	})
	if _, err := hall.OrderStop(t.Context(), b.AgentID, "enough"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent has ended", func() bool {
		status, a := w.container(t, http.MethodGet, "/agents/"+b.AgentID+"/status")
		return status == http.StatusOK && a["status"] == "exited" && a["reason"] == "stopped"
	})
	if b, err = hall.Bead(t.Context(), b.ID); err != nil || b.Status != town.BeadOpen || !strings.Contains(b.Hold, "enough") {
		t.Errorf("the bead is %+v, %v", b, err)
	}
}
