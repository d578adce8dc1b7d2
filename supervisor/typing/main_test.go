package typing_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"townd/supervisor/keeper"
	"townd/supervisor/screen"
	"townd/supervisor/transcript"
	"townd/supervisor/typing"
	"townd/town"
)

// TestMain makes the test binary the keeper and the program that misbehaves, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "keeper" {
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		if err := keeper.Serve(context.Background(), keeper.Config{Dir: os.Args[2], Log: log, FreeBytes: 1 << 20, StopBudget: time.Second}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 2 && os.Args[1] == "program" {
		programMain(os.Args[2])
		os.Exit(0)
	}
	flag.Parse()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // it leaves goroutines of its own
	before := runtime.NumGoroutine()
	code := m.Run()
	for range 500 {
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before && code == 0 && !fuzzing {
		fmt.Fprintf(os.Stderr, "%d goroutines at the end, %d at the start\n", n, before)
		code = 1
	}
	os.Exit(code)
}

// keeping is a real keeper and what it tells of its runs.
type keeping struct {
	*keeper.Client
	mu      sync.Mutex
	size    map[string]int64
	ended   map[string]bool
	changed chan struct{}
}

func newKeeping(t testing.TB) *keeping {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "keeper")
	c, err := keeper.Ensure(t.Context(), dir, []string{self, "keeper", dir})
	if err != nil {
		t.Fatal(err)
	}
	k := &keeping{Client: c, size: map[string]int64{}, ended: map[string]bool{}, changed: make(chan struct{})}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Watch(ctx, k.update) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
		if info, err := c.Info(context.WithoutCancel(t.Context())); err == nil {
			_ = syscall.Kill(info.PID, syscall.SIGTERM)
		}
		c.Close()
	})
	return k
}

func (k *keeping) update(u keeper.Update) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.size[u.Run], k.ended[u.Run] = u.Size, u.Exit != nil
	close(k.changed)
	k.changed = make(chan struct{})
}

// wait returns the size of a run's output as soon as it is more than after.
func (k *keeping) wait(ctx context.Context, run string, after int64) (int64, error) {
	for {
		k.mu.Lock()
		size, ended, changed := k.size[run], k.ended[run], k.changed
		k.mu.Unlock()
		switch {
		case ended:
			return size, fmt.Errorf("run %s has ended: %w", run, town.ErrConflict)
		case size > after:
			return size, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return size, context.Cause(ctx)
		}
	}
}

// tty is a program on a terminal of a keeper's.
type tty struct {
	k       *keeping
	run     keeper.Run
	reader  *transcript.Reader
	drawer  *screen.Drawer
	sent    [][]byte
	message string // its id
	blind   bool   // does not see what a program is blocked in

	mu         sync.Mutex
	typed      time.Time
	unfinished bool
}

func (k *keeping) spawn(t testing.TB, env []string, argv ...string) *tty {
	t.Helper()
	return k.spawnIn(t, t.TempDir(), env, argv...)
}

func (k *keeping) spawnIn(t testing.TB, dir string, env []string, argv ...string) *tty {
	t.Helper()
	id := town.NewID(time.Now())
	s := keeper.Spawn{
		Run: id, Argv: argv, Env: append(env, keeper.MarkerEnv+"="+id, "TERM=xterm-256color", "GORACE=atexit_sleep_ms=0", "PATH="+os.Getenv("PATH"), "LANG=C.UTF-8"), Dir: dir,
		Cols: cols, Rows: rows, Transcript: filepath.Join(t.TempDir(), id), LeftoverGrace: 10 * time.Millisecond,
	}
	r, err := k.Spawn(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	y := &tty{k: k, run: r, reader: transcript.NewReader(s.Transcript), drawer: screen.NewDrawer(cols, rows)}
	return y
}

func (y *tty) end(t testing.TB) {
	t.Helper()
	_, err := y.k.End(context.WithoutCancel(t.Context()), y.run.ID, keeper.End{Signal: syscall.SIGKILL})
	if err := errors.Join(err, y.reader.Close()); err != nil {
		t.Error(err)
	}
}

func (y *tty) Input(ctx context.Context, key string, p []byte) error {
	y.sent = append(y.sent, p)
	if key != "" {
		key = y.message + "/" + key
	}
	return y.k.Input(ctx, y.run.ID, key, p)
}

func (y *tty) TakeBack(ctx context.Context) ([]byte, error) { return y.k.TakeBack(ctx, y.run.ID) }

func (y *tty) State(ctx context.Context, key string) (typing.State, error) {
	if key != "" {
		key = y.message + "/" + key
	}
	st, err := y.k.Terminal(ctx, y.run.ID, key)
	if y.blind {
		st.Reading = keeper.ReadingUnknown
	}
	reading := map[keeper.Reading]typing.Reading{keeper.ReadingYes: typing.ReadingYes, keeper.ReadingNo: typing.ReadingNo}
	told := typing.State{Canonical: st.Canonical, Unread: st.Unread, Line: st.Line, Flushes: st.Flushes, Reading: reading[st.Reading]}
	if st.Given != nil {
		told.Given, told.GivenFlushes = true, st.Given.Flushes
	}
	return told, err
}

func (y *tty) Screen(ctx context.Context) (screen.Screen, error) {
	s, err := y.drawer.Draw(ctx, y.reader, -1)
	if errors.Is(err, town.ErrNotFound) {
		return screen.Screen{}, nil
	}
	return s, err
}

func (y *tty) Printed(ctx context.Context, after int64) (int64, error) {
	return y.k.wait(ctx, y.run.ID, after)
}

func (y *tty) Person() (time.Time, bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.typed, y.unfinished
}

// text is what the terminal shows, for a test's log.
func (y *tty) text(t *testing.T) string {
	s, err := y.Screen(context.WithoutCancel(t.Context()))
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for _, l := range s.Lines {
		if l != "" {
			out.WriteString(l + "\n")
		}
	}
	return out.String() + fmt.Sprintf("cursor %d,%d paste %v", s.CursorX, s.CursorY, s.Paste)
}

// recorded returns how often each text was submitted to a program.
func recorded(t *testing.T, file string) map[string]int {
	t.Helper()
	got := map[string]int{}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return got
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			t.Fatal(err)
		}
		got[text]++
	}
	return got
}

// eventually asks until ok, for what a screen comes to show.
func eventually(t *testing.T, ok func() bool) bool {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
