package keeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"townd/supervisor/transcript"
	"townd/town"
)

func TestOutputIsExactWhenTheProgramPrintsAndEnds(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	for range 20 {
		r := mustSpawn(t, c, newSpawn(t, program("print", "100000")...))
		exit := waitExit(t, c, r.ID)
		if exit.Code != 0 || exit.Signal != "" || exit.Asked || exit.Escalated || exit.Size != 100_000 {
			t.Errorf("exit = %+v, want code 0, size 100000", exit)
		}
		if got := output(t, r.Transcript); !bytes.Equal(got, pattern(100_000)) {
			t.Fatalf("output of %d bytes is not what was printed", len(got))
		}
		if err := c.Forget(t.Context(), r.ID); err != nil {
			t.Errorf("Forget() = %v", err)
		}
	}
}

func TestEveryByteArrivesThroughARawTerminalAndAPipe(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	var all []byte
	for i := range 256 {
		all = append(all, byte(i), byte(255-i))
	}
	s := newSpawn(t, program("copy")...)
	s.PipeInput, s.Stdin, s.CloseStdin = true, all, true
	piped := mustSpawn(t, c, s)
	if exit := waitExit(t, c, piped.ID); exit.Code != 0 {
		t.Errorf("exit = %+v", exit)
	}
	if got, want := output(t, piped.Transcript), append([]byte("ready\n"), all...); !bytes.Equal(got, want) {
		t.Errorf("through the pipe came %q, want %q", got, want)
	}

	typed := mustSpawn(t, c, newSpawn(t, program("copy")...))
	waitOutput(t, c, typed, "ready\n")
	if err := c.Input(t.Context(), typed.ID, "", all); err != nil {
		t.Fatalf("Input() = %v", err)
	}
	waitOutput(t, c, typed, string(all))
	if exit, err := c.End(t.Context(), typed.ID, End{Grace: time.Second}); err != nil || exit.Signal != "SIGTERM" {
		t.Errorf("End() = %+v, %v", exit, err)
	}
}

func TestExitTellsCodeAndSignal(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	for _, tc := range []struct {
		script string
		code   int
		signal string
	}{
		{"exit 0", 0, ""},
		{"exit 42", 42, ""},
		{"exit 255", 255, ""},
		{"kill -KILL $$", 137, "SIGKILL"},
		{"kill -SEGV $$", 139, "SIGSEGV"},
		{"kill -HUP $$", 129, "SIGHUP"},
		{"kill -40 $$", 168, "signal 40"},
	} {
		r := mustSpawn(t, c, newSpawn(t, "/bin/sh", "-c", tc.script))
		if exit := waitExit(t, c, r.ID); exit.Code != tc.code || exit.Signal != tc.signal || exit.Asked || exit.OOM {
			t.Errorf("%s: exit = %+v, want %d %q", tc.script, exit, tc.code, tc.signal)
		}
	}
}

func TestEnvironmentAndArgumentsArriveExactly(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	s := newSpawn(t, "/usr/bin/env", "-0", "A=\xff\xfe", "B=")
	big := "BIG=" + strings.Repeat("x", 100<<10)
	s.Env = append(s.Env, "EMPTY=", "LINES=a\nb", "UNICODE=žluťoučký 🐴", big, "HTML=<&>")
	s.Note = json.RawMessage(`{"html":"<&>","n":1}`)
	r := mustSpawn(t, c, s)
	waitExit(t, c, r.ID)
	got := strings.Split(strings.TrimSuffix(string(output(t, r.Transcript)), "\x00"), "\x00")
	want := append(slices.Clone(s.Env), "A=\xff\xfe", "B=")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if string(r.Note) != string(s.Note) {
		t.Errorf("note = %s, want %s", r.Note, s.Note)
	}
}

func TestProgramsStartWithNothingOfTheKeeper(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	r := mustSpawn(t, c, newSpawn(t, "/bin/sh", "-c", `ls -m /proc/self/fd; grep -E "^(SigIgn|SigBlk|NoNewPrivs)" /proc/self/status; stty size; tty; echo $(ps -o sid= -o pgid= -p $$); echo $$`))
	waitExit(t, c, r.ID)
	lines := strings.Split(string(output(t, r.Transcript)), "\n")
	want := []string{"0, 1, 2, 3", "SigBlk:\t0000000000000000", fmt.Sprintf("SigIgn:\t%016x", libraryIgnored(t)), "NoNewPrivs:\t1", "24 80"}
	if len(lines) < 8 || !slices.Equal(lines[:5], want) || !strings.HasPrefix(lines[5], "/dev/pts/") {
		t.Errorf("a program sees %q, want %q and a terminal of its own", lines, want)
	}
	if pid := strconv.Itoa(r.PID); len(lines) < 8 || lines[6] != pid+" "+pid || lines[7] != pid {
		t.Errorf("session, group and pid are %q, want %s", lines[6:], pid)
	}
}

