package gitmgr

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/gitmgr/gittest"
	"townd/town"
)

func TestPrepareClonesOnceAndFetchesWhenAsked(t *testing.T) {
	r := bulky(t)
	h := r.ServeHTTP("", "")
	m := newManager(t)
	var mu sync.Mutex
	phases := map[string]int{}
	p, err := m.Prepare(t.Context(), "rig", h.URL, false, func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Percent < phases[p.Phase] || p.Percent > 100 {
			t.Errorf("%s went from %d to %d %%", p.Phase, phases[p.Phase], p.Percent)
		}
		phases[p.Phase] = p.Percent
	})
	if err != nil || !p.Cloned || p.DefaultBranch != "main" || p.Commit != r.Git("rev-parse", "main") {
		t.Fatalf("Prepare = %+v, %v", p, err)
	}
	if phases["Receiving objects"] != 100 {
		t.Errorf("progress was %v", phases)
	}
	tip := r.Commit("main", "f", "1")
	before := h.Requests()
	if p, err := m.Prepare(t.Context(), "rig", h.URL, false, nil); err != nil || p.Cloned || p.Commit == tip || h.Requests() != before {
		t.Errorf("soon after: %+v, %v, %d requests", p, err, h.Requests()-before)
	}
	var wg sync.WaitGroup
	for range 20 { // one fetch, or two when somebody asked during the first
		wg.Go(func() {
			if p, err := m.Prepare(t.Context(), "rig", h.URL, true, nil); err != nil || p.Commit != tip {
				t.Errorf("Prepare = %+v, %v", p, err)
			}
		})
	}
	wg.Wait()
	if n := h.Requests() - before; n > 8 {
		t.Errorf("20 who asked at once made %d requests", n)
	}
	must(t, m.SetRig("rig", RigSettings{FetchEvery: time.Nanosecond}))
	m.rigs["rig"].fetchDue = time.Time{}
	tip = r.Commit("main", "f", "2")
	if p, err := m.Prepare(t.Context(), "rig", h.URL, false, nil); err != nil || p.Commit != tip {
		t.Errorf("when stale: %+v, %v", p, err)
	}
	empty := gittest.New(t, gittest.Options{Empty: true})
	if p, err := m.Prepare(t.Context(), "empty", empty.URL(), true, nil); err != nil || p.Commit != "" {
		t.Errorf("empty: %+v, %v", p, err)
	}
	_, err = m.Prepare(t.Context(), "rig", "ext::sh", true, nil)
	wantKind(t, err, town.ErrInvalid, "remote helper")
}

// TestTransientFailuresAreTriedAgain is X20; a credential does not get better by it.
func TestTransientFailuresAreTriedAgain(t *testing.T) {
	r := gittest.New(t, gittest.Options{})
	h := r.ServeHTTP("", "")
	m := newManager(t)
	for _, f := range []gittest.Fault{gittest.Broken, gittest.Busy} {
		h.SetFor(f, remoteRetries)
		if _, err := m.Prepare(t.Context(), fmt.Sprint("rig", f), h.URL, true, nil); err != nil {
			t.Errorf("fault %d: %v", f, err)
		}
		h.SetFor(f, remoteRetries)
		if _, err := m.Prepare(t.Context(), fmt.Sprint("rig", f), h.URL, true, nil); err != nil {
			t.Errorf("fault %d in a fetch: %v", f, err)
		}
	}
	for f, kind := range map[gittest.Fault]error{gittest.Unauthorized: ErrAuth, gittest.Forbidden: ErrDenied, gittest.NotFound: ErrRepository, gittest.Broken: ErrNetwork} {
		h.Set(f)
		before := h.Requests()
		_, err := m.Prepare(t.Context(), "another", h.URL, true, nil)
		wantKind(t, err, kind, "git clone: ")
		want := int64(1)
		if f == gittest.Broken {
			want += remoteRetries
		}
		if n := h.Requests() - before; n != want {
			t.Errorf("fault %d was met %d times, want %d", f, n, want)
		}
	}
}

// Proves W5, F12.
func TestShallowCloneIsDeepenedForAMerge(t *testing.T) {
	for _, isolate := range []bool{false, true} {
		r := gittest.New(t, gittest.Options{Commits: 300})
		r.Git("branch", "old", "main~250")
		head := r.Commit("old", "f", "1")
		m := newManager(t)
		if isolate {
			m = isolated(t)
		}
		must(t, m.SetRig("rig", RigSettings{Depth: 1}))
		_, err := m.Prepare(t.Context(), "rig", r.URL(), true, nil)
		must(t, err)
		repo := m.rigs["rig"].repo
		count := func() string { return git(t, repo, "-c", "safe.directory=*", "rev-list", "--count", "origin/main") }
		if n := count(); n != "1" {
			t.Fatalf("%s commits are here", n)
		}
		res := mustMerge(t, m, MergeRequest{Branch: "old"}, MergeDone)
		if res.Head != head || r.Git("rev-list", "--count", "main") != "302" {
			t.Errorf("Merge = %+v, main has %s commits", res, r.Git("rev-list", "--count", "main"))
		}
		w := mustWorktree(t, m, spec(r, "polecat/x/1"))
		if w.Base != res.Commit {
			t.Errorf("Worktree = %+v", w)
		}
		sound(t, m)
	}
}

