package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"townd/gitmgr/gittest"
	"townd/town"
)

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"140.82.121.3": true, "2606:50c0:8000::153": true, "::ffff:140.82.121.3": true,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "0.0.0.0": false, "::": false, "10.1.2.3": false, "172.16.0.1": false,
		"192.168.1.1": false, "169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fd00::1": false, "100.64.0.1": false,
		"224.0.0.1": false, "ff02::1": false, "255.255.255.255": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false, "192.0.0.8": false, "0.1.2.3": false,
	} {
		if got := isPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("isPublic(%s) = %v", text, got)
		}
	}
}

// guarded returns a Manager for which 127.0.0.1 is the public network, in which
// git.example is, and the rest of 127.0.0.0/8 is not.
func guarded(t *testing.T, change ...func(*Config)) *Manager {
	t.Helper()
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "")
	}
	m := newManager(t, append(change, func(c *Config) { c.PublicOnly, c.Protocols = true, []string{"http", "ssh", "git"} })...)
	m.guard.public = func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }
	m.guard.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "git.example":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		case "inner.example", "localhost":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}, nil
		}
		return nil, errors.New("no such host")
	}
	return m
}

// at returns a URL with another host.
func at(t *testing.T, raw, host string) string {
	t.Helper()
	u, err := url.Parse(raw)
	must(t, err)
	u.Host = net.JoinHostPort(host, u.Port())
	return u.String()
}

func TestGuardRefusesAddressesThatAreNotPublic(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("", "")
	m := guarded(t)
	for _, c := range []struct {
		url  string
		kind error
		says string
	}{
		{at(t, h.URL, "127.0.0.2"), town.ErrInvalid, "127.0.0.2 is not public"},
		{at(t, h.URL, "inner.example"), town.ErrInvalid, "not public"},
		{at(t, h.URL, "localhost"), town.ErrInvalid, "not public"},
		{at(t, h.URL, "::1"), town.ErrInvalid, "not public"},
		{at(t, h.URL, "::ffff:127.0.0.2"), town.ErrInvalid, "not public"},
		{at(t, h.URL, "2130706433"), ErrNetwork, "no address"},
		{at(t, h.URL, "127.1"), ErrNetwork, "no address"},
		{at(t, h.URL, "nowhere.example"), ErrNetwork, "no address"},
		{"ssh://git@127.0.0.2/r.git", town.ErrInvalid, "not public"},
		{"git@inner.example:r.git", town.ErrInvalid, "not public"},
		{"git@[::1]:r.git", town.ErrInvalid, "not public"},
		{"git://git.example/r.git", town.ErrInvalid, "cannot be guarded"},
	} {
		_, err := m.Worktree(t.Context(), Spec{RigID: "rig", URL: c.url, Branch: "a"})
		wantKind(t, err, c.kind, c.says)
		if res, err := m.Merge(t.Context(), MergeRequest{RigID: "rig", URL: c.url, Branch: "a", Target: "main"}); err == nil && res.Status != MergeNetwork {
			t.Errorf("Merge from %s was done: %+v", c.url, res)
		}
	}
	if n := h.Requests(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestGuardedNameIsCalledAtTheAddressThatWasLookedAt(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("x-access-token", canary)
	m := guarded(t, func(c *Config) {
		c.Credential = func(context.Context, string, string) (Credential, error) {
			return Credential{User: "x-access-token", Secret: canary}, nil
		}
	})
	var bound atomic.Bool // the name was bound anew
	before := m.guard.lookup
	m.guard.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		if bound.Load() {
			return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
		}
		return before(ctx, host)
	}
	remote := at(t, h.URL, "git.example") // no resolver of this machine knows it
	w := mustWorktree(t, m, Spec{RigID: "rig", URL: remote, Branch: "polecat/alice/1"})
	g := newGatehouse(t, m, remote)
	write(t, filepath.Join(w.Dir, "f"), "f")
	git(t, w.Dir, "add", ".")
	git(t, w.Dir, "commit", "--quiet", "-m", "f")
	if out, err := g.as("cap-alice", 0, 0, w.Dir, "push", "--quiet", "origin", "polecat/alice/1"); err != nil {
		t.Fatal(out)
	}
	if res, err := m.Merge(t.Context(), MergeRequest{RigID: "rig", Branch: "polecat/alice/1"}); err != nil || res.Status != MergeDone {
		t.Errorf("Merge = %+v, %v", res, err)
	}
	bound.Store(true)
	asked := h.Requests()
	out, err := g.as("cap-alice", 0, 0, w.Dir, "ls-remote", "origin")
	if err == nil || !strings.Contains(out, "not public") && !strings.Contains(out, "403") {
		t.Errorf("ls-remote says %q, %v", out, err)
	}
	_, err = m.Prepare(t.Context(), "rig", remote, true, nil)
	wantKind(t, err, town.ErrInvalid, "not public")
	if n := h.Requests() - asked; n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestGuardLooksWhenItConnects(t *testing.T) {
	var reached atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer s.Close()
	m := guarded(t)
	tr := m.guard.transport()
	defer tr.CloseIdleConnections()
	get := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at(t, s.URL, "git.example"), nil)
		must(t, err)
		res, err := tr.RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	must(t, get())
	tr.CloseIdleConnections()
	calls := 0
	m.guard.public = func(netip.Addr) bool { calls++; return calls == 1 } // good when looked up, not when connected
	if err := get(); err == nil || reached.Load() != 1 || calls != 2 {
		t.Errorf("the second request: %v, %d arrived, %d looks", err, reached.Load(), calls)
	}
}

func TestGuardedRedirectsStayOnTheirHost(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("", "")
	var other atomic.Int64
	inner := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		other.Add(1)
		h.Handler().ServeHTTP(w, req)
	}))
	l, err := net.Listen("tcp", "127.0.0.2:0")
	must(t, err)
	_ = inner.Listener.Close()
	inner.Listener = l
	inner.Start()
	defer inner.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch rest, ok := strings.CutPrefix(req.URL.Path, "/old"); {
		case ok:
			http.Redirect(w, req, "/"+filepath.Base(r.Path)+rest+"?"+req.URL.RawQuery, http.StatusMovedPermanently)
		case strings.HasPrefix(req.URL.Path, "/away"):
			http.Redirect(w, req, inner.URL+"/"+filepath.Base(r.Path)+strings.TrimPrefix(req.URL.Path, "/away")+"?"+req.URL.RawQuery, http.StatusFound)
		default:
			h.Handler().ServeHTTP(w, req)
		}
	}))
	defer front.Close()
	m := guarded(t)
	if _, err := m.Worktree(t.Context(), Spec{RigID: "old", URL: front.URL + "/old", Branch: "a"}); err != nil {
		t.Errorf("a repository that was renamed on its host: %v", err)
	}
	if _, err := m.Prepare(t.Context(), "old", front.URL+"/old", true, nil); err != nil {
		t.Errorf("fetch of it: %v", err)
	}
	_, err = m.Worktree(t.Context(), Spec{RigID: "away", URL: front.URL + "/away", Branch: "a"})
	wantKind(t, err, town.ErrGit, "302")
	if other.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

