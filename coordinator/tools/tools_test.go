package tools_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"townd/coordinator/tools"
	"townd/sock"
	"townd/town"
)

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); code == 0 && n > before && !fuzzing() {
		println("goroutines left over:", n-before)
		code = 1
	}
	os.Exit(code)
}

func fuzzing() bool {
	for _, arg := range os.Args {
		if strings.HasPrefix(arg, "-test.fuzz=") {
			return true
		}
	}
	return false
}

// house is a town with one agent.
type house struct {
	hook func(ctx context.Context, call town.HookCall) (town.HookAnswer, error)

	mu      sync.Mutex
	calls   []town.HookCall
	reports []town.Report
}

const capability = "capability-of-toast"

func (h *house) Hook(ctx context.Context, given string, call town.HookCall) (town.HookAnswer, error) {
	if given != capability {
		return town.HookAnswer{}, fmt.Errorf("no living agent has this capability: %w", town.ErrUnauthorized)
	}
	h.mu.Lock()
	h.calls = append(h.calls, call)
	h.mu.Unlock()
	if h.hook != nil {
		return h.hook(ctx, call)
	}
	return town.HookAnswer{Deny: call.Shell != "", Reason: call.Shell}, nil
}

func (h *house) Report(_ context.Context, given string, r town.Report) error {
	if given != capability {
		return fmt.Errorf("no living agent has this capability: %w", town.ErrUnauthorized)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reports = append(h.reports, r)
	return nil
}

func (h *house) asked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.calls)
}

// serve serves h until the test ends.
func serve(t testing.TB, path string, h *house) *tools.Server {
	t.Helper()
	s, err := tools.New(tools.Config{Path: path, Agents: h, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func socketIn(t testing.TB) string { return filepath.Join(t.TempDir(), "agents", "sock") }

func TestAnAgentAsksAndReports(t *testing.T) {
	for _, dir := range []string{"agents", strings.Repeat("a long way/", 20)} { // longer than a socket's address
		h := &house{}
		path := filepath.Join(t.TempDir(), dir, "sock")
		serve(t, path, h)
		c := tools.NewClient(path, capability)
		call := town.HookCall{
			Point: town.HookToolBefore, Tool: "Bash", ToolID: "t1", Input: json.RawMessage(`{"command":"ls"}`), Shell: "ls", Dir: "/work",
			Reads: []string{"a"}, Writes: []string{"b"},
		}
		answer, err := c.Hook(t.Context(), call)
		if want := (town.HookAnswer{Deny: true, Reason: "ls"}); err != nil || answer != want {
			t.Errorf("Hook() = %+v, %v, want %+v", answer, err, want)
		}
		report := town.Report{State: town.ReasonBlocked, Text: "no schema"}
		if err := c.Report(t.Context(), report); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]town.HookCall{call}, h.calls) + cmp.Diff([]town.Report{report}, h.reports); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	}
}

// TestErrorsHaveTheirKinds, by the table of package town, and are not asked again.
func TestErrorsHaveTheirKinds(t *testing.T) {
	for _, kind := range []error{town.ErrForbidden, town.ErrConflict, town.ErrGone, town.ErrInvalid, errors.New("the canary sings")} {
		h := &house{hook: func(context.Context, town.HookCall) (town.HookAnswer, error) {
			return town.HookAnswer{}, fmt.Errorf("because: %w", kind)
		}}
		path := socketIn(t)
		serve(t, path, h)
		_, err := tools.NewClient(path, capability).Hook(t.Context(), town.HookCall{Point: town.HookStop})
		known := town.HTTPStatus(kind) != http.StatusInternalServerError
		if err == nil || errors.Is(err, kind) != known || strings.Contains(err.Error(), "because") != known {
			t.Errorf("%v: %v", kind, err)
		}
		if n := h.asked(); n != 1 {
			t.Errorf("%v: asked %d times", kind, n)
		}
	}
	path := socketIn(t)
	serve(t, path, &house{})
	err := tools.NewClient(path, "of another").Report(t.Context(), town.Report{State: town.ReasonDone})
	if !errors.Is(err, town.ErrUnauthorized) || strings.Contains(err.Error(), "of another") {
		t.Errorf("a wrong capability: %v", err)
	}
	c := tools.NewClient(path, capability)
	for _, r := range []town.Report{{State: "finished"}, {}, {State: town.ReasonDone, Text: strings.Repeat("x", tools.MaxReportBytes+1)}} {
		if err := c.Report(t.Context(), r); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("report %.20q: %v", r.State, err)
		}
	}
	if _, err := c.Hook(t.Context(), town.HookCall{Point: "lunch"}); !errors.Is(err, town.ErrInvalid) {
		t.Errorf("hook of no point: %v", err)
	}
	if _, err := c.Hook(t.Context(), town.HookCall{Point: town.HookStop, Text: strings.Repeat("x", tools.MaxBodyBytes)}); !errors.Is(err, town.ErrTooLarge) {
		t.Errorf("a hook that is too large: %v", err)
	}
}