// libraryIgnored is what this process was started with of the ignored signals 32
// and 33. They are the C library's own: Go leaves them as they are, and programs
// set them up again.
func libraryIgnored(t *testing.T) uint64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "SigIgn:\t")
	mask, err := strconv.ParseUint(after[:16], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask & (1<<31 | 1<<32)
}

func TestProgramsOfUsersOwnTheirTerminalAndInput(t *testing.T) {
	c, _ := newTestKeeper(t, RungUID)
	s := newSpawn(t, "/bin/sh", "-c", `id -u; id -g; id -G; echo again >/dev/stdout; cat /dev/stdin; stat -c %U:%a $(tty </dev/tty)`)
	s.UID, s.GID, s.PipeInput, s.CloseStdin, s.Stdin = testUID+10, testUID+11, true, true, []byte("typed\n")
	r := mustSpawn(t, c, s)
	waitExit(t, c, r.ID)
	want := fmt.Sprintf("%d\n%d\n%d\nagain\ntyped\n", s.UID, s.GID, s.GID)
	if got := string(output(t, r.Transcript)); !strings.HasPrefix(got, want) {
		t.Errorf("output %q, want %q", got, want)
	}
}

func TestSpawnIsIdempotentAndOrdered(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	s := newSpawn(t, "/bin/sh", "-c", "echo $$; exec sleep 1000")
	var wg sync.WaitGroup
	pids := make([]int, 20)
	for i := range pids {
		wg.Go(func() {
			r, err := c.Spawn(t.Context(), s)
			if err != nil {
				t.Errorf("Spawn() = %v", err)
			}
			pids[i] = r.PID
		})
	}
	wg.Wait()
	if slices.Sort(pids); pids[0] != pids[len(pids)-1] || pids[0] == 0 {
		t.Fatalf("one spawn made %v", pids)
	}
	next := s
	for _, seq := range []int{1, 2} { // 1 while 0 lives, 2 out of order
		next.Seq = seq
		if _, err := c.Spawn(t.Context(), next); !errors.Is(err, town.ErrConflict) {
			t.Errorf("Spawn(seq %d) = %v, want conflict", seq, err)
		}
	}
	if err := c.Forget(t.Context(), s.Run); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Forget() of a live run = %v, want conflict", err)
	}
	if _, err := c.End(t.Context(), s.Run, End{Signal: syscall.SIGKILL}); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Spawn(t.Context(), s); err != nil || r.Exit == nil || r.PID != pids[0] {
		t.Errorf("Spawn() again after its end = %+v, %v, want the ended one", r, err)
	}
	next.Seq, next.Argv = 1, []string{"/bin/sh", "-c", "echo second"}
	if _, err := c.Spawn(t.Context(), next); err != nil {
		t.Fatalf("Spawn(seq 1) = %v", err)
	}
	if exit := waitExit(t, c, s.Run); exit.Code != 0 || exit.Signal != "" {
		t.Errorf("exit of seq 1 = %+v", exit)
	}
	if got, want := string(output(t, s.Transcript)), fmt.Sprintf("%d\nsecond\n", pids[0]); got != want {
		t.Errorf("the transcript of both is %q, want %q", got, want)
	}
	if err := c.Forget(t.Context(), s.Run); err != nil {
		t.Errorf("Forget() = %v", err)
	}
	if _, err := c.Spawn(t.Context(), next); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Spawn() of a forgotten run = %v, want conflict", err)
	}
	if err := c.Forget(t.Context(), s.Run); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("second Forget() = %v, want not found", err)
	}
}

