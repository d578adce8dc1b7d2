package gitmgr

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"townd/gitmgr/gittest"
	"townd/town"
)

// Z6: the town's ssh key serves clone, fetch, merge and agents' pushes from memory.
func TestSSHKeyIsUsedFromMemoryAlone(t *testing.T) {
	r := gittest.New(t, gittest.Options{Files: 3})
	s := r.ServeSSH()
	seen := filepath.Join(t.TempDir(), "seen")
	m := newManager(t, home(filepath.Join(openTemp(t), "rigs")), func(c *Config) {
		c.Protocols = []string{"ssh"}
		c.SSHKey, c.KnownHosts = s.Key, s.KnownHosts
		c.Git = slowGit(t, "{ echo \"$@\"; env; } >> "+seen)
	})
	throughTheProxy(t, m, r, s.URL, 0)
	tip := r.Commit("polecat/alice/1", "more", "more")
	res, err := m.Merge(t.Context(), MergeRequest{RigID: "rig", Branch: "polecat/alice/1"})
	if err != nil || res.Status != MergeDone || res.Head != tip {
		t.Errorf("merge over ssh = %+v, %v", res, err)
	}
	line := string(bytes.Split(s.Key, []byte("\n"))[2])
	if strings.Contains(read(t, seen), line) {
		t.Error("the key is in the arguments or the environment of git")
	}
	must(t, filepath.WalkDir(m.c.Home, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type()&fs.ModeSocket != 0 {
			t.Errorf("socket %s is left", path)
		}
		if err == nil && e.Type().IsRegular() {
			b, _ := os.ReadFile(path)
			if bytes.Contains(b, []byte(line)) {
				t.Errorf("the key is in %s", path)
			}
		}
		return nil
	}))
}

func TestSSHHostThatIsNotKnownGetsNothing(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	s := r.ServeSSH()
	other, _ := newSSHKey(t)
	known := strings.Fields(string(s.KnownHosts))[0] + " " + string(ssh.MarshalAuthorizedKey(other.PublicKey()))
	m := newManager(t, func(c *Config) {
		c.Protocols = []string{"ssh"}
		c.SSHKey, c.KnownHosts = s.Key, []byte(known)
	})
	_, err := m.Prepare(t.Context(), "rig", s.URL, true, nil)
	wantKind(t, err, ErrAuth, "Host key verification failed")

	// And where ssh itself were lenient, there is no signature.
	lenient := filepath.Join(t.TempDir(), "ssh")
	must(t, os.WriteFile(lenient, []byte("#!/bin/sh\nexec ssh -o StrictHostKeyChecking=no \"$@\"\n"), 0o755))
	m = newManager(t, func(c *Config) {
		c.Protocols, c.SSH = []string{"ssh"}, lenient
		c.SSHKey, c.KnownHosts = s.Key, []byte("elsewhere.example "+string(ssh.MarshalAuthorizedKey(other.PublicKey())))
	})
	_, err = m.Prepare(t.Context(), "rig", s.URL, true, nil)
	wantKind(t, err, ErrAuth, "Permission denied")
}

func newSSHKey(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	s, err := ssh.NewSignerFromKey(key)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	must(t, err)
	return s, pem.EncodeToMemory(block)
}

// login is what a client signs to log in to a session.
func login(session []byte, key ssh.PublicKey, change func(*loginData)) []byte {
	d := loginData{session, msgUserAuth, "git", "ssh-connection", "publickey", true, key.Type(), key.Marshal()}
	if change != nil {
		change(&d)
	}
	return ssh.Marshal(d)
}

type loginData struct {
	Session               []byte
	Type                  byte
	User, Service, Method string
	HasSig                bool
	Alg                   string
	Key                   []byte
}

type bindData struct {
	HostKey, Session, Signature []byte
	Forwarded                   bool
}

func bind(t *testing.T, host ssh.Signer, session []byte, change func(*bindData)) []byte {
	t.Helper()
	sig, err := host.Sign(rand.Reader, session)
	must(t, err)
	d := bindData{host.PublicKey().Marshal(), session, ssh.Marshal(sig), false}
	if change != nil {
		change(&d)
	}
	return ssh.Marshal(d)
}

