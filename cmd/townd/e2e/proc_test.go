package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// proc is a process as /proc shows it. This is the tests' own look: what the
// town believes of its processes is what they check.
type proc struct {
	pid     int
	uid     uint32
	run     string // value of its TOWND_RUN_ID
	agentID string // value of its GASTOWN_AGENT_ID
	townID  string // value of its GASTOWN_TOWN_ID
	home    string // value of its HOME
	command string
}

func (p proc) String() string {
	return fmt.Sprintf("pid %d uid %d run %s: %.200s", p.pid, p.uid, p.run, p.command)
}

// allProcesses lists every process that is not a zombie.
func allProcesses() (all []proc) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		panic(err) // there is no Linux without it
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if p, ok := readProc(pid); ok {
			all = append(all, p)
		}
	}
	return all
}

// statusOf reads who a process is; ok is false when it has ended.
func statusOf(pid string) (p proc, ok bool) {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil || bytes.Contains(status, []byte("State:\tZ")) || bytes.Contains(status, []byte("State:\tX")) {
		return p, false
	}
	p.pid, err = strconv.Atoi(pid)
	p.uid = uidOf(status)
	return p, err == nil
}

// readProc reads one process; ok is false when it has ended.
func readProc(pid int) (p proc, ok bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	if p, ok = statusOf(strconv.Itoa(pid)); !ok {
		return p, false
	}
	command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	environ, err := os.ReadFile(filepath.Join(dir, "environ"))
	if len(command)+len(environ) == 0 && err == nil && p.uid != 0 {
		// It is within its exec, which is told as done before there is any of it, or about to
		// be a zombie. (Those of root may be the kernel's, which have neither.)
		time.Sleep(100 * time.Microsecond)
		return readProc(pid)
	}
	p.command = strings.ReplaceAll(string(command), "\x00", " ")
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		switch name, value, _ := strings.Cut(string(entry), "="); name {
		case "TOWND_RUN_ID":
			p.run = value
		case "GASTOWN_AGENT_ID":
			p.agentID = value
		case "GASTOWN_TOWN_ID":
			p.townID = value
		case "HOME":
			p.home = value
		}
	}
	return p, true
}

// openEnviron returns the environment of a process as far as its own user can read it.
// Between its fork and its exec a process of the server has the agent's user and still
// the server's memory, which the kernel keeps from that user: its files in /proc are
// root's then (proc(5)). Empty also for one that has ended.
func (p proc) openEnviron() []byte {
	name := fmt.Sprintf("/proc/%d/environ", p.pid)
	fi, err := os.Stat(name) // first: what is open to its user stays so
	if err != nil || fi.Sys().(*syscall.Stat_t).Uid != p.uid {
		return nil
	}
	environ, _ := os.ReadFile(name)
	return environ
}

// uidOf returns the real user of a /proc/<pid>/status. The owner of the directory
// is root for a process that may not be dumped.
func uidOf(status []byte) uint32 {
	_, rest, _ := bytes.Cut(status, []byte("\nUid:\t"))
	field, _, _ := bytes.Cut(rest, []byte("\t"))
	uid, _ := strconv.ParseUint(string(field), 10, 32)
	return uint32(uid)
}

// processes lists every process of the town: server, keeper, git, agents, and what
// any of them left behind.
func (tt *testTown) processes() []proc {
	return slices.DeleteFunc(allProcesses(), func(p proc) bool {
		return !tt.isAgents(p) && !strings.Contains(p.command, tt.home) && !strings.HasPrefix(p.home, tt.home)
	})
}

// ofAgents lists the processes of agents.
func (tt *testTown) ofAgents() []proc {
	return slices.DeleteFunc(allProcesses(), func(p proc) bool { return !tt.isAgents(p) })
}

// ofAgent lists the processes of one agent, of whichever run.
func (tt *testTown) ofAgent(id string) []proc {
	return slices.DeleteFunc(tt.ofAgents(), func(p proc) bool { return p.agentID != id })
}

// isAgents tells an agent's process by its user, whatever it says of itself, or
// by its marker.
func (tt *testTown) isAgents(p proc) bool {
	return p.uid >= tt.users && p.uid < tt.users+userCount || p.townID == tt.townID()
}

// ofRun lists the processes that bear the mark of a run.
func ofRun(run string) []proc {
	return slices.DeleteFunc(allProcesses(), func(p proc) bool { return p.run != run })
}
