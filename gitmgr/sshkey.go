package gitmgr

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"

	"townd/town"
)

// sshKeys are the town's keys for remotes that are reached by ssh. They stay in memory:
// each git that calls such a remote gets a socket of the ssh agent's protocol of its
// own, for as long as it runs, where its ssh has them sign.
type sshKeys struct {
	ring  agent.ExtendedAgent
	known ssh.HostKeyCallback
	file  string // of the hosts that are known: ssh reads it too
	dir   string // of the sockets
	next  atomic.Int64
}

// maxSocketPath is what a socket's path may have, less than the 108 bytes of sun_path.
const maxSocketPath = 100

// openSSHKeys returns nil when c has no key.
func openSSHKeys(c Config) (*sshKeys, error) {
	if len(c.SSHKey) == 0 && len(c.KnownHosts) == 0 {
		return nil, nil
	}
	ring, err := parseSSHKeys(c.SSHKey)
	if err != nil {
		return nil, fmt.Errorf("ssh key: %w: %w", err, town.ErrInvalid)
	}
	if len(bytes.TrimSpace(c.KnownHosts)) == 0 {
		return nil, fmt.Errorf("known hosts of ssh: are needed with a key: %w", town.ErrInvalid)
	}
	k := &sshKeys{ring: ring, dir: filepath.Join(c.Home, ".ssh")}
	if len(k.dir) > maxSocketPath-30 || strings.ContainsAny(k.dir, " \t%\"'\\$~") { // ssh takes some of its options apart
		k.dir = filepath.Join(os.TempDir(), "townd-ssh-"+strconv.Itoa(os.Getuid()))
	}
	k.file = filepath.Join(k.dir, "known_hosts")
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory for ssh: %w", spaceKind(err))
	}
	// One that another made, in a directory for all, is refused.
	if fi, err := os.Lstat(k.dir); err != nil || !fi.IsDir() || fi.Mode().Perm()&0o022 != 0 || !ownedBy(fi, os.Geteuid()) {
		return nil, fmt.Errorf("directory for ssh %s: must be this user's alone: %w", k.dir, town.ErrInvalid)
	}
	if err := writeFile(k.file, string(c.KnownHosts)+"\n", 0o600); err != nil {
		return nil, fmt.Errorf("known hosts of ssh: %w", spaceKind(err))
	}
	if k.known, err = knownhosts.New(k.file); err != nil {
		return nil, fmt.Errorf("known hosts of ssh: %v: %w", err, town.ErrInvalid)
	}
	return k, nil
}

// CheckSSHKey returns why a text cannot be Config.SSHKey, without quoting it.
func CheckSSHKey(text []byte) error {
	if _, err := parseSSHKeys(text); err != nil {
		return fmt.Errorf("%w: %w", err, town.ErrInvalid)
	}
	return nil
}

// parseSSHKeys reads private keys in PEM, one after another. No error quotes any of it.
func parseSSHKeys(text []byte) (agent.ExtendedAgent, error) {
	ring, _ := agent.NewKeyring().(agent.ExtendedAgent)
	n := 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		key, err := ssh.ParseRawPrivateKey(pem.EncodeToMemory(block))
		if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
			return nil, errors.New("needs a passphrase: give one without")
		}
		if err != nil || ring.Add(agent.AddedKey{PrivateKey: key, Comment: "townd"}) != nil {
			return nil, errors.New("is no private key that ssh knows")
		}
		text = rest
		n++
	}
	if n == 0 || len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New("is not PEM: -----BEGIN OPENSSH PRIVATE KEY-----")
	}
	return ring, nil
}

func ownedBy(fi os.FileInfo, uid int) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == uid
}

// options make ssh use the town's keys and hosts and nothing of its user's.
func (k *sshKeys) options() []string {
	if k == nil {
		return nil
	}
	return []string{
		"-F", "/dev/null", "-o", "IdentityFile=none", "-o", "PreferredAuthentications=publickey", "-o", "ForwardAgent=no",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + k.file, "-o", "GlobalKnownHostsFile=/dev/null",
	}
}

// sshDesk signs for the ssh of one command.
type sshDesk struct {
	keys    *sshKeys
	host    string   // of the command's remote, with port
	started chan int // receives the command's process group
	log     func(why string)
	l       *net.UnixListener
	wg      sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // nil when closed
}

// openSSHDesk starts signing for c. The caller tells started, and closes it.
func (m *Manager) openSSHDesk(c command) (*sshDesk, error) {
	k := m.keys
	path := filepath.Join(k.dir, fmt.Sprintf("%d-%d", os.Getpid(), k.next.Add(1)))
	_ = os.Remove(path) // of a server that had our number and was killed
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, fmt.Errorf("socket for ssh: %w", spaceKind(err))
	}
	d := &sshDesk{keys: k, host: sshHost(c.url), started: make(chan int, 1), l: l, conns: map[net.Conn]bool{}}
	d.log = func(why string) { m.c.Log.Warn("signature for ssh refused", "host", d.host, "why", why) }
	d.wg.Go(d.serve)
	return d, nil
}

// sshHost is the host of a remote reached by ssh, with its port.
func sshHost(remote string) string {
	host, args, _, ok := sshTarget(remote)
	if !ok {
		return ""
	}
	port := "22"
	if len(args) == 2 {
		port = args[1]
	}
	return net.JoinHostPort(host[strings.LastIndex(host, "@")+1:], port)
}

func (d *sshDesk) path() string { return d.l.Addr().String() }

// close ends the signing; the socket goes with it.
func (d *sshDesk) close() {
	close(d.started)
	_ = d.l.Close() // nothing is lost with it
	d.mu.Lock()
	for conn := range d.conns {
		_ = conn.Close()
	}
	d.conns = nil
	d.mu.Unlock()
	d.wg.Wait()
}

// serve ends with close.
func (d *sshDesk) serve() {
	var group int
	for {
		conn, err := d.l.AcceptUnix()
		if err != nil {
			return
		}
		if group == 0 {
			group = <-d.started
		}
		// Without isolation agents are this user too, and find the socket. Their
		// processes are of other sessions, and cannot join this group (setpgid(2)).
		if !peerInGroup(conn, group) {
			d.log("the caller is not of the git that it is for")
			_ = conn.Close()
			continue
		}
		d.mu.Lock()
		open := d.conns != nil
		if open {
			d.conns[conn] = true
		}
		d.mu.Unlock()
		if !open {
			_ = conn.Close()
			return
		}
		d.wg.Go(func() { // ends with the connection
			defer func() { _ = conn.Close() }()          // close may have been first
			_ = agent.ServeAgent(&signer{desk: d}, conn) // it tells only that ssh has gone
		})
	}
}

// peerInGroup reports whether who connected is of a process group.
func peerInGroup(conn *net.UnixConn, group int) bool {
	raw, err := conn.SyscallConn()
	if err != nil || group == 0 {
		return false
	}
	in := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return
		}
		of, err := unix.Getpgid(int(cred.Pid))
		in = err == nil && of == group
	})
	return err == nil && in
}