// The agent of a command signs for nobody but that command, for no host but its
// remote's, and for nothing but to log in; it cannot be changed.
func TestSSHAgentSignsOnlyToLogInToTheRemote(t *testing.T) {
	key, text := newSSHKey(t)
	host, _ := newSSHKey(t)
	stranger, _ := newSSHKey(t)
	m := newManager(t, func(c *Config) {
		c.Protocols = []string{"ssh"}
		c.SSHKey, c.KnownHosts = text, []byte("git.example.com "+string(ssh.MarshalAuthorizedKey(host.PublicKey())))
	})
	dial := func(remote string, group int) agent.ExtendedAgent {
		t.Helper()
		d, err := m.openSSHDesk(command{url: remote})
		must(t, err)
		t.Cleanup(d.close)
		d.started <- group
		conn, err := net.Dial("unix", d.path())
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return agent.NewClient(conn)
	}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if keys, err := dial("git@git.example.com:o/r", cmd.Process.Pid).List(); err == nil {
		t.Errorf("a process that is not of the command is told %v", keys)
	}

	session, other := []byte("session-1"), []byte("session-2")
	sign := func(a agent.ExtendedAgent, data []byte) error {
		_, err := a.SignWithFlags(key.PublicKey(), data, 0)
		return err
	}
	bound := func(remote string, contents []byte) (agent.ExtendedAgent, error) {
		a := dial(remote, syscall.Getpgrp())
		_, err := a.Extension(sessionBind, contents)
		return a, err
	}
	a, err := bound("ssh://git@git.example.com/o/r", bind(t, host, session, nil))
	must(t, err)
	if keys, err := a.List(); err != nil || len(keys) != 1 || !bytes.Equal(keys[0].Blob, key.PublicKey().Marshal()) {
		t.Errorf("List() = %v, %v", keys, err)
	}
	must(t, sign(a, login(session, key.PublicKey(), nil)))
	for why, data := range map[string][]byte{
		"another session": login(other, key.PublicKey(), nil),
		"another key":     login(session, stranger.PublicKey(), nil),
		"another service": login(session, key.PublicKey(), func(d *loginData) { d.Service = "ssh-userauth" }),
		"another method":  login(session, key.PublicKey(), func(d *loginData) { d.Method = "hostbased" }),
		"another message": login(session, key.PublicKey(), func(d *loginData) { d.Type = 51 }),
		"a signed commit": append([]byte("SSHSIG\x00\x00\x00\x03git"), make([]byte, 64)...),
		"nothing":         nil,
	} {
		if sign(a, data) == nil {
			t.Errorf("signed: %s", why)
		}
	}
	for what, err := range map[string]error{
		"add": a.Add(agent.AddedKey{PrivateKey: ed25519.NewKeyFromSeed(make([]byte, 32))}), "remove": a.Remove(key.PublicKey()), "remove all": a.RemoveAll(),
		"lock": a.Lock([]byte("x")), "unlock": a.Unlock([]byte("x")),
		"bind again": second(a.Extension(sessionBind, bind(t, host, other, nil))), "query": second(a.Extension("query", nil)),
	} {
		if err == nil {
			t.Errorf("agent took %s", what)
		}
	}
	if sign(dial("git@git.example.com:o/r", syscall.Getpgrp()), login(session, key.PublicKey(), nil)) == nil {
		t.Error("signed without a session")
	}
	for why, c := range map[string]struct {
		remote   string
		contents []byte
	}{
		"a host of another name":     {"git@elsewhere.example.com:o/r", bind(t, host, session, nil)},
		"a host on another port":     {"ssh://git@git.example.com:2222/o/r", bind(t, host, session, nil)},
		"another host key":           {"git@git.example.com:o/r", bind(t, stranger, session, nil)},
		"a host key without a proof": {"git@git.example.com:o/r", bind(t, stranger, session, func(d *bindData) { d.HostKey = host.PublicKey().Marshal() })},
		"a forwarded agent":          {"git@git.example.com:o/r", bind(t, host, session, func(d *bindData) { d.Forwarded = true })},
		"no request":                 {"git@git.example.com:o/r", []byte("x")},
	} {
		if a, err := bound(c.remote, c.contents); err == nil || sign(a, login(session, key.PublicKey(), nil)) == nil {
			t.Errorf("signed for %s", why)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestSSHKeysAreCheckedAndNeverQuoted(t *testing.T) {
	_, one := newSSHKey(t)
	_, two := newSSHKey(t)
	known := []byte("h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ\n")
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("s3cret"))
	must(t, err)
	for name, c := range map[string]struct {
		key, known []byte
		wrong      string
	}{
		"two keys":        {append(one, two...), known, ""},
		"not PEM":         {[]byte("s3cret"), known, "not PEM"},
		"more than PEM":   {append(one, "s3cret"...), known, "not PEM"},
		"another PEM":     {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("s3cret")}), known, "no private key"},
		"a passphrase":    {pem.EncodeToMemory(locked), known, "passphrase"},
		"no hosts":        {one, nil, "known hosts"},
		"hosts unread":    {one, []byte("what"), "known hosts"},
		"hosts, no key":   {nil, known, "not PEM"},
		"neither of both": {nil, nil, ""},
	} {
		m, err := New(Config{Home: filepath.Join(t.TempDir(), "rigs"), SSHKey: c.key, KnownHosts: c.known})
		if c.wrong == "" {
			must(t, err)
			must(t, m.Close())
		} else if !errors.Is(err, town.ErrInvalid) || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSSHAgentRequests(f *testing.F) {
	_, raw, _ := ed25519.GenerateKey(rand.Reader)
	key, _ := ssh.NewSignerFromKey(raw)
	f.Add(login([]byte("s"), key.PublicKey(), nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if checkLogin([]byte("the session"), key.PublicKey().Marshal(), data) == nil && !bytes.Contains(data, []byte("the session")) {
			t.Errorf("%q is taken for the session's", data)
		}
		if s, err := boundSession(data, func(ssh.PublicKey) error { return nil }); err == nil && !bytes.Contains(data, s) {
			t.Errorf("session %q is not in the request", s)
		}
	})
}
