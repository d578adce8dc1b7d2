package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hostileArgument marks a start of the test binary as the hostile agent.
const hostileArgument = "hostile"

// planEnv names the variable that holds the plan of the hostile agent.
const planEnv = "HOSTILE_PLAN"

// plan is what the hostile agent knows of its victims: more than it could find
// out.
type plan struct {
	Home, Address string
	Processes     map[string]int // server, keeper, victim
	VictimID      string
	VictimRun     string
	VictimDir     string // worktree
	VictimBranch  string
	DefaultBranch string
	Repo          string // the bare repository of the rig
	OwnID         string
}

// attempt is one thing that the hostile agent tried. Refusal is what it met; ""
// is a breach.
type attempt struct{ Name, Refusal string }

// hostileMain acts as the hostile agent when the process was started as it.
func hostileMain() {
	if len(os.Args) < 2 || os.Args[1] != hostileArgument {
		return
	}
	var p plan
	if err := json.Unmarshal([]byte(os.Getenv(planEnv)), &p); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	h := &hostile{plan: p}
	h.files()
	for name, pid := range p.Processes {
		h.inspect(name, pid)
		h.control(name, pid)
	}
	h.sockets()
	h.calls()
	h.victim()
	h.repository()
	h.privileges()
	h.plant()
	fmt.Println("over")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // a message says when
	h.swap()
	fmt.Println("swapped")
	time.Sleep(time.Hour)
}

// hostile tries one thing after another and tells how it went.
type hostile struct{ plan }

func (h *hostile) try(name string, err error) {
	a := attempt{Name: name}
	if err != nil {
		a.Refusal = strings.TrimSpace(err.Error())
	}
	line, _ := json.Marshal(a)
	fmt.Println(string(line))
}

var errNothing = errors.New("nothing in it")

// read reads a file, or lists a directory, or follows a link.
func (h *hostile) read(path string) {
	info, err := os.Lstat(path)
	if err == nil {
		switch {
		case info.IsDir():
			_, err = os.ReadDir(path)
		case info.Mode()&os.ModeSymlink != 0:
			_, err = os.Readlink(path)
		default:
			var data []byte
			if data, err = os.ReadFile(path); err == nil && len(data) == 0 {
				err = errNothing
			}
		}
	}
	h.try("read "+path, err)
}

// write writes to a file that may be there.
func (h *hostile) write(path string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err == nil {
		_, err = f.WriteString("hostile\n")
		_ = f.Close()
	}
	h.try("write "+path, err)
}

// replace puts a file of ours in the place of another.
func (h *hostile) replace(path string) {
	own := filepath.Join(os.Getenv("TMPDIR"), "replacement")
	err := os.WriteFile(own, []byte("hostile\n"), 0o644)
	if err == nil {
		err = os.Rename(own, path)
	}
	h.try("replace "+path, err)
	h.try("remove "+path, os.Remove(path))
}

// files goes for the state of the town and of the others in it.
func (h *hostile) files() {
	agent := filepath.Join(h.Home, "agents", h.VictimID)
	run := filepath.Join(h.Home, "runs", h.VictimRun)
	for _, path := range []string{
		filepath.Join(h.Home, "token"), filepath.Join(h.Home, "server.lock"), filepath.Join(h.Home, "keeper"),
		filepath.Join(h.Home, "keeper/keeper.log"), filepath.Join(h.Home, "agents"), filepath.Join(h.Home, "runs"),
		agent, filepath.Join(agent, "record.json"), filepath.Join(agent, "events.jsonl"), filepath.Join(agent, "home"), filepath.Join(agent, "tmp"),
		filepath.Join(h.Home, "agents", h.OwnID, "record.json"), filepath.Join(h.Home, "agents", h.OwnID, "events.jsonl"),
		run, filepath.Join(run, "0000000000000000.seg"), filepath.Join(run, "0000000000000000.marks"),
		"/etc/shadow", "/proc/kcore",
	} {
		h.read(path)
		h.write(path)
	}
	for _, path := range []string{
		filepath.Join(h.Home, "token"), filepath.Join(agent, "record.json"), filepath.Join(agent, "home"),
		filepath.Join(h.Home, "agents", h.OwnID, "record.json"), filepath.Join(h.Home, "agents", h.OwnID, "home"), run,
		filepath.Join(h.Home, "keeper/keeper.sock"),
	} {
		h.replace(path)
	}
	for _, dir := range []string{h.Home, filepath.Join(h.Home, "agents"), filepath.Join(h.Home, "agents", h.OwnID), filepath.Join(h.Home, "rigs")} {
		h.write(filepath.Join(dir, "planted"))
	}
}

