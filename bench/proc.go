package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what some processes use.
type usage struct {
	cpu     time.Duration // since they began
	rss     int64         // bytes
	threads int
}

// ticksPerSecond is sysconf(_SC_CLK_TCK), which Linux fixes for user space.
const ticksPerSecond = 100

// usageOf adds up what the processes use.
func usageOf(pids ...int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return usage{}, err
		}
		// The name may hold anything; the fields after it begin with the third (proc(5)).
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		field := func(nr int) int64 {
			n, _ := strconv.ParseInt(f[nr-3], 10, 64) // numbers, says proc(5)
			return n
		}
		sum.cpu += time.Duration(field(14)+field(15)) * time.Second / ticksPerSecond
		sum.threads += int(field(20))
		sum.rss += field(24) * int64(os.Getpagesize())
	}
	return sum, nil
}

// processes calls visit for every process that is not a zombie. One that ends
// meanwhile may be left out.
func processes(visit func(pid int, dir string)) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		if state := stat[bytes.LastIndexByte(stat, ')')+2]; state != 'Z' && state != 'X' {
			visit(pid, dir)
		}
	}
	return nil
}

// members counts the processes that belong to agents: those that run as one of
// their users, those that carry the marker of one of their runs, and those that
// run the agents' program. The town's own bookkeeping is not asked.
type members struct{ byUser, byMarker, byProgram int }

func (m members) most() int { return max(m.byUser, m.byMarker, m.byProgram) }

// count looks for the members of a town's agents.
func (s *server) count(runs map[string]bool) (members, error) {
	var m members
	err := processes(func(_ int, dir string) {
		if info, err := os.Stat(dir); err == nil {
			if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid >= s.uidBase && uid < s.uidBase+uidCount {
				m.byUser++
			}
		}
		environ, _ := os.ReadFile(filepath.Join(dir, "environ")) // of another's or an ended process: nothing to see
		for entry := range bytes.SplitSeq(environ, []byte{0}) {
			if run, ok := bytes.CutPrefix(entry, []byte("TOWND_RUN_ID=")); ok && runs[string(run)] {
				m.byMarker++
			}
		}
		if program, _ := os.Readlink(filepath.Join(dir, "exe")); program == s.b.agent {
			m.byProgram++
		}
	})
	return m, err
}

// findProcess returns the process whose arguments are argv.
func findProcess(argv ...string) (int, error) {
	want := strings.Join(argv, "\x00") + "\x00"
	found := 0
	err := processes(func(pid int, dir string) {
		if line, _ := os.ReadFile(filepath.Join(dir, "cmdline")); string(line) == want {
			found = pid
		}
	})
	if err == nil && found == 0 {
		err = fmt.Errorf("no process %s: %w", strings.Join(argv, " "), fs.ErrNotExist)
	}
	return found, err
}

// waitGone waits until a process that is not our child has ended.
func waitGone(pid int, timeout time.Duration) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	end := time.Now().Add(timeout)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(end).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for process %d: %w", pid, err)
		case n == 0:
			return fmt.Errorf("process %d lives after %v", pid, timeout)
		}
		return nil
	}
}

// warnIfBusy says when other programs leave us little of the machine: no ratio
// to a reference makes up for that, since a town is more processes than its
// references are.
func (b *bench) warnIfBusy(ctx context.Context) error {
	before, err := machineTime()
	if err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	after, err := machineTime()
	if err != nil {
		return err
	}
	if busy := 1 - float64(after.idle-before.idle)/float64(after.all-before.all); busy > 0.1 {
		fmt.Fprintf(b.out, "         other programs use %.0f%% of the machine: measure again when they do not\n", 100*busy)
	}
	return nil
}

// machine is what all cores did since boot, in ticks.
type machine struct{ idle, all int64 }

func machineTime() (machine, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machine{}, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var m machine
	for i, f := range strings.Fields(line)[1:9] { // user nice system idle iowait irq softirq steal (proc(5))
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return machine{}, fmt.Errorf("read /proc/stat: %w", err)
		}
		m.all += n
		if i == 3 || i == 4 {
			m.idle += n
		}
	}
	return m, nil
}
