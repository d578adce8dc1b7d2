package gitmgr

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"townd/town"
)

const (
	maxOutputBytes = 16 << 20 // of a command whose output is taken whole
	maxErrorBytes  = 8 << 10  // the end of stderr that is kept
	termGrace      = 2 * time.Second
	waitDelay      = 5 * time.Second // for pipes held open by someone who left the group
)

// command is one run of git.
type command struct {
	observe  string   // told to Observe under this name, "" for a part of an operation
	args     []string // without "git"
	dir      string
	env      []string // besides the Manager's
	owner    Owner    // runs as this user; zero is our own
	locks    []*lock  // inherited, so that they are held as long as git lives
	timeout  time.Duration
	remote   bool            // a failure is the remote's: ErrGit
	retries  int             // of a remote that is not well
	network  bool            // may have to call the remote, for objects that a partial clone lacks
	rigID    string          // whose credential a remote is shown
	url      string          // of the remote
	program  string          // in place of git
	ssh      []string        // further options of ssh
	settings [][2]string     // of git, besides ours
	started  func(group int) // hears the process group
	tell     func(Progress)  // hears how far git is; it is told when there is one
	stdin    io.Reader       // nothing when nil
	stdout   io.Writer       // takes the output in place of run's result
}

// run is the only way to git: its own process group, no input unless given, an environment
// from nothing, bounded output, and a deadline after which the whole group is
// ended. When it returns no process of the group is left.
func (m *Manager) run(ctx context.Context, c command) ([]byte, error) {
	start := time.Now()
	if c.timeout == 0 {
		c.timeout = m.c.Timeout
	}
	c, err := m.guard.apply(ctx, c)
	if err != nil {
		return nil, err
	}
	out, err := m.exec(ctx, c)
	if to := m.moved(ctx, c, err); to != "" {
		c.settings = append(c.settings, [2]string{"url." + to + ".insteadOf", c.url})
		out, err = m.exec(ctx, c)
	}
	if e, ok := errors.AsType[*runError](err); ok && e.other && c.stdin == nil && c.stdout == nil {
		out, err = m.exec(ctx, c)
	}
	for n := 1; err != nil && m.again(ctx, n, c.retries, err); n++ {
		out, err = m.exec(ctx, c)
	}
	if c.observe != "" {
		m.observe(c.observe, start, err)
	}
	return out, err
}

func (m *Manager) observe(op string, start time.Time, err error) {
	if m.c.Observe != nil {
		m.c.Observe(op, time.Since(start), err)
	}
}

func (m *Manager) exec(ctx context.Context, c command) ([]byte, error) {
	deadline, cancel := context.WithTimeoutCause(ctx, c.timeout, errTimeout)
	defer cancel()
	if err := m.takeSlot(deadline, c); err != nil {
		return nil, c.stopped(err)
	}
	defer m.freeSlot(c)
	stdout, stderr := &capped{max: maxOutputBytes}, &tail{max: maxErrorBytes}
	cmd := m.prepare(c, stdout, stderr)
	var err error
	var desk *credentialDesk
	switch calls := c.url != "" && c.owner.UID == 0 && (c.remote || c.network); {
	case calls && m.keys != nil && sshHost(c.url) != "":
		err = m.runWithSSH(deadline, c, cmd)
	case calls && m.c.Credential != nil && c.program == "":
		desk, err = m.runWithDesk(deadline, c, cmd, stderr)
	default:
		err = runGroup(deadline, c, cmd)
	}
	switch why := context.Cause(deadline); {
	case err == nil && stdout.over:
		return nil, fmt.Errorf("%s: more than %d bytes of output: %w", c.name(), maxOutputBytes, town.ErrTooLarge)
	case err == nil:
		return stdout.Bytes(), nil
	case cmd.Process == nil:
		return nil, err
	case why != nil:
		return nil, c.stopped(why)
	}
	failure := c.failed(err, stdout.String(), stderr.String())
	if desk != nil {
		failure.other = desk.other
		if errors.Is(desk.err, town.ErrGit) {
			failure.kind = desk.err // git only knows that it got none
		}
	}
	return stdout.Bytes(), failure
}