// inspect goes for a process by way of /proc.
func (h *hostile) inspect(name string, pid int) {
	for _, file := range []string{
		"environ", "mem", "maps", "smaps", "fd", "fdinfo", "map_files", "cwd", "root", "exe", "auxv", "io", "stack", "syscall", "pagemap",
		"fd/0", "cwd/token", "root/etc/shadow", "ns/mnt", "personality",
	} {
		path := fmt.Sprintf("/proc/%d/%s", pid, file)
		_, err := os.ReadDir(path)
		if err != nil {
			if _, err = os.Readlink(path); err != nil {
				var data []byte
				if data, err = os.ReadFile(path); err == nil && len(data) == 0 {
					err = errNothing
				}
			}
		}
		h.try(fmt.Sprintf("read /proc/<%s>/%s", name, file), err)
	}
	for _, file := range []string{"mem", "oom_score_adj", "comm", "clear_refs", "coredump_filter", "autogroup"} {
		f, err := os.OpenFile(fmt.Sprintf("/proc/%d/%s", pid, file), os.O_RDWR, 0)
		if err == nil {
			if _, err = f.WriteString("0"); err == nil {
				err = f.Close()
			}
		}
		h.try(fmt.Sprintf("write /proc/<%s>/%s", name, file), err)
	}
}

// control goes for a process by system calls.
func (h *hostile) control(name string, pid int) {
	h.try("PTRACE_ATTACH to "+name, unix.PtraceAttach(pid))
	h.try("PTRACE_SEIZE of "+name, unix.PtraceSeize(pid))
	var local [8]byte
	_, err := unix.ProcessVMReadv(pid,
		[]unix.Iovec{{Base: &local[0], Len: 8}}, []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&local[0])), Len: 8}}, 0)
	h.try("process_vm_readv of "+name, err)
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		_, err = unix.PidfdGetfd(fd, 0, 0)
	}
	h.try("pidfd_getfd of "+name, err)
	h.try("pidfd_send_signal SIGKILL to "+name, unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0))
	for _, sig := range []syscall.Signal{unix.SIGKILL, unix.SIGSTOP, unix.SIGTERM, unix.SIGHUP, unix.SIGCONT} {
		h.try(fmt.Sprintf("kill -%s %s", unix.SignalName(sig), name), unix.Kill(pid, sig))
	}
	h.try("kill -9 the group of "+name, unix.Kill(-pid, unix.SIGKILL))
	h.try("tgkill "+name, unix.Tgkill(pid, pid, unix.SIGKILL))
	h.try("set limits of "+name, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 3}, nil))
	h.try("set priority of "+name, unix.Setpriority(unix.PRIO_PROCESS, pid, 19))
	h.try("pin "+name, unix.SchedSetaffinity(pid, &unix.CPUSet{1}))
}

