// Package agenttest turns a test binary into agents that behave in chosen ways,
// kindly or not. A package's TestMain calls Main first; its tests run
// Program(t) with the arguments of a mode.
package agenttest

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/term"
)

// argument marks a start of the test binary as an agent.
const argument = "agenttest"

// Main acts as an agent and exits when the process was started as one.
func Main() {
	if len(os.Args) < 3 || os.Args[1] != argument {
		return
	}
	mode, ok := modes[os.Args[2]]
	if !ok {
		fmt.Fprintf(os.Stderr, "agenttest: no mode %q\n", os.Args[2])
		os.Exit(2)
	}
	mode(os.Args[3:])
	os.Exit(0)
}

// modes are what an agent can be. Each says "ready" when it has become it.
var modes = map[string]func(args []string){
	"sleep":  func([]string) { ready(); sleep() },
	"exit":   func(args []string) { os.Exit(number(args[0])) },
	"env":    func(args []string) { dumpEnv(args[0]) },
	"flood":  func(args []string) { flood(number(args[0]), number(args[1]), args[2:]...) },
	"lines":  func(args []string) { lines(number(args[0])) },
	"echo":   func([]string) { ready(); echo() },
	"tree":   func([]string) { tree() },
	"deaf":   func([]string) { signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT); ready(); sleep() },
	"fork":   func([]string) { orphan() },
	"hopper": func([]string) { child(nil, "hop"); ready(); sleep() },
	"hop":    func([]string) { hop() },
	"eat":    func(args []string) { eat(number(args[0])) },
}

// Program returns the argv of an agent of that mode, of a copy of the test
// binary that every user may run.
func Program(t testing.TB, mode string, args ...string) []string {
	t.Helper()
	return append([]string{binary(t), argument, mode}, args...)
}

// Home returns an empty directory that every user may pass through, unlike
// t.TempDir, and that is removed at the end of the test.
func Home(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "townd") //nolint:usetesting // others may not pass through t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // agents' users pass through
		t.Fatal(err)
	}
	return dir
}

// Reachable returns a directory for PATH in which agents' users can run program:
// its own, or that of a copy.
func Reachable(t testing.TB, program string) string {
	t.Helper()
	target, err := filepath.EvalSymlinks(program)
	if err != nil {
		t.Fatal(err)
	}
	if passable(filepath.Dir(target)) && passable(filepath.Dir(program)) {
		return filepath.Dir(program)
	}
	modules := filepath.Dir(filepath.Dir(program))
	home := Home(t)
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", modules, home).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v\n%s", modules, err, out)
	}
	return filepath.Join(home, filepath.Base(modules), filepath.Base(filepath.Dir(program)))
}

func passable(dir string) bool {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return true
}

func binary(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(Home(t), "agent")
	if err := os.Link(self, path); err == nil {
		return path
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil { //nolint:gosec // run by agents' users
		t.Fatal(err)
	}
	return path
}

// Byte is the i-th byte that flood prints: all values, in no short period.
func Byte(i int64) byte { return byte(i ^ i>>8 ^ i>>16) }

// flood prints total bytes to a raw terminal, at most perSecond of them a second; 0
// is as fast as they are read. With a gate, a named pipe, the last sixteenth waits
// until somebody has opened it for writing.
func flood(total, perSecond int, gate ...string) {
	const chunk = 16 << 10
	_, _ = term.MakeRaw(int(os.Stdin.Fd())) // a cooked terminal would change what is printed
	buf := make([]byte, chunk)
	start := time.Now()
	for sent := 0; sent < total; {
		if len(gate) > 0 && sent >= total-total/16 {
			if _, err := os.Open(gate[0]); err != nil {
				os.Exit(1)
			}
			gate = nil
		}
		n := min(chunk, total-sent)
		for i := range buf[:n] {
			buf[i] = Byte(int64(sent + i))
		}
		written, err := os.Stdout.Write(buf[:n])
		if err != nil {
			os.Exit(1)
		}
		sent += written
		if perSecond > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(float64(sent) / float64(perSecond) * float64(time.Second)))))
		}
	}
}

// lines prints numbered lines for ever, one every millis milliseconds.
func lines(millis int) {
	for i := 0; ; i++ {
		fmt.Printf("line %d\n", i)
		time.Sleep(time.Duration(millis) * time.Millisecond)
	}
}

func echo() { _, _ = io.Copy(os.Stdout, os.Stdin) }

// dumpEnv writes the whole environment to a file of the working directory.
func dumpEnv(name string) {
	data, _ := json.Marshal(os.Environ())
	if err := os.WriteFile(name, data, 0o600); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ready()
}

// tree becomes five processes: this one, a child in a session of its own, a
// double fork, a child that ignores SIGTERM, and an ordinary one.
func tree() {
	child(&syscall.SysProcAttr{Setsid: true}, "sleep")
	child(nil, "fork")
	child(nil, "deaf")
	child(nil, "sleep")
	ready()
	sleep()
}

// orphan leaves a grandchild behind.
func orphan() { child(&syscall.SysProcAttr{Setsid: true}, "sleep") }

// hop keeps forking away: each generation a new session, its parent gone.
func hop() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
	time.Sleep(2 * time.Millisecond)
	child(&syscall.SysProcAttr{Setsid: true}, "hop")
}

// eat holds so many MiB of memory.
func eat(mib int) {
	held := make([]byte, mib<<20)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	ready()
	sleep()
	fmt.Print(held[0])
}

// child starts this program in another mode and waits until it is ready, or has
// ended.
func child(attr *syscall.SysProcAttr, mode string) {
	cmd := exec.Command(os.Args[0], argument, mode)
	cmd.SysProcAttr = attr
	r, w, err := os.Pipe()
	if err != nil {
		os.Exit(1)
	}
	cmd.ExtraFiles = []*os.File{w}
	cmd.Env = append(os.Environ(), readyEnv+"=3")
	if err := cmd.Start(); err != nil {
		os.Exit(1)
	}
	_ = w.Close()
	if mode != "hop" {
		_, _ = r.Read(make([]byte, 1))
	}
}

// readyEnv names the descriptor on which a child says that it is ready.
const readyEnv = "AGENTTEST_READY"

func ready() {
	if fd, err := strconv.Atoi(os.Getenv(readyEnv)); err == nil {
		_, _ = os.NewFile(uintptr(fd), "ready").Write([]byte{1})
		return
	}
	fmt.Println("ready")
}

func sleep() { time.Sleep(time.Hour) }

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		os.Exit(2)
	}
	return n
}
