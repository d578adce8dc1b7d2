package keeper

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// programMain is the programs that tests run.
func programMain(name string, args []string) {
	switch name {
	case "print": // n bytes, seeded, then gone at once
		n, _ := strconv.Atoi(args[0])
		_, _ = os.Stdout.Write(pattern(n))
	case "tree":
		tree()
	case "hopper":
		fmt.Println("ready")
		hop()
	case "deaf":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
		fmt.Println("ready")
		select {}
	case "leave-deaf": // a child that ignores SIGTERM stays when its parent ends
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
		if fork() == 0 {
			rest()
		}
		fmt.Println("ready")
	case "leave-holder": // a grandchild in a session of its own keeps the terminal
		if fork() == 0 {
			setsid()
			rest()
		}
		fmt.Println("ready")
	case "slow-reader":
		fmt.Println("ready")
		n, buf := 0, make([]byte, 8192)
		for {
			m, err := os.Stdin.Read(buf)
			n += m
			if err != nil {
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
		fmt.Printf("got %d\n", n)
	case "copy":
		fmt.Println("ready")
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "flusher": // throws away every line that comes, unread
		fmt.Println("ready")
		for {
			if n, err := unix.IoctlGetInt(0, unix.TIOCINQ); err != nil {
				panic(err)
			} else if n > 0 {
				_ = unix.IoctlSetInt(0, unix.TCFLSH, unix.TCIFLUSH)
			}
		}
	case "hello": // to a keeper's socket
		conn, err := net.Dial("unix", args[0])
		if err != nil {
			panic(err)
		}
		_, _ = fmt.Fprintf(conn, "GET /hello HTTP/1.1\r\nHost: keeper\r\n%s: %d\r\n\r\n", headerProtocol, Protocol)
		if n, _ := conn.Read(make([]byte, 100)); n == 0 {
			fmt.Println("closed")
		}
	case "attack": // its parent, thread by thread
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		for parent := os.Getppid(); ; {
			attack(parent)
		}
	case "bomb": // fills the container with itself, and each place that gets free
		_, _ = syscall.Write(1, []byte("ready\n"))
		pause := syscall.Timespec{Nsec: 1e6}
		for told := false; ; {
			_, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
			if errno == 0 {
				continue
			}
			if !told {
				told = true
				full := [...]byte{'f', 'u', 'l', 'l', '\n'}
				syscall.RawSyscall(syscall.SYS_WRITE, 1, uintptr(unsafe.Pointer(&full)), 5)
			}
			syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&pause)), 0, 0, 0)
		}
	case "eat": // memory
		for hog := []byte{}; ; {
			hog = append(hog, make([]byte, 10<<20)...)
			for i := 0; i < len(hog); i += 4096 {
				hog[i] = 1
			}
		}
	case "rest":
		fmt.Println("ready")
		select {}
	case "flood": // n bytes in 4 KiB writes
		n, _ := strconv.Atoi(args[0])
		p := pattern(1 << 20)
		for sent := 0; sent < n; {
			chunk := p[sent%len(p):]
			chunk = chunk[:min(len(chunk), n-sent, 64<<10)]
			m, err := os.Stdout.Write(chunk)
			if err != nil {
				os.Exit(9)
			}
			sent += m
		}
	default:
		panic("no program " + name)
	}
}

// attack prints "hit" for each thread of the process that it may signal or trace.
func attack(pid int) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil || len(tasks) < 3 {
		fmt.Println("no threads to attack", err)
	}
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name())
		const seize = 0x4206
		for _, errno := range []syscall.Errno{
			func() syscall.Errno {
				_, _, e := syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(pid), uintptr(tid), 0)
				return e
			}(),
			func() syscall.Errno {
				_, _, e := syscall.RawSyscall6(syscall.SYS_PTRACE, seize, uintptr(tid), 0, 0, 0, 0)
				return e
			}(),
		} {
			if errno != syscall.EPERM && errno != syscall.ESRCH {
				fmt.Println("hit", tid, errno)
			}
		}
		for _, file := range []string{"mem", "environ", "fd"} {
			if f, err := os.Open(fmt.Sprintf("/proc/%d/task/%d/%s", pid, tid, file)); err == nil {
				if _, err := f.ReadAt(make([]byte, 1), 0); file != "mem" || err == nil {
					fmt.Println("hit", tid, file)
				}
				f.Close()
			}
		}
	}
}

// pattern returns n bytes of every value, the same ones each time.
func pattern(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(p)
	return p
}

// fork is fork(2). The child has one thread and no Go scheduler: it may only make
// raw system calls.
func fork() int {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 77, 0, 0)
	}
	return int(pid)
}

func setsid()  { syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0) }
func setpgid() { syscall.RawSyscall(syscall.SYS_SETPGID, 0, 0, 0) }
func exit()    { syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0) }

// rest waits until it is killed.
func rest() {
	for {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// hop forks away for ever: no process of it lives long enough to be looked at.
func hop() {
	for {
		if fork() != 0 {
			exit()
		}
		setsid()
	}
}

// tree is 100 processes with every way to get out of a group: chains, a process
// group and a session of its own, a double fork, one that ignores SIGTERM.
func tree() {
	for range 12 {
		if fork() == 0 {
			for range 7 { // a chain of 8
				if fork() != 0 {
					rest()
				}
			}
			rest()
		}
	}
	if fork() == 0 {
		setpgid()
		rest()
	}
	if fork() == 0 {
		setsid()
		rest()
	}
	if fork() == 0 { // a daemon
		setsid()
		if fork() != 0 {
			exit()
		}
		rest()
	}
	signal.Ignore(syscall.SIGTERM)
	if fork() == 0 {
		rest()
	}
	signal.Reset(syscall.SIGTERM)
	if fork() == 0 {
		rest()
	}
	fmt.Println("ready")
	select {}
}
