package gitmgr

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"townd/town"
)

// Credential is what a remote is shown. The zero value is nothing.
type Credential struct{ User, Secret string }

// CredentialFunc returns the credential for a rig's remote at host, which may have
// a port. It is asked every time git needs one, so what it returns may change. It
// must be quick or heed ctx, and put no secret into its errors, which may be of the
// kinds of a remote that failed, as ErrNetwork; others are taken for ErrAuth.
type CredentialFunc func(ctx context.Context, rigID, host string) (Credential, error)

// CredentialError is the error of a CredentialFunc as that of a call to host.
func CredentialError(host string, err error) error {
	if errors.Is(err, town.ErrGit) {
		return fmt.Errorf("credential for %s: %w", host, err)
	}
	return fmt.Errorf("credential for %s: %w: %w", host, err, ErrAuth)
}

// credentialHelper is git's way to ask us: a line of shell that passes its question
// to the socket that git inherited, and the answer back. The secret goes from our
// memory through a socket, which unlike a pipe nobody can open by /proc, and
// through built-ins of the shell: no argument, environment, file or URL holds it.
const credentialHelper = `!f() { { printf '%%s\n' "$1"; cat; echo; } >&%[1]d; while IFS= read -r l <&%[1]d && test -n "$l"; do printf '%%s\n' "$l"; done; }; f`

const maxCredentialLines = 32

// credentialDesk answers the questions of one git.
type credentialDesk struct {
	child *os.File // git's end; the parent closes it after the start
	conn  net.Conn
	done  chan struct{}
	err   error // of the CredentialFunc; read after close
	other bool  // the remote refused a credential, and there is another; read after close
}

// openDesk starts answering for c, whose descriptor of it will be fd. The caller
// closes it.
func (m *Manager) openDesk(ctx context.Context, c command) (*credentialDesk, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket for credentials: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "credentials"), os.NewFile(uintptr(fds[1]), "credentials")
	conn, err := net.FileConn(ours)
	_ = ours.Close() // conn is a copy
	if err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	d := &credentialDesk{child: theirs, conn: conn, done: make(chan struct{})}
	go d.answer(ctx, m, c) // ends with close
	return d, nil
}

func (d *credentialDesk) env(c command, fd int) []string {
	all := append(slices.Concat(settings, c.settings), [2]string{"credential.helper", fmt.Sprintf(credentialHelper, fd)})
	return settingsEnv(all)
}

// close ends the answering and returns why there was no credential, nil if there was.
func (d *credentialDesk) close() error {
	_, _ = d.child.Close(), d.conn.Close() // nothing is lost with them
	<-d.done
	return d.err
}

func (d *credentialDesk) answer(ctx context.Context, m *Manager, c command) {
	defer close(d.done)
	in := bufio.NewScanner(d.conn)
	var question []string
	for in.Scan() {
		if line := in.Text(); line != "" {
			if len(question) < maxCredentialLines {
				question = append(question, line)
			}
			continue
		}
		if len(question) == 0 {
			continue // some versions of git end their question with an empty line too
		}
		reply := "\n"
		switch question[0] {
		case "get":
			cred, err := credentialFor(ctx, m.c.Credential, c, question[1:])
			d.err = err
			if cred.Secret != "" {
				reply = "username=" + cred.User + "\npassword=" + cred.Secret + "\n\n"
			}
		case "erase": // it was refused
			if attrs, host := askedFor(c, question[1:]); host != "" && attrs["password"] != "" {
				d.other = m.refused(host, Credential{attrs["username"], attrs["password"]})
			}
		}
		question = question[:0]
		if _, err := d.conn.Write([]byte(reply)); err != nil {
			return // git is gone
		}
	}
}

// refused tells that a remote has refused c, and reports whether there is another.
func (m *Manager) refused(host string, c Credential) bool {
	return m.c.Refused != nil && c.Secret != "" && m.c.Refused(host, c)
}

// askedFor returns what a question of git holds, and the host of c's remote if it is
// about that and no other, that the remote may have sent git to.
func askedFor(c command, question []string) (attrs map[string]string, host string) {
	attrs = map[string]string{}
	for _, line := range question {
		key, value, _ := strings.Cut(line, "=")
		attrs[key] = value
	}
	u, err := url.Parse(c.url)
	if err != nil || attrs["protocol"] != u.Scheme || attrs["host"] != u.Host {
		return attrs, ""
	}
	return attrs, u.Host
}

// credentialFor asks for the credential of c's remote.
func credentialFor(ctx context.Context, ask CredentialFunc, c command, question []string) (Credential, error) {
	if u, err := url.Parse(c.url); err != nil || u.Host == "" {
		return Credential{}, nil
	}
	_, host := askedFor(c, question)
	if host == "" {
		return Credential{}, errors.New("the remote sent git to another host, which gets no credential")
	}
	cred, err := ask(ctx, c.rigID, host)
	if err != nil {
		return Credential{}, CredentialError(host, err)
	}
	return checkCredential(cred)
}

func checkCredential(c Credential) (Credential, error) {
	if strings.ContainsAny(c.User+c.Secret, "\n\r\x00") {
		return Credential{}, errors.New("credential: holds a line break")
	}
	return c, nil
}