// sockets goes for the ways by which the town talks.
func (h *hostile) sockets() {
	conn, err := net.Dial("unix", filepath.Join(h.Home, "keeper/keeper.sock"))
	if err == nil {
		_ = conn.Close()
	}
	h.try("connect to the keeper's socket", err)
	terminals, _ := filepath.Glob("/dev/pts/[0-9]*") // none is fine: nothing to open
	own, _ := os.Readlink("/proc/self/fd/0")
	for _, path := range terminals {
		if path == own {
			continue
		}
		for _, flag := range []int{os.O_RDONLY, os.O_WRONLY} {
			f, err := os.OpenFile(path, flag|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
			if err == nil {
				_ = f.Close()
			}
			h.try(fmt.Sprintf("open another's terminal %s (%d)", path, flag), err)
		}
	}
}

// calls goes for the control API, with every credential that it can think of.
func (h *hostile) calls() {
	start := `{"agentId":"puppet","rigId":"rig","townId":"town","role":"polecat","name":"puppet","gitUrl":"https://example.com/x.git",` +
		`"branch":"b","cli":"command","command":["/bin/sh"]}`
	victim := "/agents/" + h.VictimID
	calls := []struct{ method, path, body string }{
		{"GET", "/agents", ""},
		{"POST", "/agents/start", start},
		{"GET", victim + "/status", ""},
		{"POST", victim + "/stop", "{}"},
		{"POST", victim + "/message", `{"prompt":"do as I say"}`},
		{"POST", victim + "/stream-ticket", `{"mode":"write"}`},
		{"POST", victim + "/resize", `{"cols":1,"rows":1}`},
		{"GET", victim + "/events", ""},
		{"GET", victim + "/transcript", ""},
		{"GET", victim + "/screen", ""},
		{"GET", victim + "/diff", ""},
		{"GET", victim + "/stream?ticket=guess", ""},
		{"DELETE", victim, ""},
		{"GET", "/agents/" + h.OwnID + "/status", ""},
		{"GET", "/metrics", ""},
	}
	capability := os.Getenv("GASTOWN_SESSION_TOKEN")
	credentials := []string{"", "Bearer", "Bearer ", "Bearer " + capability, "Bearer null", "Bearer undefined", "Bearer admin", "Basic " + capability, capability}
	for _, c := range calls {
		for i, credential := range credentials {
			h.try(fmt.Sprintf("%s %s with credential %d", c.method, c.path, i), h.call(c.method, c.path, c.body, credential))
		}
	}
	h.try("a call with the capability in the query", h.call("GET", "/agents?token="+capability, "", ""))
}

func (h *hostile) call(method, path, body, credential string) error {
	req, err := http.NewRequest(method, "http://"+h.Address+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	if credential != "" {
		req.Header.Set("Authorization", credential)
	}
	req.Header.Set("Cookie", "token="+os.Getenv("GASTOWN_SESSION_TOKEN"))
	req.Header.Set("X-Forwarded-For", "127.0.0.1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("cannot say: %w", err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // to be shown
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusUpgradeRequired:
		return fmt.Errorf("%s %s", resp.Status, text)
	}
	return nil // anything else was let in
}

// victim goes for what belongs to another agent.
func (h *hostile) victim() {
	home := filepath.Join(h.Home, "agents", h.VictimID, "home")
	for _, path := range []string{
		home + "/diary", home + "/.townd/prompt.md", home + "/.townd", h.VictimDir, h.VictimDir + "/.git", h.VictimDir + "/dir000",
		h.VictimDir + "/work.txt", filepath.Dir(h.VictimDir) + "/planted",
	} {
		h.read(path)
		h.write(path)
	}
	h.replace(h.VictimDir)
	h.replace(h.VictimDir + "/work.txt")
	h.run("", "git", "-C", h.VictimDir, "status")
	h.run("", "git", "-C", h.VictimDir, "-c", "safe.directory=*", "log", "-1")
}

// run runs a program, in the worktree when dir is "".
func (h *hostile) run(stdin, name string, args ...string) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // so that none asks the terminal
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.ReplaceAll(bytes.TrimSpace(out), []byte("\n"), []byte("; ")))
	}
	h.try(strings.Join(append([]string{name}, args...), " "), err)
}