func TestBloblessRigHasTheFilesItNeeds(t *testing.T) {
	for _, uid := range []uint32{0, uidA} {
		r := gittest.New(t, gittest.Options{Files: 50, Commits: 100})
		r.Git("config", "uploadpack.allowFilter", "true")
		r.Git("config", "uploadpack.allowAnySHA1InWant", "true")
		h := r.ServeHTTP("", "")
		m := newManager(t)
		if uid != 0 {
			m = isolated(t)
		}
		must(t, m.SetRig("rig", RigSettings{Blobless: true}))
		s := ownedSpec(r, "polecat/x/1", uid)
		s.URL = h.URL
		w := mustWorktree(t, m, s)
		repo := m.rigs["rig"].repo
		missing := strings.Count(git(t, repo, "-c", "safe.directory=*", "rev-list", "--objects", "--all", "--missing=print"), "\n?")
		if missing != 99 {
			t.Errorf("%d objects are missing, want those of old commits", missing)
		}
		if out, err := gitAs(uid, w.GID, w.Dir, "status", "--porcelain"); err != nil || out != "" {
			t.Errorf("status %q %v", out, err)
		}
		if h.Requests() > 12 {
			t.Errorf("%d requests: file by file", h.Requests())
		}
		_, err := shellAs(uid, w.GID, w.Dir, "", "echo x > new && echo y >> dir000/file00001.txt && git add . && git commit -qm one && rm dir000/file00002.txt")
		if uid != 0 {
			must(t, err)
			if cp, err := m.Checkpoint(t.Context(), "rig", w.Branch, "agent", Owner{}); err != nil || cp.Clean {
				t.Errorf("Checkpoint = %+v, %v", cp, err)
			}
			if d, err := m.Diff(t.Context(), "rig", w.Branch, w.Base, Owner{}, 1<<20); err != nil || len(d.Files) != 3 {
				t.Errorf("Diff = %+v, %v", d, err)
			}
		}
		r.Commit("side", "dir000/file00003.txt", "side")
		r.Commit("main", "dir000/file00004.txt", "main")
		q := MergeRequest{Branch: "side", Owner: Owner{UID: uid}, Gates: []Gate{{Name: "all", Command: "test $(cat dir000/* | wc -l) -gt 100"}}}
		mustMerge(t, m, q, MergeDone)
	}
}

// Proves W14.
func TestRigIDIsItsOwn(t *testing.T) {
	seen := map[string]string{}
	for _, url := range []string{
		"https://github.com/a/b", "https://github.com/a-b", "https://gitlab.com/a/b", "git@github.com:a/b", "https://github.com/A/b",
		"https://github.com/" + strings.Repeat("long/", 100) + "x", "/srv/git/ü",
	} {
		id := RigID(url)
		if err := town.CheckID(id); err != nil || seen[id] != "" || RigID(url+".git") != id {
			t.Errorf("RigID(%q) = %q, %v, also of %q", url, id, err, seen[id])
		}
		seen[id] = url
	}
}

// TestPlantedShallowIsRefused: a list of commits without parents, written by an
// agent, would cut off the history of everybody.
func TestPlantedShallowIsRefused(t *testing.T) {
	m := isolated(t)
	r := gittest.New(t, gittest.Options{Commits: 5})
	w := mustWorktree(t, m, ownedSpec(r, "polecat/alice/1", uidA))
	repo := m.rigs["rig"].repo
	out, err := shellAs(uidA, w.GID, w.Dir, "", "git rev-parse HEAD > \"$1/shallow\"; rmdir \"$1/shallow\"; mv \"$1/shallow\" \"$1/x\"; test -d \"$1/shallow\"", repo)
	t.Log(out)
	if err != nil || strings.Count(out, "\n") != 2 {
		t.Errorf("an agent could: %v", err)
	}
	if n := git(t, repo, "-c", "safe.directory=*", "rev-list", "--count", "main"); n != "5" {
		t.Errorf("main has %s commits", n)
	}
	if fi, err := os.Lstat(filepath.Join(repo, shallowName)); err != nil || !fi.IsDir() {
		t.Error(err)
	}
}

func FuzzProgress(f *testing.F) {
	f.Add("Receiving objects:  45% (9/20)\rfatal: x\n")
	f.Fuzz(func(t *testing.T, s string) {
		rest := &tail{max: maxErrorBytes}
		p := &progressReader{rest: rest, tell: func(p Progress) {
			if p.Percent < 0 || p.Percent > 999 || p.Phase == "" {
				t.Fatal(p)
			}
		}}
		if n, err := p.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	})
}
