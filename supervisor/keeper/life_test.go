package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/town"
)

func TestAClientMayDieAndAnotherSeesEverything(t *testing.T) {
	c, dir := newTestKeeper(t, "")
	r := mustSpawn(t, c, newSpawn(t, program("flood", "20000000")...))
	first, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var seen int64
	if err := first.Watch(ctx, func(u Update) { // it goes away in the middle
		if seen = u.Size; seen > 1<<20 {
			cancel()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch() = %v, want canceled", err)
	}
	first.Close()
	second, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	runs, err := second.Runs(t.Context())
	if err != nil || len(runs) != 1 || runs[0].ID != r.ID || runs[0].PID != r.PID || runs[0].Start != r.Start || runs[0].Size < seen {
		t.Fatalf("Runs() = %+v, %v, want %+v", runs, err, r)
	}
	waitExit(t, second, r.ID)
	got, p := output(t, r.Transcript), pattern(1<<20)
	for i := 0; i < len(got); i += len(p) {
		if want := p[:min(len(p), len(got)-i)]; !bytes.Equal(got[i:i+len(want)], want) {
			t.Fatalf("output differs after %d bytes", i)
		}
	}
	if len(got) != 20_000_000 {
		t.Errorf("%d bytes of output, want 20000000", len(got))
	}
}

func TestASlowWatcherHoldsUpNobody(t *testing.T) {
	c, dir := newTestKeeper(t, "")
	conn, err := net.Dial("unix", filepath.Join(dir, socketName)) // asks to watch and never reads
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /watch HTTP/1.1\r\nHost: keeper\r\n%s: %d\r\n\r\n", headerProtocol, Protocol); err != nil {
		t.Fatal(err)
	}
	stuck := make(chan struct{})
	release := make(chan struct{})
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		var once sync.Once
		_ = c.Watch(ctx, func(Update) { once.Do(func() { close(stuck); <-release }) })
	})
	r := mustSpawn(t, c, newSpawn(t, program("flood", "20000000")...))
	<-stuck
	if exit := waitExit(t, c, r.ID); exit.Size != 20_000_000 {
		t.Errorf("exit = %+v", exit)
	}
	close(release)
	cancel()
	wg.Wait()
}

func TestOneKeeperRunsInADirectory(t *testing.T) {
	c, dir := newTestKeeper(t, "")
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	args := keeperArgs(dir, "")
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("another keeper (pid %d) runs", info.PID)) {
		t.Errorf("second keeper: %v, %s", err, out)
	}
	again, err := Ensure(t.Context(), dir, args)
	if err != nil {
		t.Fatalf("Ensure() = %v", err)
	}
	defer again.Close()
	if same, err := again.Info(t.Context()); err != nil || same.PID != info.PID {
		t.Errorf("Ensure() beside a keeper: pid %d, %v, want %d", same.PID, err, info.PID)
	}
}

func TestManyEnsuresMakeOneKeeper(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30), "keeper") // longer than a socket's address
	var wg sync.WaitGroup
	clients := make([]*Client, 8)
	pids := make([]int, len(clients))
	for i := range clients {
		wg.Go(func() {
			c, err := Ensure(t.Context(), dir, keeperArgs(dir, ""))
			if err != nil {
				t.Errorf("Ensure() = %v", err)
				return
			}
			info, err := c.Info(t.Context())
			if err != nil {
				t.Errorf("Info() = %v", err)
			}
			clients[i], pids[i] = c, info.PID
		})
	}
	wg.Wait()
	if slices.Sort(pids); pids[0] == 0 || pids[0] != pids[len(pids)-1] {
		t.Errorf("keepers %v, want one", pids)
	}
	for _, c := range clients {
		endKeeper(t, c, dir)
	}
}