// prepare puts together what c is to run.
func (m *Manager) prepare(c command, stdout, stderr io.Writer) *exec.Cmd {
	cmd := exec.Command(cmp.Or(c.program, m.c.Git), c.args...)
	if c.program != "" { // it is ssh, which heeds the first of options
		cmd = exec.Command(c.program, slices.Concat(c.ssh, c.args)...)
	}
	cmd.Dir = c.dir
	cmd.Env = append(append([]string{}, m.env...), c.env...)
	if c.remote || c.network {
		cmd.Env = append(cmd.Env, remoteEnv()...)
	}
	if len(c.settings) > 0 {
		cmd.Env = append(cmd.Env, settingsEnv(slices.Concat(settings, c.settings))...)
	}
	if len(c.ssh) > 0 {
		cmd.Env = append(cmd.Env, sshEnv(m.c, c.ssh))
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, stdout, stderr
	if c.stdout != nil {
		cmd.Stdout = c.stdout
	}
	if c.tell != nil {
		cmd.Stderr = &progressReader{tell: c.tell, rest: stderr}
	}
	cmd.WaitDelay = waitDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.owner.UID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.owner.UID, Gid: c.owner.GID}
	}
	for _, l := range c.locks {
		cmd.ExtraFiles = append(cmd.ExtraFiles, l.f)
	}
	return cmd
}

// runGroup runs cmd until no process of its group is left.
func runGroup(ctx context.Context, c command, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.name(), spaceKind(err))
	}
	if c.started != nil {
		c.started(cmd.Process.Pid)
	}
	return waitGroup(ctx, cmd)
}

// runWithDesk is runGroup with somebody to ask for credentials. Why there were none
// is added to what git said.
func (m *Manager) runWithDesk(ctx context.Context, c command, cmd *exec.Cmd, stderr io.Writer) (*credentialDesk, error) {
	desk, err := m.openDesk(ctx, c)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, desk.env(c, 3+len(cmd.ExtraFiles))...)
	cmd.ExtraFiles = append(cmd.ExtraFiles, desk.child)
	err = runGroup(ctx, c, cmd)
	if why := desk.close(); why != nil && err != nil {
		_, _ = fmt.Fprintf(stderr, "\n%v", why) // it takes everything
	}
	return desk, err
}

// runWithSSH is runGroup with an agent that signs for its ssh.
func (m *Manager) runWithSSH(ctx context.Context, c command, cmd *exec.Cmd) error {
	desk, err := m.openSSHDesk(c)
	if err != nil {
		return err
	}
	defer desk.close()
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+desk.path())
	c.started = func(group int) { desk.started <- group }
	return runGroup(ctx, c, cmd)
}

// name is what people call the command.
func (c command) name() string {
	if c.program != "" {
		return c.program
	}
	return "git " + c.args[0]
}

// takeSlot waits until git may run. One that calls a remote has none to wait for:
// it mostly waits itself, and there is at most one per rig.
func (m *Manager) takeSlot(ctx context.Context, c command) error {
	if err := context.Cause(ctx); err != nil || c.remote {
		return err
	}
	select {
	case m.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *Manager) freeSlot(c command) {
	if !c.remote {
		<-m.slots
	}
}

// waitGroup waits for cmd and ends its process group: with SIGTERM and then
// SIGKILL when ctx ends, and what its leader left behind in any case.
func waitGroup(ctx context.Context, cmd *exec.Cmd) error {
	pid := cmd.Process.Pid
	ended := make(chan struct{})
	killer := make(chan struct{})
	go func() { // ends with the leader
		defer close(killer)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		_ = unix.Kill(-pid, unix.SIGTERM) // an error means that it ended meanwhile
		grace := time.NewTimer(termGrace)
		defer grace.Stop()
		select {
		case <-ended:
		case <-grace.C:
			_ = unix.Kill(-pid, unix.SIGKILL)
		}
	}()
	// Waiting without reaping keeps the group's number ours until all of it is killed.
	var end unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &end, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	close(ended)
	<-killer
	if ctx.Err() != nil || end.Code != cldExited {
		letFinish(pid)
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // git itself ended well
	}
	return err
}

// cldExited is CLD_EXITED of siginfo_t: a process that ended by itself (waitid(2)).
const cldExited = 1

// letFinish waits until what a leader that was killed left of its process group has ended,
// for a while: of a remote in files it is the remote's own git, which may be writing a ref
// and would leave it locked for ever.
func letFinish(leader int) {
	for deadline := time.Now().Add(termGrace); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) { // they are no children of ours
		rest := slices.ContainsFunc(pids(), func(pid int) bool {
			group, err := unix.Getpgid(pid)
			if err == nil && group == leader {
				_, err = startTime(pid) // fails for one that has ended, as the leader
			}
			return err == nil && group == leader
		})
		if !rest {
			return
		}
	}
}

