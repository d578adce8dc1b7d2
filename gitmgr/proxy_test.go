package gitmgr

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"townd/gitmgr/gittest"
	"townd/town"
)

// gatehouse is a proxy for two agents of one rig.
type gatehouse struct {
	*httptest.Server
	m      *Manager
	remote string
}

var capabilities = map[string]Caller{
	"cap-alice": {RigID: "rig", Branch: "polecat/alice/1"},
	"cap-bob":   {RigID: "rig", Branch: "polecat/bob/2"},
	"cap-eve":   {RigID: "other", Branch: "polecat/eve/3"},
}

func newGatehouse(t *testing.T, m *Manager, remote string) *gatehouse {
	t.Helper()
	p := NewProxy(m, func(_ context.Context, capability string) (Caller, error) {
		c, ok := capabilities[capability]
		if !ok {
			return Caller{}, fmt.Errorf("of nobody: %w", town.ErrUnauthorized)
		}
		return c, nil
	})
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	return &gatehouse{Server: s, m: m, remote: remote}
}

// agentEnv is what an agent's commands get.
func (g *gatehouse) agentEnv(capability string) []string {
	return append(gittest.Env(), ConfigEnv(AgentConfig(g.URL, "rig", g.remote, capability))...)
}

// as runs git in dir as an agent.
func (g *gatehouse) as(capability string, uid, gid uint32, dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, g.agentEnv(capability)
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestAgentsReachTheirRemoteThroughTheProxy(t *testing.T) {
	for _, c := range []struct {
		kind string
		uid  uint32
	}{{"file", 0}, {"file", uidA}, {"http", 0}, {"http", uidA}, {"ssh", 0}} {
		t.Run(fmt.Sprintf("%s/uid=%d", c.kind, c.uid), func(t *testing.T) {
			if c.uid != 0 && os.Geteuid() != 0 {
				t.Skip("isolation by user needs root")
			}
			r := gittest.New(t, gittest.Options{Files: 5})
			url, ssh := r.URL(), "ssh"
			switch c.kind {
			case "http":
				url = r.ServeHTTP("x-access-token", canary).URL
			case "ssh":
				s := r.ServeSSH()
				url, ssh = s.URL, s.Command
			}
			m := newManager(t, home(filepath.Join(openTemp(t), "rigs")), func(cfg *Config) {
				cfg.Protocols = []string{"file", "http", "ssh"}
				cfg.SSH, cfg.Credential = ssh, newWallet(canary).ask
				if c.uid != 0 {
					cfg.GIDBase = gidBase
				}
			})
			throughTheProxy(t, m, r, url, c.uid)
		})
	}
}

func throughTheProxy(t *testing.T, m *Manager, r *gittest.Remote, url string, uid uint32) {
	s := ownedSpec(r, "polecat/alice/1", uid)
	s.URL = url
	w := mustWorktree(t, m, s)
	g := newGatehouse(t, m, url)
	git := func(args ...string) string {
		t.Helper()
		out, err := g.as("cap-alice", uid, w.GID, w.Dir, args...)
		if err != nil {
			t.Errorf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	refused := func(says string, args ...string) {
		t.Helper()
		before := r.Git("for-each-ref")
		out, err := g.as("cap-alice", uid, w.GID, w.Dir, args...)
		if err == nil || !strings.Contains(out, says) || r.Git("for-each-ref") != before {
			t.Errorf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("git %s:\n%s", strings.Join(args, " "), out)
	}

	tip := r.Commit("main", "new", "1")
	git("fetch", "--quiet", "origin")
	if got := git("rev-parse", "origin/main"); got != tip {
		t.Errorf("origin/main is %s", got)
	}
	if got := git("ls-remote", "origin", "main"); got != tip+"\trefs/heads/main" {
		t.Errorf("ls-remote says %s", got)
	}
	git("merge", "--quiet", "origin/main")
	big := filepath.Join(w.Dir, "big") // more than http.postBuffer, so that git sends it in chunks
	must(t, os.WriteFile(big, noise(3<<20), 0o644))
	must(t, os.Lchown(big, int(max(uid, uint32(os.Geteuid()))), -1))
	git("add", "big")
	git("commit", "--quiet", "-m", "one")
	if out := git("push", "--quiet", "origin", "HEAD"); out != "" {
		t.Errorf("git push says %s", out)
	}
	if r.Git("rev-parse", "polecat/alice/1") != git("rev-parse", "HEAD") {
		t.Error("the push did not arrive")
	}
	if git("rev-parse", "origin/polecat/alice/1") != git("rev-parse", "HEAD") {
		t.Error("what the remote has is not known here")
	}
	git("commit", "--quiet", "--amend", "-m", "rewritten")
	git("push", "--quiet", "--force", "origin", "HEAD")
	if r.Git("log", "-1", "--format=%s", "polecat/alice/1") != "rewritten" {
		t.Error("the rewritten branch did not arrive")
	}
	r.Commit("polecat/bob/2", "b", "1")
	refused("(you may push your own branch only, polecat/alice/1)", "push", "origin", "HEAD:main")
	if strings.HasPrefix(url, "ssh") {
		return // its connections are slow, and the rest is decided before them
	}
	refused("your own branch only", "push", "--force", "origin", "HEAD:polecat/bob/2")
	refused("your own branch only", "push", "origin", "HEAD:refs/tags/v1")
	refused("your own branch only", "push", "origin", "HEAD:refs/town/checkpoints/bob")
	refused("your own branch only", "push", "--mirror", "origin")
	refused("(you may not delete your branch)", "push", "origin", ":polecat/alice/1")
	git("commit", "--quiet", "--allow-empty", "-m", "two")
	refused("not pushed because of the others", "push", "origin", "HEAD", "HEAD:refs/heads/other")
	refused("could not read Username", "-c", "http."+g.URL+"/.extraHeader=", "-c", "http."+g.URL+"/.extraHeader=Authorization: Bearer nobody", "fetch")
	refused("not found", "-c", "http."+g.URL+"/.extraHeader=", "-c", "http."+g.URL+"/.extraHeader=Authorization: Bearer cap-eve", "fetch")
	if out, err := g.as("cap-alice", uid, w.GID, w.Dir, "credential", "fill"); err == nil || strings.Contains(out, canary) {
		t.Errorf("credential fill: %s %v", out, err)
	}

	// Somebody without the rig's objects clones through it too.
	other := filepath.Join(openTemp(t), "clone")
	if out, err := g.as("cap-bob", 0, 0, "/", "clone", "--quiet", url, other); err != nil {
		t.Errorf("clone: %s", out)
	}
	if out, err := g.as("cap-bob", 0, 0, other, "-c", "push.default=current", "push", "--quiet", "origin", "origin/polecat/alice/1:refs/heads/polecat/bob/2", "--force"); err != nil {
		t.Errorf("push from a clone: %s", out)
	}
	if trace, _ := g.as("cap-alice", uid, w.GID, w.Dir, "-c", "trace2.normalTarget=2", "fetch", "-v"); strings.Contains(trace, canary) {
		t.Error("the agent sees the credential")
	}
	sound(t, m)
}

// noise is text that does not compress.
func noise(n int) []byte {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestAgentIsToldWhatItsRemoteFailedAt(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("x-access-token", canary)
	w := newWallet(canary)
	m := newManager(t, func(c *Config) { c.Credential = w.ask })
	s := httpSpec(h, "polecat/alice/1")
	wt, err := m.Worktree(t.Context(), s)
	must(t, err)
	g := newGatehouse(t, m, h.URL)
	fetch := func() string {
		t.Helper()
		r.Commit("main", "moves", fmt.Sprint(time.Now()))
		out, err := g.as("cap-alice", 0, 0, wt.Dir, "fetch")
		if err == nil {
			t.Errorf("it worked: %s", out)
		}
		if strings.Contains(out, canary) || strings.Contains(out, "Username") {
			t.Errorf("git says %s", out)
		}
		return out
	}
	for fault, says := range map[gittest.Fault]string{
		gittest.Unauthorized: "missing, wrong or expired", gittest.Forbidden: "has no right", gittest.NotFound: "no such repository",
		gittest.Broken: "not well", gittest.Busy: "not well",
	} {
		h.Set(fault)
		if out := fetch(); !strings.Contains(out, says) {
			t.Errorf("fault %d: %s, want %q", fault, out, says)
		}
	}
	h.Set(gittest.Serve)
	w.secret.Store("expired")
	if out := fetch(); !strings.Contains(out, "missing, wrong or expired") {
		t.Errorf("expired: %s", out)
	}
	w.secret.Store(canary)
	if out, err := g.as("cap-alice", 0, 0, wt.Dir, "fetch"); err != nil {
		t.Errorf("with the new one: %s", out)
	}
	for f, says := range map[gittest.Fault]string{
		gittest.Swallow: "not reached", gittest.Forbidden: "has no right", gittest.Unauthorized: "missing, wrong or expired", gittest.Broken: "not well",
	} {
		git(t, wt.Dir, "commit", "--quiet", "--allow-empty", "-m", "x")
		h.SetPush(f)
		if out, err := g.as("cap-alice", 0, 0, wt.Dir, "push", "origin", "HEAD"); err == nil || !strings.Contains(out, says) {
			t.Errorf("push with fault %d: %s, want %q", f, out, says)
		}
	}
	h.SetPush(gittest.Serve)
	if out, err := g.as("cap-alice", 0, 0, wt.Dir, "push", "origin", "HEAD"); err != nil {
		t.Errorf("push: %s", out)
	}
}

func TestProxyFollowsNoRemoteToAnotherHost(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("", "")
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" || req.UserAgent() == userAgent { // git itself follows, with nothing
			t.Errorf("%s came with the headers %v", req.URL, req.Header)
		}
		http.NotFound(w, req)
	}))
	t.Cleanup(away.Close)
	var redirect atomic.Value
	redirect.Store("")
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if to := redirect.Load().(string); to != "" && strings.HasPrefix(req.URL.Path, "/old.git") {
			http.Redirect(w, req, to+strings.TrimPrefix(req.URL.String(), "/old.git"), http.StatusMovedPermanently)
			return
		}
		req.URL.Path = strings.Replace(req.URL.Path, "/old.git", "/remote.git", 1)
		req.URL.Path = strings.Replace(req.URL.Path, "/renamed.git", "/remote.git", 1)
		h.Handler().ServeHTTP(w, req)
	}))
	t.Cleanup(front.Close)
	m := newManager(t, func(c *Config) { c.Credential = newWallet(canary).ask })
	wt, err := m.Worktree(t.Context(), Spec{RigID: "rig", URL: front.URL + "/old.git", Branch: "polecat/alice/1"})
	must(t, err)
	g := newGatehouse(t, m, front.URL+"/old.git")
	redirect.Store(away.URL)
	if out, err := g.as("cap-alice", 0, 0, wt.Dir, "ls-remote"); err == nil || !strings.Contains(out, "answered 301") {
		t.Errorf("ls-remote: %s", out)
	}
	redirect.Store(front.URL + "/renamed.git")
	git(t, wt.Dir, "commit", "--quiet", "--allow-empty", "-m", "x")
	if out, err := g.as("cap-alice", 0, 0, wt.Dir, "push", "origin", "HEAD"); err != nil {
		t.Errorf("to a repository that was renamed: %s", out)
	}
}