func TestTheSocketOfADeadKeeperIsNoObstacle(t *testing.T) {
	c, dir := newTestKeeper(t, "")
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(info.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !eventually(10*time.Second, func() bool { return !exists(info.PID) }) {
		t.Fatal("keeper is still there")
	}
	if _, err := os.Stat(filepath.Join(dir, socketName)); err != nil {
		t.Fatalf("no stale socket: %v", err)
	}
	if _, err := Dial(t.Context(), dir); !errors.Is(err, town.ErrUnavailable) {
		t.Errorf("Dial() = %v, want unavailable", err)
	}
	if err := c.Watch(t.Context(), func(Update) {}); !errors.Is(err, town.ErrUnavailable) {
		t.Errorf("Watch() = %v, want unavailable", err)
	}
	next, err := Ensure(t.Context(), dir, keeperArgs(dir, ""))
	if err != nil {
		t.Fatalf("Ensure() = %v", err)
	}
	endKeeper(t, next, dir)
}

func TestAnotherProtocolIsToldAndNothingStopped(t *testing.T) {
	c, dir := newTestKeeper(t, "")
	r := mustSpawn(t, c, newSpawn(t, program("rest")...))
	req, err := newRequest(t.Context(), http.MethodGet, "/hello", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(headerProtocol, "7")
	err = c.do(req, nil)
	info, _ := c.Info(t.Context())
	if v, ok := errors.AsType[*VersionError](err); !ok || v.Keeper != Protocol || v.PID != info.PID || !strings.Contains(v.Error(), "its agents go on") {
		t.Errorf("hello of another protocol = %v, want a VersionError of pid %d", err, info.PID)
	}
	if !exists(r.PID) {
		t.Error("the program was ended")
	}

	// The other way round: a keeper of the future.
	future := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(future, socketName))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(headerProtocol, "2")
		w.Header().Set(headerPID, "4711")
		w.Header().Set(headerVersion, "v9")
		w.WriteHeader(statusVersion)
	})}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	_, err = Ensure(t.Context(), future, keeperArgs(future, ""))
	if v, ok := errors.AsType[*VersionError](err); !ok || *v != (VersionError{Keeper: 2, Client: Protocol, Version: "v9", PID: 4711}) {
		t.Errorf("Ensure() = %v, want a VersionError", err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	_ = dir
}

func TestAKeeperThatNobodyNeedsEnds(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := mustSpawn(t, c, newSpawn(t, "/bin/true"))
	waitExit(t, c, r.ID)
	if err := c.Forget(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if !eventually(10*time.Second, func() bool { return !exists(info.PID) }) {
		t.Error("keeper goes on without runs and clients")
	}
}

func TestShutdownWaitsForTheLastRun(t *testing.T) {
	c, dir := newTestKeeper(t, "")
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := newSpawn(t, program("rest")...)
	r := mustSpawn(t, c, s)
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Spawn(t.Context(), newSpawn(t, "/bin/true")); !errors.Is(err, town.ErrUnavailable) {
		t.Errorf("Spawn() after Shutdown = %v, want unavailable", err)
	}
	if again, err := c.Spawn(t.Context(), s); err != nil || again.PID != r.PID {
		t.Errorf("Spawn() of what runs = %+v, %v, want it", again, err)
	}
	if _, err := c.End(t.Context(), r.ID, End{Grace: time.Second}); err != nil {
		t.Error(err)
	}
	if err := c.Forget(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
	if !eventually(5*time.Second, func() bool { return !exists(info.PID) }) {
		t.Error("keeper goes on after Shutdown")
	}
	if _, err := os.Stat(filepath.Join(dir, socketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestSIGTERMEndsEveryTreeAndOrphan(t *testing.T) {
	c, _ := newTestKeeper(t, RungSubreaper)
	r := mustSpawn(t, c, newSpawn(t, program("tree")...))
	waitOutput(t, c, r, "ready")
	// Without the marker, and in a session of its own: no run owns it any more.
	stray := newSpawn(t, "/bin/sh", "-c", `env -i A=`+r.ID+` setsid sh -c 'sleep 1000 & echo $! ; :' & wait`)
	gone := mustSpawn(t, c, stray)
	waitExit(t, c, gone.ID)
	pid := strings.TrimSpace(string(output(t, gone.Transcript)))
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} { // the server's business
		if err := syscall.Kill(info.PID, sig); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Info(t.Context()); err != nil {
		t.Fatalf("Info() after SIGHUP and SIGINT = %v", err)
	}
	if err := syscall.Kill(info.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !eventually(10*time.Second, func() bool { return !exists(info.PID) }) {
		t.Fatal("keeper goes on after SIGTERM")
	}
	if left := alive(t, r.ID, 0); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat("/proc/" + pid); pid == "" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stray %q is left: %v", pid, err)
	}
}

func TestTheServerIsRestartedAndEndedFirst(t *testing.T) {
	base := t.TempDir()
	dir, log := filepath.Join(base, "keeper"), filepath.Join(base, "servers")
	script := fmt.Sprintf(`echo start $$ >>%[1]s; trap 'echo term >>%[1]s; exit' TERM; while :; do sleep 0.01; done`, log)
	c, err := Ensure(t.Context(), dir, append(keeperArgs(dir, ""), "/bin/sh", "-c", script))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endKeeper(t, c, dir) })
	read := func() []string {
		p, _ := os.ReadFile(log)
		return strings.Split(strings.TrimSpace(string(p)), "\n")
	}
	var pid int
	last := func(n int) bool {
		lines := read()
		if len(lines) != n {
			return false
		}
		_, err := fmt.Sscanf(lines[n-1], "start %d", &pid)
		return err == nil
	}
	for n := 1; n <= 3; n++ { // the first restart at once, the second after a second
		began := time.Now()
		if !eventually(10*time.Second, func() bool { return last(n) }) {
			t.Fatalf("server not started %d times: %q", n, read())
		}
		if took := time.Since(began); n == 3 && took < 500*time.Millisecond {
			t.Errorf("the second restart came after %v", took)
		}
		if n < 3 {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := mustSpawn(t, c, newSpawn(t, program("deaf")...))
	waitOutput(t, c, r, "ready")
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(info.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !eventually(10*time.Second, func() bool { return !exists(info.PID) }) {
		t.Fatal("keeper goes on after SIGTERM")
	}
	if lines := read(); lines[len(lines)-1] != "term" || exists(pid) || len(alive(t, r.ID, 0)) > 0 {
		t.Errorf("the server saw %q; it or a tree is left", lines)
	}
}

func TestShutdownEndsTheServersRestarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keeper")
	c, err := Ensure(t.Context(), dir, append(keeperArgs(dir, ""), "/bin/sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endKeeper(t, c, dir) })
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", info.PID, info.PID))
	if err != nil {
		t.Fatal(err)
	}
	procs, err := Scan()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if p.PPID == info.PID {
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !eventually(5*time.Second, func() bool { return !exists(info.PID) }) {
		t.Errorf("keeper goes on without a server (children %s)", children)
	}
}

func TestEnsureSaysWhyNoKeeperStarts(t *testing.T) {
	dir := t.TempDir()
	if _, err := Ensure(t.Context(), dir, []string{"/bin/sh", "-c", "echo the reason >&2; exit 3"}); err == nil || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("Ensure() = %v, want the reason", err)
	}
	if _, err := Ensure(t.Context(), dir, []string{"townd"}); !errors.Is(err, town.ErrInvalid) {
		t.Errorf("Ensure() of a relative program = %v, want invalid", err)
	}
}

func TestAKeeperSeesNoSecretsOfTheServer(t *testing.T) {
	t.Setenv("TOWND_TOKEN", "s")
	t.Setenv("GOOGLE_API_KEY", "s")
	t.Setenv("LLM_API_KEY", "s")
	t.Setenv(MarkerEnv, "s")
	t.Setenv("TOWND_HOME", "/kept")
	c, _ := newTestKeeper(t, "")
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", info.PID))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(env, []byte("=s\x00")) || !bytes.Contains(env, []byte("TOWND_HOME=/kept\x00")) {
		t.Errorf("the keeper's environment is %q", env)
	}
}

func TestAFullDiskStallsOutputAndLosesNothing(t *testing.T) {
	needRoot(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("cannot mount a small disk: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	c, _ := newTestKeeper(t, "") // leaves 1 MiB free
	s := newSpawn(t, program("flood", "10000000")...)
	s.Transcript = filepath.Join(disk, s.Run)
	r := mustSpawn(t, c, s)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var stalled Update
	_ = c.Watch(ctx, func(u Update) {
		if u.Stalled != "" {
			stalled = u
			cancel()
		}
	})
	if !strings.Contains(stalled.Stalled, "disk full") || stalled.Size < 1<<20 || stalled.Size > 3<<20 {
		t.Fatalf("update %+v, want one that tells of a full disk between 1 and 3 MiB", stalled)
	}
	if _, err := c.Info(t.Context()); err != nil || !exists(r.PID) {
		t.Errorf("Info() = %v; program exists: %v", err, exists(r.PID))
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	exit := waitExit(t, c, r.ID)
	got, p := output(t, r.Transcript), pattern(1<<20)
	if exit.Size != 10_000_000 || exit.Code != 0 || len(got) != 10_000_000 {
		t.Errorf("exit = %+v with %d bytes, want 10000000", exit, len(got))
	}
	for i := 0; i < len(got); i += len(p) {
		if want := p[:min(len(p), len(got)-i)]; !bytes.Equal(got[i:i+len(want)], want) {
			t.Fatalf("output differs after %d bytes", i)
		}
	}
	if runs, err := c.Runs(t.Context()); err != nil || runs[0].Stalled != "" {
		t.Errorf("Runs() = %+v, %v, want not stalled", runs, err)
	}
}

func TestADiskWithoutAByteLeftLosesNothing(t *testing.T) {
	needRoot(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("cannot mount a small disk: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(t.TempDir(), "keeper")
	args := keeperArgs(dir, "")
	args[4] = "1" // byte to leave free
	c, err := Ensure(t.Context(), dir, args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endKeeper(t, c, dir) })
	s := newSpawn(t, program("flood", "2000000")...)
	s.Transcript = filepath.Join(disk, s.Run)
	r := mustSpawn(t, c, s)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_ = c.Watch(ctx, func(u Update) {
		if u.Stalled != "" {
			cancel()
		}
	})
	if _, err := c.Spawn(t.Context(), func() Spawn { s := newSpawn(t, "/bin/true"); s.Transcript = filepath.Join(disk, s.Run); return s }()); !errors.Is(err, town.ErrNoSpace) {
		t.Errorf("Spawn() on the full disk = %v, want no space", err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	exit := waitExit(t, c, r.ID)
	if got := output(t, r.Transcript); exit.Size != 2_000_000 || !bytes.Equal(got, slices.Concat(pattern(1<<20), pattern(1<<20))[:2_000_000]) {
		t.Errorf("exit = %+v, %d bytes of output, want what was printed", exit, len(got))
	}
}

func TestAStalledRunCanBeEnded(t *testing.T) {
	needRoot(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=2m"); err != nil {
		t.Skip("cannot mount a small disk: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	c, _ := newTestKeeper(t, "")
	s := newSpawn(t, program("flood", "10000000")...)
	s.Transcript = filepath.Join(disk, s.Run)
	r := mustSpawn(t, c, s)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_ = c.Watch(ctx, func(u Update) {
		if u.Stalled != "" {
			cancel()
		}
	})
	before := output(t, r.Transcript)
	exit, err := c.End(t.Context(), r.ID, End{Grace: 5 * time.Second})
	if err != nil || exit.Signal != "SIGTERM" || exit.Size <= int64(len(before)) {
		t.Errorf("End() = %+v, %v, want SIGTERM and the rest of the output after %d bytes", exit, err, len(before))
	}
	if got := output(t, r.Transcript); int64(len(got)) != exit.Size || !bytes.Equal(got, slices.Concat(pattern(1<<20), pattern(1<<20), pattern(1<<20))[:len(got)]) {
		t.Errorf("output of %d bytes is not what was printed, exit %+v", len(got), exit)
	}
}

// startAs starts a keeper as another user and dials it as root.
func startAs(t *testing.T, uid uint32) *Client {
	t.Helper()
	needRoot(t)
	base, err := os.MkdirTemp("", "keeper-as-") //nolint:usetesting // t.TempDir is closed to others
	if err == nil {
		err = os.Chown(base, int(uid), int(uid))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	dir := filepath.Join(base, "keeper")
	args := keeperArgs(dir, "")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var c *Client
	if !eventually(10*time.Second, func() bool { c, err = Dial(t.Context(), dir); return err == nil }) {
		t.Fatalf("Dial() = %v", err)
	}
	t.Cleanup(func() {
		c.Close()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return c
}

func TestAKeeperThatIsNotRootWorksAndSaysSo(t *testing.T) {
	const uid = testUID + 20
	c := startAs(t, uid)
	info, err := c.Info(t.Context())
	if err != nil || info.Rung != RungSubreaper {
		t.Errorf("Info() = %+v, %v, want rung subreaper", info, err)
	}
	s := newSpawn(t, program("tree")...)
	s.Transcript = filepath.Join(os.TempDir(), "keeper-as-"+s.Run)
	t.Cleanup(func() { os.RemoveAll(s.Transcript) })
	s.UID, s.GID = 1, 1
	if _, err := c.Spawn(t.Context(), s); !errors.Is(err, town.ErrInvalid) {
		t.Errorf("Spawn() as another user = %v, want invalid", err)
	}
	s.UID, s.GID = 0, 0
	r := mustSpawn(t, c, s)
	waitOutput(t, c, r, "ready")
	exit, err := c.End(t.Context(), r.ID, End{Grace: 100 * time.Millisecond})
	if left := alive(t, r.ID, 0); err != nil || len(left) > 0 || !exit.Escalated {
		t.Errorf("End() = %+v, %v; left %v", exit, err, left)
	}
}

// confine puts a keeper into a control group with room for n more processes.
func confine(t *testing.T, c *Client, n int) {
	t.Helper()
	needRoot(t)
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	group := fmt.Sprintf("/sys/fs/cgroup/pids/keeper-test-%d", info.PID)
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skip("no pids control group: ", err)
	}
	t.Cleanup(func() {
		err := os.WriteFile("/sys/fs/cgroup/pids/cgroup.procs", fmt.Append(nil, info.PID), 0o644)
		if err == nil && !eventually(5*time.Second, func() bool { return os.Remove(group) == nil }) {
			err = fmt.Errorf("%s is not empty", group)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(group+"/cgroup.procs", fmt.Append(nil, info.PID), 0o644); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(group + "/pids.current")
	if err != nil {
		t.Fatal(err)
	}
	threads, err := strconv.Atoi(strings.TrimSpace(string(now)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(group+"/pids.max", fmt.Append(nil, threads+n), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestNoProcessLeftIsACapacityError(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	confine(t, c, 0)
	_, err := c.Spawn(t.Context(), newSpawn(t, "/bin/true"))
	if full, ok := errors.AsType[*town.CapacityError](err); !ok || !strings.Contains(full.What, "no process") {
		t.Errorf("Spawn() = %v, want a capacity error about processes", err)
	}
}

func TestAForkBombThatFillsTheContainerIsEnded(t *testing.T) {
	rungs(t, testUID+30, func(t *testing.T, c *Client, uid uint32) {
		confine(t, c, 100)
		r := spawnAs(t, c, uid, program("bomb")...)
		waitOutput(t, c, r, "full")
		exit, err := c.End(t.Context(), r.ID, End{Grace: 200 * time.Millisecond})
		if left := alive(t, r.ID, uid); err != nil || len(left) > 0 || len(exit.Survivors) > 0 {
			t.Errorf("End() = %+v, %v; left %v", exit, err, left)
		}
	})
}

func TestStrangersMayNotConnect(t *testing.T) {
	c, dir := newTestKeeper(t, "")
	needRoot(t)
	socket := filepath.Join(dir, socketName)
	// Even with every door open.
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "program", "hello", socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: testUID + 22, Gid: testUID + 22}}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "closed\n" {
		t.Errorf("a stranger's hello: %q, %v, want it closed", out, err)
	}
	if _, err := c.Info(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheKernelsOOMKillerIsTold(t *testing.T) {
	needRoot(t)
	group := fmt.Sprintf("/sys/fs/cgroup/memory/keeper-test-%d", os.Getpid())
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skip("no memory control group: ", err)
	}
	c, _ := newTestKeeper(t, RungSubreaper)
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // runs before the keeper ends, which must be out of the group
		err := errors.Join(os.WriteFile("/sys/fs/cgroup/memory/cgroup.procs", fmt.Append(nil, info.PID), 0o644),
			os.WriteFile(group+"/memory.force_empty", []byte("0"), 0o644), os.Remove(group))
		if err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(os.WriteFile(group+"/memory.limit_in_bytes", []byte("100M"), 0o644), os.WriteFile(group+"/cgroup.procs", fmt.Append(nil, info.PID), 0o644)); err != nil {
		t.Skip("control group not usable: ", err)
	}
	r := mustSpawn(t, c, newSpawn(t, program("eat")...))
	if exit := waitExit(t, c, r.ID); !exit.OOM || exit.Signal != "SIGKILL" || exit.Asked {
		t.Errorf("exit = %+v, want OOM", exit)
	}
	r = mustSpawn(t, c, newSpawn(t, "/bin/sh", "-c", "kill -9 $$"))
	if exit := waitExit(t, c, r.ID); exit.OOM || exit.Signal != "SIGKILL" {
		t.Errorf("exit = %+v, want no OOM", exit)
	}
}

func TestIdleRunsCostFewThreads(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cost := func() (threads int, rss int64) {
		procs, err := Scan()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(procs, func(p Proc) bool { return p.PID == info.PID })
		return procs[i].Threads, procs[i].RSSBytes
	}
	threads, rss := cost()
	for range 100 {
		s := newSpawn(t, "/bin/sleep", "1000")
		s.PipeInput = true
		mustSpawn(t, c, s)
	}
	after, more := cost()
	t.Logf("100 idle runs: %d threads over %d, %d KiB", after-threads, threads, (more-rss)>>10)
	if after-threads > 10 {
		t.Errorf("100 idle runs cost %d threads, want at most 10", after-threads)
	}
}
