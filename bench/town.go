package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"townd/api"
	"townd/town"
)

// bench is one run of the load program.
type bench struct {
	short    bool
	openFor  time.Duration // of the pages of page
	flood    int64         // bytes a second of page's agent
	dir      string        // everything the run makes; agents' users may pass through
	townd    string        // the program that is measured
	agent    string        // this program, where agents' users may execute it
	repo     string        // URL of the repository agents work on, where a scenario has no other
	out      io.Writer
	scenario string // that is running
	missed   bool   // some bound
	towns    int    // opened so far
}

// newBench makes the directory, the programs and the repository. The caller
// removes b.dir.
func newBench(ctx context.Context, program string, short bool) (b *bench, err error) {
	dir, err := os.MkdirTemp("", "townd-bench-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	b = &bench{
		short: short, dir: dir, townd: filepath.Join(dir, "townd"), agent: filepath.Join(dir, "agent"),
		out: os.Stdout,
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // agents' users pass through
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := copyProgram(b.agent, self); err != nil {
		return nil, err
	}
	if program != "" {
		err = copyProgram(b.townd, program)
	} else {
		err = b.build(ctx)
	}
	if err != nil {
		return b, err
	}
	b.repo, err = b.makeRepository(ctx, "repository", 200)
	return b, err
}

// build compiles townd the way a release is.
func (b *bench) build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.townd, "townd/cmd/townd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build townd: %w\n%s", err, out)
	}
	return nil
}

func copyProgram(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755) //nolint:gosec // run by agents' users
}

// makeRepository makes a repository of so many files of about 1 KB and returns its URL.
func (b *bench) makeRepository(ctx context.Context, name string, files int) (string, error) {
	dir := filepath.Join(b.dir, name)
	for i := range files {
		path := filepath.Join(dir, fmt.Sprintf("part%02d", i%max(10, files/100)), fmt.Sprintf("file%03d.txt", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a public repository
			return "", err
		}
		text := bytes.Repeat(fmt.Appendf(nil, "line of file %d, part of a kilobyte\n", i), 28)
		if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // a public repository
			return "", err
		}
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"commit", "-q", "-m", "first"}} {
		if err := b.git(ctx, dir, args...); err != nil {
			return "", err
		}
	}
	return "file://" + dir, nil
}

// git runs git in dir with nobody's configuration.
func (b *bench) git(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = dir, b.environ(
		"GIT_AUTHOR_NAME=bench", "GIT_AUTHOR_EMAIL=bench@example.invalid", "GIT_COMMITTER_NAME=bench", "GIT_COMMITTER_EMAIL=bench@example.invalid")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// environ is the environment of everything but agents.
func (b *bench) environ(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull}, more...)
}

// server is a town: a server that runs, and its keeper.
type server struct {
	*api.Client
	b       *bench
	home    string
	repo    string // URL of the repository its agents work on
	token   string
	http    *http.Client
	uidBase int
	env     []string // more of the server's environment

	cmd     *exec.Cmd
	log     *logTail
	address string
	keeper  int           // pid
	boot    time.Duration // from the start of the newest process until it answered
}

// uidCount is how many users a town has for its agents.
const uidCount = 5000