func TestGuardPinsSSH(t *testing.T) {
	dir := t.TempDir()
	fake := filepath.Join(dir, "ssh")
	write(t, fake, fmt.Sprintf("#!/bin/sh\necho \"$@\" >> %s/said\nexit 1\n", dir))
	must(t, os.Chmod(fake, 0o755))
	m := guarded(t, func(c *Config) { c.SSH = fake })
	m.pause = 0
	_, err := m.Worktree(t.Context(), Spec{RigID: "rig", URL: "ssh://git@git.example:2222/r.git", Branch: "a"})
	if err == nil {
		t.Fatal("cloned from nowhere")
	}
	said := read(t, filepath.Join(dir, "said"))
	for _, want := range []string{"HostName=127.0.0.1", "HostKeyAlias=[git.example]:2222", "BatchMode=yes"} {
		if !strings.Contains(said, want) {
			t.Errorf("ssh was called with %s, not with %s", said, want)
		}
	}
}

func TestAllowedHostMayBeAnywhere(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("", "")
	m := guarded(t, func(c *Config) { c.AllowHosts = []string{"127.0.0.1"} })
	m.guard.public = func(netip.Addr) bool { return false }
	if _, err := m.Worktree(t.Context(), Spec{RigID: "rig", URL: h.URL, Branch: "a"}); err != nil {
		t.Error(err)
	}
	if slices.Contains(m.guard.allowed, "127.0.0.2") {
		t.Error("more is allowed than was said")
	}
}
