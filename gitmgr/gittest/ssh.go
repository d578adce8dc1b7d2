package gittest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"
)

// SSH is a real sshd that serves a Remote to one key.
type SSH struct {
	URL     string // ssh://
	Command string // ssh with its key and the host's, as GIT_SSH_COMMAND takes it

	Key, KnownHosts []byte // what is in the files that Command names
}

// ServeSSH serves r by OpenSSH until the test ends. The test is skipped where there
// is no sshd, or where this user has no shell to log in to.
func (r *Remote) ServeSSH() SSH {
	r.t.Helper()
	sshd := "/usr/sbin/sshd"
	if _, err := os.Stat(sshd); err != nil {
		r.t.Skip("no sshd: install openssh-server")
	}
	me, err := user.Current()
	if err != nil {
		r.t.Skip("this user has no name: ", err)
	}
	dir := r.t.TempDir()
	port := freePort(r.t)
	for _, key := range []string{"host", "client"} {
		cmd := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key))
		if out, err := cmd.CombinedOutput(); err != nil {
			r.t.Fatalf("ssh-keygen: %v %s", err, out)
		}
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			r.t.Fatal(err)
		}
		return b
	}
	known := fmt.Sprintf("[127.0.0.1]:%d %s", port, read("host.pub"))
	conf := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %d\nHostKey %s/host\nAuthorizedKeysFile %s/client.pub\nStrictModes no\nUsePAM no\n"+
		"PidFile none\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\nPasswordAuthentication no\nUseDNS no\nMaxStartups 100\n", port, dir, dir)
	client := fmt.Sprintf("Host *\nIdentityFile %s/client\nIdentitiesOnly yes\nUserKnownHostsFile %s/known\nGlobalKnownHostsFile /dev/null\n", dir, dir)
	for name, text := range map[string]string{
		"sshd.conf": conf, "ssh.conf": client, "known": known,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		_ = os.MkdirAll("/run/sshd", 0o755) // sshd says so when it cannot do without
	}
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "sshd.conf"))
	cmd.Stderr = testWriter{r.t, "sshd"}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	waitFor(r.t, port)
	try := exec.Command("ssh", "-F", filepath.Join(dir, "ssh.conf"), "-o", "BatchMode=yes", "-p", fmt.Sprint(port), me.Username+"@127.0.0.1", "true")
	if out, err := try.CombinedOutput(); err != nil {
		r.t.Skipf("user %s may not log in here: %s", me.Username, out)
	}
	return SSH{
		URL:     fmt.Sprintf("ssh://%s@127.0.0.1:%d%s", me.Username, port, r.Path),
		Command: "ssh -F " + filepath.Join(dir, "ssh.conf"),
		Key:     read("client"), KnownHosts: []byte(known),
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, _ := l.Addr().(*net.TCPAddr)
	return addr.Port
}

// waitFor waits until somebody listens.
func waitFor(t testing.TB, port int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("sshd does not listen: ", err)
		}
	}
}
