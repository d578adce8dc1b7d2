package gitmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"townd/gitmgr/gittest"
)

// canary is a secret that must be found nowhere. It is put together here so that no
// scanner of this repository takes it for a lost one.
const canary = "gh" + "p_CanaryCanaryCanaryCanaryCanary012345"

// wallet is a CredentialFunc whose secret can change.
type wallet struct {
	secret atomic.Value
	asked  atomic.Int64
}

func newWallet(secret string) *wallet {
	w := &wallet{}
	w.secret.Store(secret)
	return w
}

func (w *wallet) ask(_ context.Context, rigID, host string) (Credential, error) {
	w.asked.Add(1)
	if rigID != "rig" || !strings.HasPrefix(host, "127.0.0.1:") {
		return Credential{}, fmt.Errorf("asked for rig %s at %s", rigID, host)
	}
	return Credential{User: "x-access-token", Secret: w.secret.Load().(string)}, nil
}

func TestCredentialComesFromMemoryAndMayChange(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("x-access-token", canary)
	var logs bytes.Buffer
	var logMu sync.Mutex
	w := newWallet(canary)
	seen := filepath.Join(t.TempDir(), "seen")
	m := newManager(t, func(c *Config) {
		c.Credential = w.ask
		c.Log = slog.New(slog.NewTextHandler(&lockedWriter{mu: &logMu, w: &logs}, nil))
		c.Git = slowGit(t, "{ echo \"$@\"; env; } >> "+seen) // what every git is given
	})
	wt, err := m.Worktree(t.Context(), httpSpec(h, "a"))
	must(t, err)
	write(t, filepath.Join(wt.Dir, "f"), "1")
	_, err = m.Checkpoint(t.Context(), "rig", "a", "agent", Owner{})
	must(t, err)
	if pushed, err := m.PushCheckpoint(t.Context(), "rig", "a", "agent"); err != nil || !pushed {
		t.Errorf("pushed %v, %v", pushed, err)
	}
	git(t, wt.Dir, "add", "f")
	git(t, wt.Dir, "commit", "--quiet", "-m", "f")
	mustMerge(t, m, MergeRequest{Branch: "a"}, MergeDone)

	w.secret.Store("expired")
	_, err = m.Prepare(t.Context(), "rig", h.URL, true, nil)
	wantKind(t, err, ErrAuth, "Authentication failed")
	if strings.Contains(err.Error(), "expired@") || strings.Contains(err.Error(), "x-access-token") {
		t.Errorf("error is %v", err)
	}
	w.secret.Store("")
	_, err = m.Prepare(t.Context(), "rig", h.URL, true, nil)
	wantKind(t, err, ErrAuth, "could not read Username")
	w.secret.Store("line\nbreak")
	_, err = m.Prepare(t.Context(), "rig", h.URL, true, nil)
	wantKind(t, err, ErrAuth, "holds a line break")
	w.secret.Store(canary)
	if _, err = m.Prepare(t.Context(), "rig", h.URL, true, nil); err != nil {
		t.Errorf("with the new one: %v", err)
	}
	h.Set(gittest.Forbidden)
	_, err = m.Prepare(t.Context(), "rig", h.URL, true, nil)
	wantKind(t, err, ErrDenied, "403")

	for where, text := range map[string]string{"environment or arguments of git": read(t, seen), "log": logs.String()} {
		if strings.Contains(text, canary) {
			t.Errorf("the credential is in the %s", where)
		}
	}
	must(t, filepath.WalkDir(m.c.Home, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			b, _ := os.ReadFile(path)
			if bytes.Contains(b, []byte(canary)) {
				t.Errorf("the credential is in %s", path)
			}
		}
		return nil
	}))
	sound(t, m)
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// TestCredentialIsInNoProcessWhileGitRuns looks at every process there is while git
// waits for the remote with its credential.
func TestCredentialIsInNoProcessWhileGitRuns(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("x-access-token", canary)
	h.Set(gittest.Stall)
	w := newWallet(canary)
	m := newManager(t, func(c *Config) { c.Credential = w.ask })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = m.Worktree(ctx, httpSpec(h, "a"))
	}()
	<-h.Reached
	n := 0
	for _, pid := range pids() {
		for _, file := range []string{"cmdline", "environ"} {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if n += len(b); bytes.Contains(b, []byte(canary)) {
				t.Errorf("the credential is in /proc/%d/%s", pid, file)
			}
		}
	}
	if len(gitsBelow(m.c.Home)) == 0 || n == 0 || w.asked.Load() == 0 {
		t.Error("no git was running: nothing is tested")
	}
	cancel()
	<-done
}

func TestRemoteThatSendsGitElsewhereGetsNoCredential(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	target := r.ServeHTTP("x-access-token", canary)
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, strings.TrimSuffix(target.URL, "/remote.git")+req.URL.String(), http.StatusMovedPermanently)
	}))
	t.Cleanup(away.Close)
	w := newWallet(canary)
	m := newManager(t, func(c *Config) { c.Credential = w.ask })
	_, err := m.Prepare(t.Context(), "rig", away.URL+"/remote.git", true, nil)
	wantKind(t, err, ErrAuth, "another host")
	if w.asked.Load() != 0 {
		t.Error("the credential was asked for")
	}
}

func TestCredentialThatCannotBeHadIsToldWhy(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("u", "p")
	m := newManager(t, func(c *Config) {
		c.Credential = func(context.Context, string, string) (Credential, error) {
			return Credential{}, errors.New("the installation was suspended")
		}
	})
	_, err := m.Prepare(t.Context(), "rig", h.URL, true, nil)
	wantKind(t, err, ErrAuth, "the installation was suspended")
}

// X21: a credential that a remote refuses before its time is given up once, and what
// was asked for is done with the next one, by our git and by the proxy alike.
func TestRefusedCredentialIsReplacedOnce(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("x-access-token", canary)
	w := newWallet("revoked")
	var refused []string
	next := canary
	m := newManager(t, func(c *Config) {
		c.Credential = w.ask
		c.Refused = func(host string, c Credential) bool {
			refused = append(refused, c.Secret)
			w.secret.Store(next)
			return strings.HasPrefix(host, "127.0.0.1:")
		}
	})
	if _, err := m.Prepare(t.Context(), "rig", h.URL, true, nil); err != nil {
		t.Errorf("with a revoked credential, and a good one next: %v", err)
	}
	g := newGatehouse(t, m, h.URL)
	w.secret.Store("revoked")
	if out, err := g.as("cap-alice", 0, 0, t.TempDir(), "ls-remote", h.URL, "main"); err != nil || !strings.HasPrefix(out, r.Git("rev-parse", "main")) {
		t.Errorf("through the proxy: %v\n%s", err, out)
	}
	next = "bad too"
	w.secret.Store("bad")
	_, err := m.Prepare(t.Context(), "rig", h.URL, true, nil)
	wantKind(t, err, ErrAuth, "Authentication failed")
	if got := strings.Join(refused, ", "); got != "revoked, revoked, bad, bad too" {
		t.Errorf("told of %s", got)
	}
}

func TestWhyThereIsNoCredentialIsTheKindOfTheFailure(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("u", "p")
	m := newManager(t, func(c *Config) {
		c.Credential = func(context.Context, string, string) (Credential, error) {
			return Credential{}, fmt.Errorf("the app's token: %w", ErrNetwork)
		}
	})
	_, err := m.Prepare(t.Context(), "rig", h.URL, true, nil)
	if wantKind(t, err, ErrNetwork, "the app's token"); errors.Is(err, ErrAuth) {
		t.Errorf("taken for a wrong credential: %v", err)
	}
}