func TestSpawnSaysWhyItFailed(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	script := filepath.Join(dir, "script")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		edit func(*Spawn)
		kind error
		text string
	}{
		{"missing program", func(s *Spawn) { s.Argv[0] = "/no/such/program" }, town.ErrStartFailed, "/no/such/program"},
		{"missing directory", func(s *Spawn) { s.Dir = "/no/such/dir" }, town.ErrStartFailed, "working directory: stat /no"},
		{"file as directory", func(s *Spawn) { s.Dir = file }, town.ErrStartFailed, "not a directory"},
		{"no executable", func(s *Spawn) { s.Argv[0] = file }, town.ErrStartFailed, "not an executable file"},
		{"interpreter", func(s *Spawn) { s.Argv[0] = script }, town.ErrStartFailed, "interpreter is missing"},
		{"too many bytes", func(s *Spawn) { s.Argv = append(s.Argv, strings.Repeat("x", 200<<10)) }, town.ErrStartFailed, "argument list too long"},
		{"relative program", func(s *Spawn) { s.Argv[0] = "true" }, town.ErrInvalid, "argv"},
		{"no argv", func(s *Spawn) { s.Argv = nil }, town.ErrInvalid, "argv"},
		{"no marker", func(s *Spawn) { s.Env = nil }, town.ErrInvalid, MarkerEnv},
		{"two markers", func(s *Spawn) { s.Env = append(s.Env, MarkerEnv+"=x") }, town.ErrInvalid, MarkerEnv},
		{"NUL", func(s *Spawn) { s.Env = append(s.Env, "A=\x00") }, town.ErrInvalid, "NUL"},
		{"no name", func(s *Spawn) { s.Env = append(s.Env, "=x") }, town.ErrInvalid, "name=value"},
		{"no size", func(s *Spawn) { s.Cols = 0 }, town.ErrInvalid, "cols"},
		{"bad run", func(s *Spawn) { s.Run = "../x" }, town.ErrInvalid, "run"},
		{"negative seq", func(s *Spawn) { s.Seq = -1 }, town.ErrInvalid, "seq"},
		{"relative transcript", func(s *Spawn) { s.Transcript = "x" }, town.ErrInvalid, "transcript"},
		{"transcript below a file", func(s *Spawn) { s.Transcript = file + "/x" }, nil, "not a directory"},
		{"group alone", func(s *Spawn) { s.GID = 1 }, town.ErrInvalid, "gid"},
		{"guard user", func(s *Spawn) { s.UID = GuardUID }, town.ErrInvalid, "uid"},
		{"close of a terminal", func(s *Spawn) { s.CloseStdin = true }, town.ErrInvalid, "closeStdin"},
		{"note", func(s *Spawn) { s.Note = json.RawMessage(`"` + strings.Repeat("x", MaxNoteBytes) + `"`) }, town.ErrInvalid, "note"},
		{"stdin", func(s *Spawn) { s.Stdin = make([]byte, MaxInputBytes+1) }, town.ErrInvalid, "stdin"},
		{"long line for a cooked terminal", func(s *Spawn) { s.Raw, s.Stdin = false, make([]byte, 5000) }, town.ErrTooLarge, "4095"},
		{"everything", func(s *Spawn) {
			s.Note = make(json.RawMessage, 9<<20)
			copy(s.Note, `"`+strings.Repeat("x", 9<<20-2)+`"`)
		}, town.ErrTooLarge, "body"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSpawn(t, "/bin/true")
			tc.edit(&s)
			_, err := c.Spawn(t.Context(), s)
			if err == nil || tc.kind != nil && !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("Spawn() = %v, want %v with %q", err, tc.kind, tc.text)
			}
		})
	}
	if runs, err := c.Runs(t.Context()); err != nil || len(runs) != 0 {
		t.Errorf("Runs() after failed spawns = %v, %v, want none", runs, err)
	}
}

func TestSpawnNamesTheDirectoryThatItsUserMayNotEnter(t *testing.T) {
	c, _ := newTestKeeper(t, RungUID)
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o700), os.Mkdir(filepath.Join(dir, "work"), 0o755)); err != nil {
		t.Fatal(err)
	}
	s := newSpawn(t, "/bin/true")
	s.UID, s.GID, s.Dir = testUID+12, testUID+12, filepath.Join(dir, "work")
	_, err := c.Spawn(t.Context(), s)
	if want := "working directory: " + dir + " may not be entered"; !errors.Is(err, town.ErrStartFailed) || !strings.Contains(err.Error(), want) {
		t.Errorf("Spawn() = %v, want %q", err, want)
	}
}