func TestProxyRefusesWhatIsNotGit(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	mustWorktree(t, m, spec(r, "a"))
	g := newGatehouse(t, m, r.URL())
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/git/rig/info/refs", "", 404},
		{"GET", "/git/rig/info/refs?service=git-upload-archive", "", 404},
		{"GET", "/git/rig/HEAD", "", 404},
		{"GET", "/git/rig/git-upload-pack", "", 404},
		{"GET", "/git/other/info/refs?service=git-upload-pack", "", 404},
		{"GET", "/git/rig/../../x", "", 404},
		{"POST", "/git/rig/git-receive-pack", "", 400},
		{"POST", "/git/rig/git-receive-pack", "00", 400},
		{"POST", "/git/rig/git-receive-pack", "zzzz", 400},
		{"POST", "/git/rig/git-receive-pack", "fff0" + strings.Repeat("x", 70000), 400},
		{"POST", "/git/rig/git-receive-pack", "0009shal\n0000", 400},
		{"POST", "/git/rig/git-receive-pack", "0000", 200},
		{"GET", "/git/rig/info/refs?service=git-upload-pack", "", 400}, // not version 2
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, g.URL+c.path, strings.NewReader(c.body))
		must(t, err)
		req.Header.Set("Authorization", "Bearer cap-alice")
		req.Header.Set("Content-Type", "application/x-git-receive-pack-request")
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, res.StatusCode, b, c.want)
		}
	}
	must(t, m.Close())
	res, err := http.Get(g.URL + "/git/rig/info/refs")
	must(t, err)
	_ = res.Body.Close()
	if res.StatusCode != 503 {
		t.Errorf("after Close: %d", res.StatusCode)
	}
}