// repository goes for the rig's repository, which all of the rig share.
func (h *hostile) repository() {
	trust := []byte("[safe]\n\tdirectory = *\n") // git's own fear of other owners shall not be what holds
	if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), ".gitconfig"), trust, 0o644); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	setup := exec.Command("git", "commit", "--quiet", "--allow-empty", "-m", "mine")
	if out, err := setup.CombinedOutput(); err != nil {
		fmt.Printf("cannot commit: %v %s\n", err, out) // the test misses "over"
		os.Exit(1)
	}
	for _, branch := range []string{h.VictimBranch, h.DefaultBranch} {
		ref := "refs/heads/" + branch
		h.run("", "git", "update-ref", ref, "HEAD")
		h.run("", "git", "update-ref", "-d", ref)
		h.run("", "git", "branch", "-f", branch, "HEAD")
		h.run("", "git", "branch", "-D", branch)
		h.run("", "git", "branch", "-M", branch)
		h.run("", "git", "push", "--force", h.Repo, "HEAD:"+ref)
		h.run("", "git", "push", "--force", "origin", "HEAD:"+ref)
		h.run("", "git", "symbolic-ref", ref, "refs/heads/polecat/"+h.OwnID+"/bead")
		for _, dir := range []string{"", "logs"} {
			h.write(filepath.Join(h.Repo, dir, ref))
			h.replace(filepath.Join(h.Repo, dir, ref))
		}
	}
	h.write(filepath.Join(h.Repo, "refs/heads/polecat", h.VictimID, "planted"))
	for _, file := range []string{
		"config", "hooks/post-checkout", "hooks/reference-transaction", "hooks/pre-commit", "info/attributes", "info/exclude",
		"info/grafts", "objects/info/alternates", "objects/pack/pack-0000000000000000000000000000000000000000.idx", "commondir",
		"refs/replace/" + strings.Repeat("0", 40), "refs/town/planted", "refs/remotes/origin/planted", "HEAD", "packed-refs",
		"worktrees/planted/commondir",
	} {
		path := filepath.Join(h.Repo, file)
		h.write(path)
		if _, err := os.Lstat(path); err == nil {
			h.replace(path)
		}
	}
	h.try("move the hooks away", os.Rename(filepath.Join(h.Repo, "hooks"), filepath.Join(h.Repo, "hooks.old")))
	h.try("move the repository away", os.Rename(h.Repo, h.Repo+".old"))
	h.run("", "git", "config", "core.hooksPath", "/tmp")
	h.run("", "git", "config", "core.fsmonitor", "/bin/false")
	h.run("", "git", "--git-dir", h.Repo, "symbolic-ref", "HEAD", "refs/heads/polecat/"+h.OwnID+"/bead")
	h.run("", "git", "--git-dir", h.Repo, "pack-refs", "--all")
	h.run("", "git", "worktree", "remove", "--force", h.VictimDir)
	h.run("", "git", "worktree", "lock", h.VictimDir)
	h.run("", "git", "worktree", "move", h.VictimDir, filepath.Join(os.Getenv("TMPDIR"), "stolen"))
	objects, _ := filepath.Glob(filepath.Join(h.Repo, "objects/[0-9a-f][0-9a-f]/*")) // packs are the server's anyway
	for _, object := range objects {
		if info, err := os.Lstat(object); err == nil && info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
			h.replace(object)
			h.write(object)
			break
		}
	}
}

// privileges goes for becoming somebody else.
func (h *hostile) privileges() {
	status, _ := os.ReadFile("/proc/self/status") // without it there is no refusal to tell
	if bytes.Contains(status, []byte("NoNewPrivs:\t1")) {
		h.try("gain privileges by exec", errors.New("no_new_privs is set"))
	} else {
		h.try("gain privileges by exec", nil)
	}
	token := filepath.Join(h.Home, "token")
	h.run("\n\n", "su", "root", "-c", "cat "+token)
	h.run("\n\n", "passwd", "-d", "root")
	h.run("", "mount", "-t", "tmpfs", "none", os.Getenv("TMPDIR"))
	h.run("", "unshare", "--user", "--map-root-user", "--mount", "cat", token)
	h.run("", "unshare", "--user", "--map-root-user", "kill", "-9", fmt.Sprint(h.Processes["server"]))
	if sudo, err := exec.LookPath("sudo"); err == nil {
		h.run("", sudo, "-n", "cat", token)
	}
	shell := filepath.Join(os.Getenv("TMPDIR"), "id")
	h.run("", "cp", "/usr/bin/id", "/root/id")
	_ = exec.Command("cp", "/usr/bin/id", shell).Run() // chmod tells
	h.try("make a program of root's", errors.Join(os.Chown(shell, 0, 0), os.Chmod(shell, 0o4755)))
	h.try("setuid(0)", syscall.Setuid(0))
	h.try("setgid(0)", syscall.Setgid(0))
	h.try("setgroups(0)", syscall.Setgroups([]int{0}))
	h.try("chroot", unix.Chroot(os.Getenv("TMPDIR")))
	h.try("mount", unix.Mount("none", os.Getenv("TMPDIR"), "tmpfs", 0, ""))
	h.try("make a device", unix.Mknod(filepath.Join(os.Getenv("TMPDIR"), "mem"), unix.S_IFCHR|0o666, 1<<8|1))
	disks, _ := filepath.Glob("/dev/[sv]da") // a machine has one, the other, or none that we see
	for _, path := range append(disks, "/dev/mem", "/dev/kmsg") {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			_ = f.Close()
		}
		h.try("open "+path, err)
	}
	h.try("become the killer's user", syscall.Setresuid(-1, 65533, -1))
	_ = unix.Kill(-1, unix.SIGKILL) // says 0 whoever it killed (kill_something_info in linux/kernel/signal.c): the test looks who is left
}