var errTimeout = errors.New("deadline passed")

// runError is a git command that failed; what git said is kept to be looked at.
type runError struct {
	text   string
	stderr string
	kind   error // nil for none
	exit   int
	other  bool // the remote refused a credential, and there is another now
}

func (e *runError) Error() string {
	if e.kind != nil {
		return e.text + ": " + e.kind.Error()
	}
	return e.text
}

func (e *runError) Unwrap() error { return e.kind }

// stopped is the error of a command that we ended, because of why.
func (c command) stopped(why error) error {
	if !errors.Is(why, errTimeout) && !errors.Is(why, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", c.name(), why)
	}
	text := fmt.Sprintf("%s: stopped after %s", c.name(), c.timeout)
	if errors.Is(why, context.DeadlineExceeded) {
		text = fmt.Sprintf("%s: stopped at the caller's deadline", c.name())
	}
	if c.remote {
		return &runError{text: text + ", the remote does not answer", kind: ErrNetwork, exit: -1}
	}
	return &runError{text: text, kind: why, exit: -1}
}

// failed is the error of a command that ended by itself.
func (c command) failed(err error, stdout, stderr string) *runError {
	if c.args[0] == "push" {
		stderr += refused(stdout)
	}
	said := lastLines(redact(stderr))
	exit := -1
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		exit = e.ExitCode()
	}
	if said == "" {
		said = err.Error()
	}
	e := &runError{text: fmt.Sprintf("%s: %s", c.name(), said), stderr: stderr, exit: exit}
	switch {
	case saysFull(stderr), isFull(c.dir):
		e.kind = town.ErrNoSpace
	case strings.Contains(stderr, "cannot lock ref") && strings.Contains(stderr, "cannot create"):
		e.kind = town.ErrConflict // a branch a beside a/b
	case c.remote:
		e.kind = remoteKind(stderr)
	}
	return e
}

// refused returns what git push --porcelain prints of refs that were not taken.
func refused(stdout string) (lines string) {
	for line := range strings.Lines(stdout) {
		if strings.HasPrefix(line, "!") {
			lines += "\n" + line
		}
	}
	return lines
}

// saysFull looks for git's ways to tell of a full disk.
func saysFull(stderr string) bool {
	for _, s := range []string{"No space left on device", "Disk quota exceeded", "Out of diskspace"} {
		if strings.Contains(stderr, s) {
			return true
		}
	}
	return false
}

// isFull reports whether there is no room below dir. Git often keeps the reason
// to itself: "unable to write file x".
func isFull(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && (st.Bavail*uint64(st.Bsize) < 64<<10 || st.Files > 0 && st.Ffree == 0)
}

// lastLines returns the end of what git said as one line, its progress left out.
func lastLines(s string) string {
	var lines []string
	for line := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "Another git process") {
			break // advice for people at a keyboard
		}
		if line != "" && !strings.HasPrefix(line, "Cloning into") && !strings.HasPrefix(line, "hint:") {
			lines = append(lines, line)
		}
	}
	if len(lines) > 4 {
		lines = lines[len(lines)-4:]
	}
	return strings.Map(func(r rune) rune { // a remote may send anything
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.Join(lines, "; "))
}

var userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@'"]*(?:@[^\s/@'"]*)*@`)

// redact takes the userinfo out of every URL in s.
func redact(s string) string { return userinfo.ReplaceAllString(s, "${1}***@") }

// spaceKind adds ErrNoSpace to an error of a full disk.
func spaceKind(err error) error {
	if err != nil && !errors.Is(err, town.ErrNoSpace) && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) {
		return fmt.Errorf("%w: %w", err, town.ErrNoSpace)
	}
	return err
}

// capped keeps the first max bytes and takes the rest.
type capped struct {
	bytes.Buffer
	max  int
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.max - c.Len(); len(p) > room {
		c.over = true
		c.Buffer.Write(p[:room])
		return len(p), nil
	}
	return c.Buffer.Write(p)
}

// tail keeps the last max bytes.
type tail struct {
	b   []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }

// isDir reports whether path is a directory itself, not a link to one.
func isDir(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.IsDir()
}