func TestNoTerminalLeftIsACapacityError(t *testing.T) {
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "keeper")
	const oneTerminal = `mount -t devpts -o newinstance,ptmxmode=666,max=1 devpts /dev/pts && mount --bind /dev/pts/ptmx /dev/ptmx && exec "$@"`
	c, err := Ensure(t.Context(), dir, append([]string{"/usr/bin/unshare", "-m", "/bin/sh", "-c", oneTerminal, "sh"}, keeperArgs(dir, "")...))
	if err != nil {
		t.Skip("cannot have terminals of its own: ", err)
	}
	t.Cleanup(func() { endKeeper(t, c, dir) })
	r := mustSpawn(t, c, newSpawn(t, program("rest")...))
	_, err = c.Spawn(t.Context(), newSpawn(t, "/bin/true"))
	if full, ok := errors.AsType[*town.CapacityError](err); !ok || full.RetryAfter <= 0 || !strings.Contains(full.What, "pseudo-terminal") {
		t.Errorf("Spawn() = %v, want a capacity error about terminals", err)
	}
	if !exists(r.PID) {
		t.Error("the program that has the terminal does not go on")
	}
}

func TestSignalReachesTheLeadersGroupOnly(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	r := mustSpawn(t, c, newSpawn(t, "/bin/sh", "-c", `trap 'echo caught' INT; setsid sleep 1000 & echo ready; while :; do sleep 0.01; done`))
	waitOutput(t, c, r, "ready")
	if err := c.Signal(t.Context(), r.ID, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	waitOutput(t, c, r, "caught")
	if got := len(alive(t, r.ID, 0)); got < 2 {
		t.Errorf("%d processes are left, the one in its own session was hit", got)
	}
	if err := c.Signal(t.Context(), r.ID, 99); !errors.Is(err, town.ErrInvalid) {
		t.Errorf("Signal(99) = %v, want invalid", err)
	}
	if _, err := c.End(t.Context(), r.ID, End{Signal: syscall.SIGKILL}); err != nil {
		t.Fatal(err)
	}
	if err := c.Signal(t.Context(), r.ID, syscall.SIGINT); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Signal() of an ended run = %v, want conflict", err)
	}
}

func TestResizeReachesTerminalAndTranscript(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	r := mustSpawn(t, c, newSpawn(t, "/bin/sh", "-c", `trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done`))
	waitOutput(t, c, r, "ready")
	if err := c.Resize(t.Context(), r.ID, 132, 50); err != nil {
		t.Fatal(err)
	}
	waitOutput(t, c, r, "50 132")
	waitExit(t, c, r.ID)
	var kinds []string
	rd := transcript.NewReader(r.Transcript)
	defer rd.Close()
	for m, err := range rd.Marks(0, 1<<20) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind != transcript.MarkOutput {
			kinds = append(kinds, fmt.Sprintf("%v %dx%d", m.Kind, m.Cols, m.Rows))
		}
	}
	if want := []string{"start 80x24", "resize 132x50", "exit 132x50"}; !slices.Equal(kinds, want) {
		t.Errorf("marks %q, want %q", kinds, want)
	}
	for _, size := range [][2]uint16{{0, 1}, {1, 0}, {1001, 1}} {
		if err := c.Resize(t.Context(), r.ID, size[0], size[1]); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("Resize(%v) = %v, want invalid", size, err)
		}
	}
	if err := c.Resize(t.Context(), r.ID, 80, 24); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Resize() of an ended run = %v, want conflict", err)
	}
}

func TestUnknownRunsAreNotFound(t *testing.T) {
	c, _ := newTestKeeper(t, "")
	for name, call := range map[string]func(run string) error{
		"Input":      func(run string) error { return c.Input(t.Context(), run, "", nil) },
		"CloseInput": func(run string) error { return c.CloseInput(t.Context(), run) },
		"Signal":     func(run string) error { return c.Signal(t.Context(), run, syscall.SIGINT) },
		"Resize":     func(run string) error { return c.Resize(t.Context(), run, 1, 1) },
		"End":        func(run string) error { _, err := c.End(t.Context(), run, End{}); return err },
		"Forget":     func(run string) error { return c.Forget(t.Context(), run) },
	} {
		for _, run := range []string{"nobody", "a/b", "%2f", "..", "ž"} {
			if err := call(run); !errors.Is(err, town.ErrNotFound) {
				t.Errorf("%s(%q) = %v, want not found", name, run, err)
			}
		}
	}
}