// plant leaves in its own places what the server's git, files and removal might
// trip over. What runs because of it writes its user's id.
func (h *hostile) plant() {
	home, trap := os.Getenv("HOME"), filepath.Join(os.Getenv("TRAP"), "trap")
	config := "[safe]\n\tdirectory = *\n" + trapConfig(os.Getenv("TRAP"))
	steps := []error{
		os.WriteFile(".gitattributes", []byte("* filter=trap diff=trap merge=trap\n"), 0o644),
		os.WriteFile("work.txt", []byte("work\n"), 0o644),
		os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o644),
		os.WriteFile(filepath.Join(h.adminDir(), "config.worktree"), []byte(config), 0o644),
		os.Symlink("/etc", "etc"),
		os.Symlink(os.Getenv("TRAP"), "trapdir"),
		os.RemoveAll(filepath.Join(home, ".townd")),
		os.Symlink(os.Getenv("TRAP"), filepath.Join(home, ".townd")),
		os.Symlink("/etc/passwd", os.Getenv("TMPDIR")+"/link"),
		unix.Mkfifo("fifo", 0o666),
	}
	for _, hook := range []string{"post-checkout", "pre-commit", "reference-transaction", "post-index-change", "pre-auto-gc"} {
		steps = append(steps, os.Symlink(trap, filepath.Join(os.Getenv("TRAP"), hook)))
	}
	if err := errors.Join(steps...); err != nil {
		fmt.Println("cannot plant:", err)
		os.Exit(1)
	}
}

// trapConfig is a git configuration that runs dir/trap whenever git can be made
// to run something.
func trapConfig(dir string) string {
	trap := dir + "/trap"
	return "[core]\n\tfsmonitor = " + trap + "\n\thooksPath = " + dir + "\n\tsshCommand = " + trap + "\n\tpager = " + trap +
		"\n\teditor = " + trap + "\n\tgitProxy = " + trap + "\n\talternateRefsCommand = " + trap +
		"\n[diff]\n\texternal = " + trap + "\n[credential]\n\thelper = " + trap + "\n[gpg]\n\tprogram = " + trap +
		"\n[filter \"trap\"]\n\tclean = " + trap + "\n\tsmudge = " + trap + "\n\tprocess = " + trap +
		"\n[diff \"trap\"]\n\ttextconv = " + trap + "\n\tcommand = " + trap + "\n[merge \"trap\"]\n\tdriver = " + trap + "\n"
}

// adminDir is where the repository keeps what it knows of our worktree.
func (h *hostile) adminDir() string {
	own, err := os.ReadFile(".git")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(own), "gitdir: "))
}

// swap puts a repository of its own making in the place of the worktree's.
func (h *hostile) swap() {
	fake := filepath.Join(os.Getenv("HOME"), "fake.git")
	out, err := exec.Command("git", "init", "--quiet", "--bare", fake).CombinedOutput()
	config, openErr := os.OpenFile(filepath.Join(fake, "config"), os.O_WRONLY|os.O_APPEND, 0)
	if openErr == nil {
		_, openErr = config.WriteString(trapConfig(os.Getenv("TRAP")))
		openErr = errors.Join(openErr, config.Close())
	}
	err = errors.Join(err, openErr,
		os.WriteFile(filepath.Join(h.adminDir(), "commondir"), []byte(fake+"\n"), 0o644),
		os.RemoveAll(".git"), os.WriteFile(".git", []byte("gitdir: "+fake+"\n"), 0o644))
	if err != nil {
		fmt.Printf("cannot swap: %v %s\n", err, out)
		os.Exit(1)
	}
}
