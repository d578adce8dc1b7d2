package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"townd/supervisor/transcript"
	"townd/town"
)

// spawner forks on a thread of its own that has given up every way to gain
// privileges (PR_SET_NO_NEW_PRIVS), which its children inherit: no setuid program
// makes an agent somebody else. Forks are one at a time, some 0.3 ms each.
type spawner struct{ jobs chan func() }

// newSpawner returns a spawner whose thread ends when done is closed.
func newSpawner(done <-chan struct{}) (*spawner, error) {
	s := &spawner{jobs: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ready <- unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		for {
			select {
			case job := <-s.jobs:
				job()
			case <-done:
				return
			}
		}
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("give up privileges for children: %w", err)
	}
	return s, nil
}

// do runs f on the spawner's thread.
func (s *spawner) do(f func() error) error {
	result := make(chan error, 1)
	s.jobs <- func() { result <- f() }
	return <-result
}

// validate returns an *town.InvalidError that names every wrong field.
func (s *Spawn) validate(rung Rung) error {
	var issues []town.Issue
	add := func(path, format string, args ...any) {
		issues = append(issues, town.Issue{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if err := town.CheckID(s.Run); err != nil {
		add("run", "%v", err)
	}
	if s.Seq < 0 {
		add("seq", "must be 0 or more")
	}
	s.validateProgram(add)
	s.validateUser(add, rung)
	if err := town.CheckTerminalSize(s.Cols, s.Rows); err != nil {
		add("cols, rows", "%v", err)
	}
	if len(s.Stdin) > MaxInputBytes {
		add("stdin", "is %d bytes, the most is %d", len(s.Stdin), MaxInputBytes)
	}
	if s.CloseStdin && !s.PipeInput {
		add("closeStdin", "goes only with pipeInput")
	}
	if len(s.Note) > MaxNoteBytes {
		add("note", "is %d bytes, the most is %d", len(s.Note), MaxNoteBytes)
	}
	if s.Segment < 0 || s.Total < 0 {
		add("segment, total", "must be 0 (the default) or more")
	}
	if s.LeftoverGrace < 0 || s.LeftoverGrace > maxGrace {
		add("leftoverGrace", "must be 0 to %v", maxGrace)
	}
	if len(issues) > 0 {
		return &town.InvalidError{Issues: issues}
	}
	return nil
}

func (s *Spawn) validateProgram(add func(path, format string, args ...any)) {
	for _, f := range []struct{ name, path string }{{"dir", s.Dir}, {"transcript", s.Transcript}} {
		if !filepath.IsAbs(f.path) || !utf8.ValidString(f.path) || strings.ContainsRune(f.path, 0) {
			add(f.name, "must be an absolute path in UTF-8")
		}
	}
	if len(s.Argv) == 0 || !filepath.IsAbs(s.Argv[0]) {
		add("argv", "must begin with the absolute path of a program")
	}
	total := 0
	for _, list := range []struct {
		name   string
		values []string
	}{{"argv", s.Argv}, {"env", s.Env}} {
		if len(list.values) > maxArgs {
			add(list.name, "has %d entries, the most is %d", len(list.values), maxArgs)
		}
		for i, v := range list.values {
			total += len(v) + 1
			if strings.IndexByte(v, 0) >= 0 {
				add(fmt.Sprintf("%s[%d]", list.name, i), "must not contain a NUL character")
			}
			if list.name == "env" && strings.IndexByte(v, '=') < 1 {
				add(fmt.Sprintf("env[%d]", i), "must be name=value")
			}
		}
	}
	if total > maxArgBytes {
		add("argv, env", "are %d bytes, the most is %d", total, maxArgBytes)
	}
	if n := countMarkers(s.Env); n != 1 || !hasMarker(s.Env, s.Run) {
		add("env", "must hold %s=%s, once", MarkerEnv, s.Run)
	}
}

func countMarkers(env []string) (n int) {
	for _, v := range env {
		if strings.HasPrefix(v, MarkerEnv+"=") {
			n++
		}
	}
	return n
}

func hasMarker(env []string, run string) bool {
	return slices.Contains(env, MarkerEnv+"="+run)
}

func (s *Spawn) validateUser(add func(path, format string, args ...any), rung Rung) {
	switch {
	case s.UID == 0 && s.GID == 0:
	case s.UID == 0:
		add("gid", "goes only with a uid")
	case rung != RungUID:
		add("uid", "must be 0: this keeper cannot run programs as other users")
	case s.UID == GuardUID || s.UID == ^uint32(0) || s.GID == ^uint32(0):
		add("uid", "must not be %d, nor uid or gid %d", GuardUID, ^uint32(0))
	}
}

// open makes what a run needs before its program starts: transcript, terminal,
// input. The returned files are the program's standard input and output; the
// caller closes them.
func (r *run) open() (stdin, stdout *os.File, err error) {
	s := &r.spawn
	if r.out, err = transcript.Open(s.Transcript, transcript.Options{SegmentBytes: s.Segment, TotalBytes: s.Total}); err != nil {
		return nil, nil, err
	}
	r.size.Store(r.out.Size())
	if r.term, err = openTerminal(s.Cols, s.Rows, s.Raw, s.UID, s.GID); err != nil {
		return nil, nil, errors.Join(err, r.out.Close())
	}
	if !s.PipeInput {
		if err := r.term.watchFlushes(); err != nil {
			r.term.close()
			return nil, nil, errors.Join(fmt.Errorf("watch terminal: %w", err), r.out.Close())
		}
		r.input = newInput(r.term.File, r.term)
		return r.term.slave, r.term.slave, nil
	}
	read, write, err := openPipe(s.UID, s.GID)
	if err != nil {
		r.term.close()
		return nil, nil, errors.Join(err, r.out.Close())
	}
	r.input = newInput(write, nil)
	return read, r.term.slave, nil
}

// discard closes what open opened.
func (r *run) discard() {
	r.input.close()
	r.term.close()
	if err := r.out.Close(); err != nil {
		r.log.Warn("transcript not closed in order", "error", err)
	}
}

// openPipe returns a pipe whose write end has deadlines; its read end blocks, as
// programs expect, and belongs to the user, who may then open /dev/stdin.
func openPipe(uid, gid uint32) (read, write *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, exhausted("open a pipe", err)
	}
	err = unix.SetNonblock(fds[1], true)
	if uid != 0 {
		err = errors.Join(err, unix.Fchown(fds[0], int(uid), int(gid)))
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("prepare pipe: %w", err), unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), "stdin"), os.NewFile(uintptr(fds[1]), "stdin"), nil
}

// fork starts the run's program in a session of its own on its terminal.
func (r *run) fork(stdin, stdout *os.File) (int, error) {
	s := &r.spawn
	attr := &syscall.ProcAttr{
		Dir: s.Dir, Env: s.Env,
		Files: []uintptr{stdin.Fd(), stdout.Fd(), stdout.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1},
	}
	if s.UID != 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: s.UID, Gid: s.GID}
	}
	pid, err := syscall.ForkExec(s.Argv[0], s.Argv, attr)
	if err != nil {
		return 0, r.explain(err)
	}
	return pid, nil
}

