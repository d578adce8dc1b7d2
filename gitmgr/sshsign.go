package gitmgr

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// signer is one connection of ssh to its agent: it lists the town's keys and signs
// with them only to log in to the session that it was told of, on the host that the
// command's remote is on. An agent does not see whom a signature is for, so
// ssh has to bind the connection to the session first (session-bind@openssh.com,
// OpenSSH 8.9), with proof of the host's key.
type signer struct {
	desk    *sshDesk
	session []byte // that a known host has shown, nil for none
}

const (
	sessionBind = "session-bind@openssh.com"
	msgUserAuth = 50 // SSH_MSG_USERAUTH_REQUEST, RFC 4252
)

var errSignsOnly = errors.New("this agent signs only")

// List implements agent.Agent.
func (s *signer) List() ([]*agent.Key, error) { return s.desk.keys.ring.List() }

// Sign implements agent.Agent.
func (s *signer) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return s.SignWithFlags(key, data, 0)
}

// SignWithFlags implements agent.ExtendedAgent.
func (s *signer) SignWithFlags(key ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	if err := checkLogin(s.session, key.Marshal(), data); err != nil {
		s.desk.log(err.Error())
		return nil, err
	}
	return s.desk.keys.ring.SignWithFlags(key, data, flags)
}

// checkLogin returns why data is not what a client signs to log in to a session.
func checkLogin(session, key, data []byte) error {
	var m struct {
		Session  []byte
		Type     byte
		User     string
		Service  string
		Method   string
		HasSig   bool
		Alg      string
		Key      []byte
		HostKeys []byte `ssh:"rest"` // of publickey-hostbound-v00@openssh.com
	}
	if err := ssh.Unmarshal(data, &m); err != nil || m.Type != msgUserAuth || m.Service != "ssh-connection" || !m.HasSig {
		return errors.New("it is not for logging in")
	}
	switch {
	case m.Method != "publickey" && m.Method != "publickey-hostbound-v00@openssh.com":
		return errors.New("it is not for logging in by a key")
	case session == nil:
		return errors.New("ssh has not told the session: OpenSSH 8.9 or newer does")
	case !bytes.Equal(m.Session, session):
		return errors.New("it is for another session")
	case !bytes.Equal(m.Key, key):
		return errors.New("it names another key")
	}
	return nil
}

// Extension implements agent.ExtendedAgent.
func (s *signer) Extension(kind string, contents []byte) ([]byte, error) {
	if kind != sessionBind {
		return nil, agent.ErrExtensionUnsupported
	}
	session, err := boundSession(contents, func(key ssh.PublicKey) error {
		return s.desk.keys.known(s.desk.host, anyAddr{}, key)
	})
	if err == nil && s.session != nil {
		err = errors.New("the connection is bound already")
	}
	if err != nil {
		s.desk.log(err.Error())
		return nil, err
	}
	s.session = session
	return nil, nil
}

// boundSession returns the session that a request to bind tells of, whose host must be
// known and have signed it.
func boundSession(contents []byte, known func(ssh.PublicKey) error) ([]byte, error) {
	var m struct {
		HostKey   []byte
		Session   []byte
		Signature []byte
		Forwarded bool
	}
	if err := ssh.Unmarshal(contents, &m); err != nil {
		return nil, errors.New("request to bind a session: cannot be read")
	}
	key, err := ssh.ParsePublicKey(m.HostKey)
	if err != nil {
		return nil, errors.New("request to bind a session: the host's key cannot be read")
	}
	var signature ssh.Signature
	if err := ssh.Unmarshal(m.Signature, &signature); err != nil || key.Verify(m.Session, &signature) != nil {
		return nil, errors.New("request to bind a session: not signed by the host")
	}
	if m.Forwarded {
		return nil, errors.New("the agent is forwarded to the host")
	}
	if err := known(key); err != nil {
		return nil, fmt.Errorf("the host's key %s is not the known one: %w", ssh.FingerprintSHA256(key), err)
	}
	return m.Session, nil
}

// anyAddr stands for the address of a host that is known by its name.
type anyAddr struct{}

// Network implements net.Addr.
func (anyAddr) Network() string { return "tcp" }

// String implements net.Addr.
func (anyAddr) String() string { return net.JoinHostPort("0.0.0.0", "0") }

// Add implements agent.Agent: it refuses, as do the others below.
func (s *signer) Add(agent.AddedKey) error { return errSignsOnly }

// Remove implements agent.Agent.
func (s *signer) Remove(ssh.PublicKey) error { return errSignsOnly }

// RemoveAll implements agent.Agent.
func (s *signer) RemoveAll() error { return errSignsOnly }

// Lock implements agent.Agent.
func (s *signer) Lock([]byte) error { return errSignsOnly }

// Unlock implements agent.Agent.
func (s *signer) Unlock([]byte) error { return errSignsOnly }

// Signers implements agent.Agent.
func (s *signer) Signers() ([]ssh.Signer, error) { return nil, errSignsOnly }