// TestHookOfALocalRemoteIsItsOwn: what the server's git is kept from running is not
// what a remote's git is.
func TestHookOfALocalRemoteIsItsOwn(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	m := newManager(t)
	w := mustWorktree(t, m, spec(r, "polecat/alice/1"))
	g := newGatehouse(t, m, r.URL())
	write(t, filepath.Join(r.Path, "hooks/pre-receive"), "#!/bin/sh\necho closed today >&2\nexit 1\n")
	must(t, os.Chmod(filepath.Join(r.Path, "hooks/pre-receive"), 0o755))
	git(t, w.Dir, "commit", "--quiet", "--allow-empty", "-m", "x")
	if out, err := g.as("cap-alice", 0, 0, w.Dir, "push", "origin", "HEAD"); err == nil || !strings.Contains(out, "closed today") {
		t.Errorf("push: %s", out)
	}
}

func TestSSHTargets(t *testing.T) {
	for url, want := range map[string]string{
		"git@github.com:a/b.git": "git@github.com [] a/b.git",
		"ssh://git@h:22/a":       "git@h [-p 22] /a",
		"ssh://h/~u/a":           "h [] ~u/a",
		"git@[::1]:a":            "git@::1 [] a",
		"https://h/a":            "",
		"/a:b":                   "",
	} {
		host, args, file, ok := sshTarget(url)
		if got := fmt.Sprint(host, " ", args, " ", file); ok != (want != "") || ok && got != want {
			t.Errorf("sshTarget(%q) = %q, want %q", url, got, want)
		}
	}
}

