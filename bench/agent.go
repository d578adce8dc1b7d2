package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/term"
)

// agentArgument marks a start of this program as an agent, or as a program to
// compare with. Nothing is read from the environment.
const agentArgument = "agent"

// modes are what it can be then.
var modes = map[string]func(args []string) error{
	"idle":    func([]string) error { return say("\n") },
	"flood":   flood,
	"print":   printPaced,
	"lines":   printLines,
	"tree":    tree,
	"sleep":   func(args []string) error { return ready(args) },
	"deaf":    deaf,
	"fork":    func([]string) error { return child(&syscall.SysProcAttr{Setsid: true}, []string{}, "sleep") },
	"handler": handle,
	"speak":   speak,
	"report":  reportThroughOutbox,
	"post":    reportFromMemory,
}

// beAgent acts as the mode says and returns the exit status.
func beAgent(mode string, args []string) int {
	act, ok := modes[mode]
	if !ok {
		fmt.Fprintf(os.Stderr, "no mode %q\n", mode)
		return 2
	}
	if err := act(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	switch mode {
	case "idle", "lines", "tree", "sleep", "deaf":
		for {
			_ = syscall.Pause() // until a signal ends us
		}
	}
	return 0
}

func say(s string) error {
	_, err := os.Stdout.WriteString(s)
	return err
}

// printed is byte i of what the agent of that seed prints: all values, in no
// short period, and different for each seed.
func printed(seed, i int64) byte { return byte((i ^ i>>8 ^ i>>16) + 31*seed) }

// flood prints as fast as it is read, for ever.
func flood([]string) error {
	if _, err := term.MakeRaw(0); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for i := range buf {
		buf[i] = printed(0, int64(i))
	}
	for {
		if _, err := os.Stdout.Write(buf); err != nil {
			return err
		}
	}
}

// printPaced prints args: seed, bytes a second, bytes a write, bytes in all (0 is
// without end). It keeps to its schedule as well as it is let.
func printPaced(args []string) error {
	var n [4]int64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseInt(args[i], 10, 64); err != nil {
			return err
		}
	}
	seed, perSecond, chunk, total := n[0], n[1], n[2], n[3]
	if _, err := term.MakeRaw(0); err != nil {
		return err
	}
	buf := make([]byte, chunk)
	start := time.Now()
	for sent := int64(0); total == 0 || sent < total; sent += int64(len(buf)) {
		time.Sleep(time.Until(start.Add(time.Duration(float64(sent) / float64(perSecond) * float64(time.Second)))))
		if total > 0 {
			buf = buf[:min(chunk, total-sent)]
		}
		for i := range buf {
			buf[i] = printed(seed, sent+int64(i))
		}
		if _, err := os.Stdout.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// printLines prints numbered lines in colours, as builds and tests do: args is
// bytes a second, 0 for as many as are read, and bytes in all, 0 for no end.
func printLines(args []string) error {
	perSecond, err := strconv.ParseFloat(args[0], 64)
	if err != nil {
		return err
	}
	total, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	atOnce := min(max(100, int(perSecond/50)), 64<<10)
	start := time.Now()
	for line, sent := 0, 0; total == 0 || sent < total; {
		var lines []byte
		for ; len(lines) < atOnce; line++ {
			lines = fmt.Appendf(lines, "\x1b[2m%9d\x1b[0m \x1b[%dmok\x1b[0m  a line of a build that says what it does, and how long it took: %d ms\n", line, 31+line%6, line*7%1000)
		}
		if _, err := os.Stdout.Write(lines); err != nil {
			return err
		}
		if sent += len(lines); perSecond > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(float64(sent) / perSecond * float64(time.Second)))))
		}
	}
	return nil
}

// treeSize is how many processes tree becomes.
const treeSize = 5

// tree becomes this process, a child in a session of its own, one that is left
// by a double fork with an empty environment, one that ignores SIGTERM, and an
// ordinary one. It says so when all are there.
func tree([]string) error {
	for _, c := range []struct {
		attr *syscall.SysProcAttr
		mode string
	}{{&syscall.SysProcAttr{Setsid: true}, "sleep"}, {nil, "fork"}, {nil, "deaf"}, {nil, "sleep"}} {
		if err := child(c.attr, nil, c.mode); err != nil {
			return err
		}
	}
	return say("\n")
}

func deaf(args []string) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	return ready(args)
}

// child starts this program in another mode, with env or if that is nil our own,
// and waits until it is ready or has ended.
func child(attr *syscall.SysProcAttr, env []string, mode string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], agentArgument, mode, "3")
	cmd.SysProcAttr, cmd.Env, cmd.ExtraFiles = attr, env, []*os.File{w}
	if err := cmd.Start(); err != nil {
		return err
	}
	w.Close()
	if mode == "fork" {
		err = cmd.Wait()
	} else if _, err = r.Read(make([]byte, 1)); err != nil {
		err = fmt.Errorf("child %s: %w", mode, err)
	}
	return err
}

// ready tells the parent, by the descriptor named in args, that we are there.
func ready(args []string) error {
	fd, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "ready")
	defer f.Close()
	_, err = f.Write([]byte{1})
	return err
}

// handle serves a handler that does nothing until its input ends.
func handle([]string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Second}
	go web.Serve(l) //nolint:errcheck // ends with the process
	if err := say(l.Addr().String() + "\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