// raw sends bytes that our client would not.
func raw(t testing.TB, path, method, target, authorization string, body []byte) (status int, answer []byte) {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return sock.Dial(ctx, path) },
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://town"+target, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func TestWhatIsNoCallIsRefused(t *testing.T) {
	h := &house{}
	path := socketIn(t)
	serve(t, path, h)
	const bearer = "Bearer " + capability
	for _, c := range []struct {
		method, target, authorization, body string
		status                              int
	}{
		{"POST", "/hook", bearer, `{"point":"stop","from":"tomorrow","text":""}`, 200},
		{"POST", "/hook", "", `{"point":"stop"}`, 401},
		{"POST", "/hook", "Bearer ", `{"point":"stop"}`, 401},
		{"POST", "/hook", "Basic " + capability, `{"point":"stop"}`, 401},
		{"POST", "/hook", "Bearer x", `{"point":"stop"}`, 401},
		{"POST", "/hook", bearer, `{"point":"stop"`, 400},
		{"POST", "/hook", bearer, ``, 400},
		{"POST", "/hook", bearer, `[]`, 400},
		{"POST", "/hook", bearer, `{"point":7}`, 400},
		{"POST", "/hook", bearer, `null`, 400},
		{"POST", "/report", bearer, `{"state":"done"}`, 200},
		{"GET", "/hook", bearer, ``, 404},
		{"POST", "/agents/start", bearer, `{}`, 404},
	} {
		status, answer := raw(t, path, c.method, c.target, c.authorization, []byte(c.body))
		if status != c.status || !json.Valid(answer) {
			t.Errorf("%s %s %s as %q: %d %s, want %d", c.method, c.target, c.body, c.authorization, status, answer, c.status)
		}
	}
	if n := h.asked(); n != 1 {
		t.Errorf("%d calls came through, want 1", n)
	}
}

func FuzzCallsAreAnsweredOrRefused(f *testing.F) {
	path := socketIn(f)
	serve(f, path, &house{})
	f.Add("/hook", []byte(`{"point":"tool.before","input":{"a":[1]},"shell":"ls"}`))
	f.Add("/report", []byte(`{"state":"done","text":"\ud800"}`))
	f.Fuzz(func(t *testing.T, target string, body []byte) {
		if target != "/report" {
			target = "/hook"
		}
		status, answer := raw(t, path, "POST", target, "Bearer "+capability, body)
		if status != 200 && status != 400 || !json.Valid(answer) {
			t.Errorf("%d %q", status, answer)
		}
	})
}

// TestASocketIsReplacedWhenItsServerIsDead, and never while it lives.
func TestASocketIsReplacedWhenItsServerIsDead(t *testing.T) {
	path := socketIn(t)
	first := serve(t, path, &house{})
	if _, err := tools.New(tools.Config{Path: path, Agents: &house{}, Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, town.ErrConflict) {
		t.Errorf("a second server: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket outlives its server: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // as a server that was killed leaves it
	serve(t, path, &house{})
	if err := tools.NewClient(path, capability).Report(t.Context(), town.Report{State: town.ReasonDone}); err != nil {
		t.Error(err)
	}
}

// TestACallWaitsForTheServerThatRestarts: it comes before there is one, and one
// closes while it decides.
func TestACallWaitsForTheServerThatRestarts(t *testing.T) {
	path := socketIn(t)
	done := make(chan error, 1)
	go func() { // ends with the answer
		answer, err := tools.NewClient(path, capability).Hook(t.Context(), town.HookCall{Point: town.HookToolBefore, Shell: "ls"})
		if err == nil && !answer.Deny {
			err = fmt.Errorf("answer %+v", answer)
		}
		done <- err
	}()
	deciding := make(chan struct{})
	first := serve(t, path, &house{hook: func(ctx context.Context, _ town.HookCall) (town.HookAnswer, error) {
		close(deciding)
		<-ctx.Done()
		return town.HookAnswer{}, fmt.Errorf("decide: %w", context.Cause(ctx))
	}})
	<-deciding
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	busy := 2
	second := &house{}
	second.hook = func(_ context.Context, call town.HookCall) (town.HookAnswer, error) {
		if busy--; busy >= 0 {
			return town.HookAnswer{}, fmt.Errorf("not yet: %w", town.ErrUnavailable)
		}
		return town.HookAnswer{Deny: true, Reason: call.Shell}, nil
	}
	serve(t, path, second)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := second.asked(); n != 3 {
		t.Errorf("the second server was asked %d times, want 3: a 503 is asked again", n)
	}
}

func TestACallGivesUpAfterItsPatience(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := tools.NewClient(path, capability).Hook(t.Context(), town.HookCall{Point: town.HookToolBefore})
		if took := time.Since(began); !errors.Is(err, town.ErrUnavailable) || took != tools.Patience {
			t.Errorf("%v after %v, want it unavailable after %v", err, took, tools.Patience)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := tools.NewClient(path, capability).Report(ctx, town.Report{State: town.ReasonDone}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller that waits for a second: %v", err)
		}
	})
}

// TestEveryUserOfAnAgentReachesTheSocket, for agents do not run as root.
func TestEveryUserOfAnAgentReachesTheSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs agents as other users")
	}
	path := socketIn(t)
	home := filepath.Dir(filepath.Dir(path))
	if err := errors.Join(os.Chmod(home, 0o711), os.Chmod(filepath.Dir(home), 0o711)); err != nil { // as a town's home is
		t.Fatal(err)
	}
	serve(t, path, &house{})
	cmd := exec.CommandContext(t.Context(), "test", "-w", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61234, Gid: 61234}}
	if err := cmd.Run(); err != nil {
		t.Errorf("another user may not connect: %v", err)
	}
}