// explain says what a failed fork means. The error alone does not tell whether
// the directory or the program was at fault.
func (r *run) explain(err error) error {
	err = exhausted("start "+r.spawn.Argv[0], err)
	if errors.Is(err, town.ErrCapacity) {
		return err
	}
	if why := r.obstacle(); why != nil {
		err = why
	} else if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: its interpreter is missing", err)
	}
	return fmt.Errorf("%v: %w", err, town.ErrStartFailed)
}

// obstacle looks at directory and program as the run's user.
func (r *run) obstacle() error {
	s := &r.spawn
	return onThread(func() error {
		if s.UID != 0 {
			if err := seeAs(s.UID, s.GID); err != nil {
				return nil // then there is nothing better to tell than the fork's own error
			}
		}
		if err := enterable(s.Dir); err != nil {
			return fmt.Errorf("working directory: %w", err)
		}
		st, err := os.Stat(s.Argv[0])
		if errors.Is(err, fs.ErrPermission) {
			err = enterable(filepath.Dir(s.Argv[0]))
		}
		if err != nil {
			return fmt.Errorf("program: %w", err)
		}
		if st.IsDir() || st.Mode()&0o111 == 0 {
			return fmt.Errorf("program: %s is not an executable file", s.Argv[0])
		}
		return nil
	})
}

// seeAs makes the calling thread use files as the user would.
func seeAs(uid, gid uint32) error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return errno
	}
	// setfsuid and setfsgid do not tell whether they worked; asking again does.
	for _, c := range []struct {
		call uintptr
		id   uint32
	}{{syscall.SYS_SETFSGID, gid}, {syscall.SYS_SETFSUID, uid}} {
		_, _, _ = syscall.RawSyscall(c.call, uintptr(c.id), 0, 0)
		if now, _, _ := syscall.RawSyscall(c.call, uintptr(^uint32(0)), 0, 0); uint32(now) != c.id {
			return syscall.EPERM
		}
	}
	return nil
}

// enterable returns which part of the way to dir cannot be passed.
func enterable(dir string) error {
	dir = filepath.Clean(dir)
	for i := 1; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		st, err := os.Stat(dir[:i])
		if err != nil {
			return err
		}
		if !st.IsDir() {
			return fmt.Errorf("%s is not a directory", dir[:i])
		}
		if unix.Faccessat(unix.AT_FDCWD, dir[:i], unix.X_OK, unix.AT_EACCESS) != nil {
			return fmt.Errorf("%s may not be entered", dir[:i])
		}
	}
	return nil
}