// TestAdvertisementIsSkippedAtAnyCut feeds it in every pair of pieces.
func TestAdvertisementIsSkippedAtAnyCut(t *testing.T) {
	in := "000eversion 2\n0008abcd" + flushPkt + "the rest 0000"
	for i := range len(in) {
		var out, advert bytes.Buffer
		s := &skipAdvert{w: &out, keep: &advert}
		for _, part := range []string{in[:i], in[i:]} {
			if _, err := s.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != "the rest 0000" || advert.String() != "000eversion 2\n0008abcd0000" {
			t.Fatalf("cut at %d: %q %q", i, advert.String(), out.String())
		}
	}
}

func FuzzPushHead(f *testing.F) {
	id := strings.Repeat("1", 40)
	f.Add([]byte(string(appendPkt(nil, id+" "+id+" refs/heads/a\x00report-status side-band-64k")) + flushPkt + "PACK"))
	f.Add([]byte("0000"))
	f.Add([]byte("fff5"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readPushHead(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(h.updates) > maxPushUpdates || !bytes.HasPrefix(b, h.raw) || !bytes.HasSuffix(h.raw, []byte(flushPkt)) {
			t.Fatalf("%+v", h)
		}
		names := []string{}
		for _, u := range h.updates {
			names = append(names, u.ref)
		}
		h.refusal(func(u refUpdate) string { return fmt.Sprint(slices.Contains(names, u.ref)) })
	})
}

// TestProxyStreamsBothWays passes 200 MiB each way and looks at the memory meanwhile.
func TestProxyStreamsBothWays(t *testing.T) {
	const size = 200 << 20
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("", "")
	var received atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.UserAgent() != userAgent {
			h.Handler().ServeHTTP(w, req)
			return
		}
		n, _ := io.Copy(io.Discard, req.Body)
		received.Store(n)
		w.Header().Set("Content-Type", strings.Replace(req.Header.Get("Content-Type"), "-request", "-result", 1))
		if strings.HasSuffix(req.URL.Path, "upload-pack") {
			_, _ = io.CopyN(w, endless{}, size)
		}
	}))
	t.Cleanup(front.Close)
	m := newManager(t)
	_, err := m.Prepare(t.Context(), "rig", front.URL+"/remote.git", false, nil)
	must(t, err)
	g := newGatehouse(t, m, front.URL)
	id := strings.Repeat("1", 40)
	head := string(appendPkt(nil, id+" "+id+" refs/heads/polecat/alice/1\x00report-status")) + flushPkt
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, c := range []struct {
		service    string
		body       io.Reader
		sent, back int64
	}{
		{"git-receive-pack", io.MultiReader(strings.NewReader(head), io.LimitReader(endless{}, size)), int64(len(head)) + size, 0},
		{"git-upload-pack", strings.NewReader("0000"), 4, size},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/git/rig/"+c.service, c.body)
		must(t, err)
		req.Header.Set("Authorization", "Bearer cap-alice")
		req.Header.Set("Content-Type", "application/x-"+c.service+"-request")
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		n, err := io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != 200 || n != c.back || received.Load() != c.sent {
			t.Errorf("%s: %d, %d bytes there, %d back, %v", c.service, res.StatusCode, received.Load(), n, err)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc-before.TotalAlloc) >> 20; grown > 20 {
		t.Errorf("%d MiB were allocated", grown)
	}
	http.DefaultClient.CloseIdleConnections()
}

// endless is any number of bytes.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestHangingRemoteEndsWithItsAgentOrTheTown(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("", "")
	m := newManager(t)
	_, err := m.Prepare(t.Context(), "rig", h.URL, false, nil)
	must(t, err)
	g := newGatehouse(t, m, h.URL)
	ask := func(ctx context.Context, service string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/git/rig/info/refs?service="+service, http.NoBody)
		must(t, err)
		req.Header.Set("Authorization", "Bearer cap-alice")
		return http.DefaultClient.Do(req)
	}
	h.Set(gittest.Hang)
	for _, service := range []string{"git-receive-pack", "git-upload-pack"} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-h.Reached
			cancel()
		}()
		if res, err := ask(ctx, service); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s: answered %d", service, res.StatusCode)
		}
		eventually(t, "no git is left", func() bool { return len(gitsBelow(m.c.Home)) == 0 })
	}
	go func() {
		<-h.Reached
		_ = m.Close()
	}()
	res, err := ask(t.Context(), "git-receive-pack")
	must(t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("at the end of the town: %d", res.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
}