// open starts a town. The caller closes it.
func (b *bench) open(ctx context.Context) (*server, error) {
	b.towns++
	s := &server{
		b: b, home: filepath.Join(b.dir, fmt.Sprintf("town%d", b.towns)), token: rand.Text(), repo: b.repo,
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
		// Towns beside each other, of other runs too, must not share users.
		uidBase: 1_000_000 + os.Getpid()%10_000*100_000 + b.towns*uidCount,
	}
	if err := s.serve(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// serve starts the server's process and waits until it answers.
func (s *server) serve(ctx context.Context) error {
	s.cmd = exec.Command(s.b.townd, "serve")
	s.cmd.Env = s.b.environ(
		"TOWND_HOME="+s.home, "TOWND_LISTEN=127.0.0.1:0", "TOWND_TOKEN="+s.token, "TOWND_GIT_PROTOCOLS=file", "TOWND_MAX_AGENTS=1000",
		fmt.Sprint("TOWND_UID_BASE=", s.uidBase), fmt.Sprint("TOWND_GID_BASE=", s.uidBase), fmt.Sprint("TOWND_UID_COUNT=", uidCount))
	s.cmd.Env = append(s.cmd.Env, s.env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us: we end it
	s.log = &logTail{serving: make(chan string, 1)}
	s.cmd.Stderr = s.log
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	select {
	case s.address = <-s.log.serving:
		s.Client = api.New("http://"+s.address, s.token, s.http)
	case <-ctx.Done():
		return fmt.Errorf("townd serve: %w\n%s", ctx.Err(), s.log.text())
	}
	if _, err := s.Health(ctx); err != nil {
		return err
	}
	if _, err := s.Agents(ctx); err != nil {
		return err
	}
	s.boot = time.Since(began)
	var err error
	s.keeper, err = findProcess(s.b.townd, "keeper", "--dir", filepath.Join(s.home, "keeper"))
	return err
}

// again starts the server again, with more in its environment.
func (s *server) again(ctx context.Context, env ...string) error {
	s.env = env
	return errors.Join(s.kill(), s.serve(ctx))
}

// kill ends the server's process without a word. Agents go on.
func (s *server) kill() error {
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait() // "signal: killed"
	s.http.CloseIdleConnections()
	return err
}

// usage is what server and keeper use.
func (s *server) usage() (usage, error) { return usageOf(s.cmd.Process.Pid, s.keeper) }

// cpu is the share of one core that server and keeper use for a while.
func (s *server) cpu(ctx context.Context, window time.Duration) (share float64, err error) {
	before, err := s.usage()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := pause(ctx, window); err != nil {
		return 0, err
	}
	after, err := s.usage()
	return float64(after.cpu-before.cpu) / float64(time.Since(began)), err
}

// close ends the town and every process of it, and says if that needed force.
func (s *server) close() error {
	s.http.CloseIdleConnections()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		killer := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
		_ = s.cmd.Wait() // it was told to end
		killer.Stop()
	}
	var errs []error
	if s.keeper != 0 {
		if err := waitGone(s.keeper, 15*time.Second); err != nil {
			errs = append(errs, fmt.Errorf("keeper: %w", err), syscall.Kill(s.keeper, syscall.SIGKILL))
		}
	}
	left, err := s.count(nil)
	errs = append(errs, err)
	if left.most() > 0 {
		errs = append(errs, fmt.Errorf("%d processes of agents were left behind", left.most()), s.sweep())
	}
	return errors.Join(errs...)
}

// sweep kills what still runs the agents' program.
func (s *server) sweep() error {
	return processes(func(pid int, dir string) {
		if program, _ := os.Readlink(filepath.Join(dir, "exe")); program == s.b.agent {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
		}
	})
}

// logTail takes a server's log, keeps the last of it and finds where it serves.
type logTail struct {
	serving chan string // of 1: the address

	mu   sync.Mutex
	told bool
	last bytes.Buffer
}

func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.Len() > 16<<10 {
		l.last.Next(l.last.Len() - 4<<10)
	}
	l.last.Write(p)
	if l.told {
		return len(p), nil
	}
	for lines := bufio.NewScanner(bytes.NewReader(l.last.Bytes())); lines.Scan(); {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			l.serving <- line.Address
			l.told = true
		}
	}
	return len(p), nil
}

func (l *logTail) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.String()
}

// request is the start request of an agent in that mode.
func (s *server) request(id string, mode ...string) town.StartRequest {
	return town.StartRequest{
		AgentID: id, RigID: "rig", TownID: "bench", Role: town.RolePolecat, Name: id, Identity: id, Prompt: "work", Model: "none",
		GitURL: s.repo, Branch: "polecat/" + id + "/bench", DefaultBranch: "main",
		CLI: "command", Command: append([]string{s.b.agent, agentArgument}, mode...),
	}
}

// start starts an agent and returns it with a stream that has shown its first byte.
func (s *server) start(ctx context.Context, id string, mode ...string) (town.Agent, *api.Stream, error) {
	started, err := s.Start(ctx, s.request(id, mode...))
	if err != nil {
		return town.Agent{}, nil, fmt.Errorf("start %s: %w", id, err)
	}
	stream, err := s.Stream(ctx, id, api.StreamOptions{})
	if err != nil {
		return town.Agent{}, nil, fmt.Errorf("watch %s: %w", id, err)
	}
	for {
		m, err := stream.Next(ctx)
		if err != nil {
			return town.Agent{}, nil, fmt.Errorf("watch %s: %w", id, errors.Join(err, stream.Close()))
		}
		if len(m.Data) > 0 {
			return started.Agent, stream, nil
		}
		if exit, ok := m.Frame.(api.ExitFrame); ok {
			return town.Agent{}, nil, fmt.Errorf("agent %s ended: %s %s", id, exit.Reason, cmp.Or(exit.Error, exit.Signal))
		}
	}
}

// launch starts an agent, waits for its first byte and leaves it alone.
func (s *server) launch(ctx context.Context, id string, mode ...string) (town.Agent, error) {
	agent, stream, err := s.start(ctx, id, mode...)
	if err != nil {
		return town.Agent{}, err
	}
	return agent, stream.Close()
}

// launchAll starts n agents at once, named by prefix and number.
func (s *server) launchAll(ctx context.Context, n int, prefix string, mode func(i int) []string) ([]town.Agent, error) {
	agents := make([]town.Agent, n)
	err := together(n, func(i int) (err error) {
		agents[i], err = s.launch(ctx, prefix+strconv.Itoa(i), mode(i)...)
		return err
	})
	return agents, err
}

func idle(int) []string { return []string{"idle"} }

// halt stops agents at once.
func (s *server) halt(ctx context.Context, agents ...town.Agent) error {
	return together(len(agents), func(i int) error {
		_, err := s.Stop(ctx, agents[i].AgentID, town.StopRequest{})
		return err
	})
}

// position is how much an agent has printed.
func (s *server) position(ctx context.Context, id string) (int64, error) {
	stream, err := s.Stream(ctx, id, api.StreamOptions{After: "live"})
	if err != nil {
		return 0, err
	}
	return stream.Hello.Offset, stream.Close()
}

// together calls f for 0 to n-1 at once and waits for all.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// pause waits, less long when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pick returns the second value in a short run.
func pick[T any](b *bench, full, short T) T {
	if b.short {
		return short
	}
	return full
}
