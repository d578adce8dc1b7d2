package keeper

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/supervisor/transcript"
	"townd/town"
)

// TestMain makes the test binary the keeper and the programs it runs, too. A
// keeper reaps every child of its process, so it always has one of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "keeper" {
		os.Exit(keeperMain(os.Args[2:]))
	}
	if len(os.Args) > 2 && os.Args[1] == "program" {
		programMain(os.Args[2], os.Args[3:])
		os.Exit(0)
	}
	flag.Parse()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // it leaves goroutines of its own
	before := runtime.NumGoroutine()
	code := runTests(m)
	if code == 0 && !fuzzing && !eventually(5*time.Second, func() bool { return runtime.NumGoroutine() <= before }) {
		fmt.Fprintf(os.Stderr, "%d goroutines at the end, %d at the start\n", runtime.NumGoroutine(), before)
		buf := make([]byte, 1<<20)
		os.Stderr.Write(buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// raceOptions spare every keeper and program under the race detector the second
// that it waits at its exit.
const raceOptions = "atexit_sleep_ms=0"

// self is the test binary where every user may run it.
var self string

func runTests(m *testing.M) int {
	if err := os.Setenv("GORACE", raceOptions); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "keeper-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	self = filepath.Join(dir, "keeper.test")
	own, err := os.Executable()
	if err != nil {
		panic(err)
	}
	binary, err := os.ReadFile(own)
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(self, binary, 0o755))
	}
	if err != nil {
		panic(err)
	}
	return m.Run()
}

// eventually asks until ok, for what the operating system has no event for.
func eventually(limit time.Duration, ok func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// keeperMain is a keeper: dir, rung, bytes to leave free, stop budget, server.
func keeperMain(args []string) int {
	free, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		panic(err)
	}
	budget, err := time.ParseDuration(args[3])
	if err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err = Serve(ctx, Config{Dir: args[0], Rung: Rung(args[1]), FreeBytes: free, StopBudget: budget, Server: args[4:], Log: log})
	if err != nil {
		log.Error("keeper failed", "error", err)
		return 1
	}
	return 0
}

func keeperArgs(dir string, rung Rung) []string {
	return []string{self, "keeper", dir, string(rung), "1048576", "2s"}
}

// newKeeperDir starts a keeper on a rung in a new directory and ends it with the test.
func newTestKeeper(t testing.TB, rung Rung) (*Client, string) {
	t.Helper()
	if rung == RungUID {
		needRoot(t)
	}
	dir := filepath.Join(t.TempDir(), "keeper")
	c, err := Ensure(t.Context(), dir, keeperArgs(dir, rung))
	if err != nil {
		t.Fatalf("Ensure() = %v", err)
	}
	t.Cleanup(func() { endKeeper(t, c, dir) })
	return c, dir
}

// endKeeper ends a keeper as SIGTERM does and waits until it is gone.
func endKeeper(t testing.TB, c *Client, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // after t.Context has ended
	defer cancel()
	info, err := c.Info(ctx)
	c.Close()
	if errors.Is(err, town.ErrUnavailable) {
		return // the test has ended it
	}
	if err != nil {
		t.Errorf("Info() = %v", err)
		return
	}
	if err := syscall.Kill(info.PID, syscall.SIGTERM); err != nil {
		t.Errorf("end keeper: %v", err)
	}
	if !eventually(20*time.Second, func() bool { return !exists(info.PID) }) {
		t.Errorf("keeper %d does not end", info.PID)
	}
	if t.Failed() {
		log, err := os.ReadFile(filepath.Join(dir, logName))
		t.Logf("keeper.log (%v):\n%s", err, log)
	}
}

// exists reports whether a process that is no zombie has the pid.
func exists(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(status, []byte(") Z "))
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: programs of other users")
	}
}

// newSpawn returns a spawn of argv in a raw terminal.
func newSpawn(t testing.TB, argv ...string) Spawn {
	t.Helper()
	id := town.NewID(time.Now())
	env := []string{"PATH=" + os.Getenv("PATH"), MarkerEnv + "=" + id}
	if argv[0] == self {
		env = append(env, "GORACE="+raceOptions)
	}
	return Spawn{
		Run: id, Argv: argv, Env: env, Dir: "/",
		Cols: 80, Rows: 24, Raw: true, Transcript: filepath.Join(t.TempDir(), id), LeftoverGrace: 100 * time.Millisecond,
	}
}

// program is the argv of a program of programMain.
func program(name string, args ...string) []string {
	return append([]string{self, "program", name}, args...)
}

func mustSpawn(t testing.TB, c *Client, s Spawn) Run {
	t.Helper()
	r, err := c.Spawn(t.Context(), s)
	if err != nil {
		t.Fatalf("Spawn(%q) = %v", s.Argv, err)
	}
	t.Cleanup(func() {
		if t.Failed() { // perhaps its keeper is dead
			_, _ = Sweep(context.Background(), Match{Marker: r.ID}, 0)
		}
	})
	return r
}

// waitExit returns the exit of a run that ends by itself.
func waitExit(t testing.TB, c *Client, run string) Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var exit *Exit
	err := c.Watch(ctx, func(u Update) {
		if u.Run == run && u.Exit != nil {
			exit = u.Exit
			cancel()
		}
	})
	if exit == nil {
		t.Fatalf("Watch() = %v before the exit of %s", err, run)
	}
	return *exit
}

// waitOutput waits until the run's transcript contains text.
func waitOutput(t testing.TB, c *Client, r Run, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var found bool
	err := c.Watch(ctx, func(u Update) {
		if u.Run != r.ID {
			return
		}
		if found = bytes.Contains(output(t, r.Transcript), []byte(text)); found || u.Exit != nil {
			cancel()
		}
	})
	if !found {
		t.Fatalf("Watch() = %v before %q; output is %.2000q", err, text, output(t, r.Transcript))
	}
}

// output returns all of a transcript.
func output(t testing.TB, dir string) []byte {
	t.Helper()
	r := transcript.NewReader(dir)
	defer r.Close()
	_, end, err := r.Bounds()
	if err != nil {
		t.Fatalf("Bounds() = %v", err)
	}
	p := make([]byte, end)
	for n := 0; n < len(p); {
		m, err := r.ReadAt(p[n:], int64(n))
		if err != nil && !errors.Is(err, io.EOF) || m == 0 {
			t.Fatalf("ReadAt(%d) = %d, %v", n, m, err)
		}
		n += m
	}
	return p
}

// alive returns the processes, zombies aside, that carry the marker or belong to
// the user. It asks /proc by means of its own.
func alive(t testing.TB, run string, uid uint32) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		status, err := os.ReadFile(filepath.Join("/proc", e.Name(), "status"))
		if err != nil || strings.Contains(string(status), "State:\tZ") {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		marked := run != "" && bytes.Contains(append([]byte{0}, env...), []byte("\x00"+MarkerEnv+"="+run+"\x00"))
		if marked || uid != 0 && strings.Contains(string(status), fmt.Sprintf("Uid:\t%d\t", uid)) {
			pids = append(pids, pid)
		}
	}
	return pids
}
