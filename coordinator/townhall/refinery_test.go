package townhall

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"townd/api"
	"townd/town"
)

// outcome reports how the newest merge that was asked for ended.
func (d *dispatching) outcome(t testing.TB, out town.MergeOutcome) {
	t.Helper()
	asked := d.asked()
	last := asked[len(asked)-1]
	out.EntryID = last.EntryID
	if err := d.MergeCompleted(t.Context(), last.RigID, last.EntryID, out); err != nil {
		t.Errorf("merge outcome: %v", err)
	}
	synctest.Wait()
}

// doneBead makes a bead that is done, with its merge waiting.
func (d *dispatching) doneBead(t testing.TB, rig string, req town.BeadRequest) town.Bead {
	t.Helper()
	b := d.add(t, rig, req)
	synctest.Wait()
	d.done(t, d.bead(t, b.ID).AgentID)
	synctest.Wait()
	return d.bead(t, b.ID)
}

func TestFinishedBranchIsMergedAndItsBeadClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.rig(t, "site", func(s *town.RigSettings) {
				s.Merge = town.MergeSettings{Strategy: "squash", DeleteBranch: true}
				s.Gates = []town.Gate{{Name: "test", Command: "make test", TimeoutSeconds: 60}}
			})
		})
		b := d.doneBead(t, "site", town.BeadRequest{Title: "Mend it"})
		asked := d.asked()
		if len(asked) != 1 {
			t.Fatalf("asked for %d merges", len(asked))
		}
		q := asked[0]
		if q.Branch != b.Branch || q.BeadID != b.ID || q.TargetBranch != "main" || q.Strategy != "squash" || !q.DeleteBranch || q.CreateTarget || q.EntryID == "" ||
			q.Message != fmt.Sprintf("Mend it (%s)", b.ID) || len(q.Gates) != 1 || q.Gates[0].Command != "make test" || q.Gates[0].TimeoutSeconds != 60 {
			t.Errorf("asked for %+v", q)
		}
		d.want(t, b.ID, town.BeadInReview)
		d.beatFor(t, 20*time.Minute)
		again := d.asked() // a container begins none of these anew
		if n := len(again); n > 21 || slices.ContainsFunc(again, func(r api.MergeRequest) bool { return r.EntryID != q.EntryID }) {
			t.Errorf("asked %d times while it goes on: %+v", n, again)
		}
		d.outcome(t, town.MergeOutcome{Status: "merged", Commit: "c0ffee"})
		if got := d.want(t, b.ID, town.BeadClosed); got.Commit != "c0ffee" {
			t.Errorf("commit %q", got.Commit)
		}
		d.outcome(t, town.MergeOutcome{Status: "conflict"}) // told twice, and otherwise
		d.want(t, b.ID, town.BeadClosed)
	})
}

func TestMergesOfARigTakeTurnsAndThoseOfOthersDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"a", "b"}, nil)
		first, second := d.doneBead(t, "a", town.BeadRequest{}), d.doneBead(t, "a", town.BeadRequest{})
		d.doneBead(t, "b", town.BeadRequest{})
		asked := d.asked()
		if len(asked) != 2 || asked[0].BeadID != first.ID || asked[1].RigID != "b" {
			t.Fatalf("asked for %+v", asked)
		}
		if err := d.MergeCompleted(t.Context(), "a", asked[0].EntryID, town.MergeOutcome{EntryID: asked[0].EntryID, Status: "merged"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if asked = d.asked(); len(asked) != 3 || asked[2].BeadID != second.ID {
			t.Errorf("then asked for %+v", asked)
		}
	})
}

func TestConflictGoesBackToItsAgentWithTheFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, nil)
		b := d.doneBead(t, "site", town.BeadRequest{})
		for n := 1; n <= MaxReworks; n++ {
			d.outcome(t, town.MergeOutcome{Status: "conflict", Message: "1 file conflicts", Conflicts: []byte(`[{"path":"a.go","kind":"contents"}]`)})
			got := d.want(t, b.ID, town.BeadInProgress)
			starts := d.started()
			last := starts[len(starts)-1]
			if got.Reworks != n || !strings.Contains(got.Feedback, "a.go") || len(starts) != n+1 || !last.Resume || last.Branch != b.Branch ||
				last.AgentID != b.AgentID || !strings.Contains(last.Prompt, "a.go") {
				t.Fatalf("rework %d: %+v, started with %+v", n, got, last)
			}
			d.done(t, b.AgentID)
			synctest.Wait()
		}
		d.outcome(t, town.MergeOutcome{Status: "gates_failed", Message: "test failed"})
		got := d.want(t, b.ID, town.BeadFailed)
		if e := d.escalations(t); len(e) != 1 || e[0].BeadID != b.ID {
			t.Errorf("escalations %+v of %s", e, got.Why)
		}
	})
}

func TestMergeThatTheNetworkFailsIsTriedAgainButNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.onMerge = func(api.MergeRequest) (api.MergeResult, error) {
				return api.MergeResult{Status: "network", Message: "no route"}, nil
			}
		})
		b := d.doneBead(t, "site", town.BeadRequest{})
		d.beatFor(t, 3*time.Hour)
		d.want(t, b.ID, town.BeadFailed)
		if n := len(d.asked()); n != MaxMergeAttempts {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestMergeThatTheRemoteForbidsIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, nil)
		b := d.doneBead(t, "site", town.BeadRequest{})
		d.outcome(t, town.MergeOutcome{Status: "auth", Message: "permission denied"})
		d.want(t, b.ID, town.BeadFailed)
		if e := d.escalations(t); len(e) != 1 || !strings.Contains(e[0].Body, "permission denied") {
			t.Errorf("escalations %+v", e)
		}
	})
}

// A merge is asked for again when the container that was asked is gone, when its call
// failed, when its outcome does not come, and by the next hall.
func TestMergeWithoutOutcomeIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, nil)
		var fail atomic.Bool
		fail.Store(true)
		d.onMerge = func(api.MergeRequest) (api.MergeResult, error) {
			if fail.Load() {
				return api.MergeResult{}, errCut
			}
			return api.MergeResult{Status: api.MergeStatusAccepted}, nil
		}
		b := d.doneBead(t, "site", town.BeadRequest{})
		d.beatFor(t, 11*time.Second)
		if n := len(d.asked()); n != 2 {
			t.Errorf("asked %d times after a call that was cut", n)
		}
		fail.Store(false)
		d.beatFor(t, time.Minute)
		n := len(d.asked())
		d.mu.Lock()
		d.instance = "two"
		d.mu.Unlock()
		d.beatFor(t, 31*time.Second)
		if n++; len(d.asked()) < n {
			t.Errorf("asked %d times after the container was replaced, want %d", len(d.asked()), n)
		}
		n = len(d.asked())
		d.reopen(t)
		synctest.Wait()
		if n++; len(d.asked()) != n {
			t.Errorf("asked %d times by the next hall, want %d", len(d.asked()), n)
		}
		d.beatFor(t, askAgain+30*time.Second)
		if n++; len(d.asked()) != n {
			t.Errorf("asked %d times after its time, want %d", len(d.asked()), n)
		}
		for _, q := range d.asked() {
			if q.EntryID != d.asked()[0].EntryID {
				t.Error("asked as another merge")
			}
		}
		d.outcome(t, town.MergeOutcome{Status: "nothing"})
		d.want(t, b.ID, town.BeadClosed)
	})
}

func TestMergeThatIsRefusedFailsItsBead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.onMerge = func(api.MergeRequest) (api.MergeResult, error) {
				return api.MergeResult{}, fmt.Errorf("branch is nowhere: %w", town.ErrNotFound)
			}
		})
		b := d.doneBead(t, "site", town.BeadRequest{})
		if got := d.want(t, b.ID, town.BeadFailed); !strings.Contains(got.Why, "branch is nowhere") {
			t.Errorf("why %q", got.Why)
		}
	})
}

func TestPullRequestIsLookedAtSlowlyUntilItIsMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.rig(t, "site", func(s *town.RigSettings) { s.Merge.Mode = town.MergePullRequest })
		})
		var open atomic.Bool
		open.Store(true)
		d.onMerge = func(q api.MergeRequest) (api.MergeResult, error) {
			if q.Mode != "pull-request" || q.PullRequest == nil || q.PullRequest.Title != "work" {
				t.Errorf("asked for %+v", q)
			}
			if open.Load() {
				return api.MergeResult{Status: "pull_request", PullRequest: &town.PullRequest{URL: "https://git.example.com/site/pulls/7"}}, nil
			}
			res, err := merged(q)
			res.PullRequest = &town.PullRequest{URL: "https://git.example.com/site/pulls/7"}
			return res, err
		}
		b := d.doneBead(t, "site", town.BeadRequest{})
		other := d.doneBead(t, "site", town.BeadRequest{})
		if n := len(d.asked()); n != 2 {
			t.Fatalf("asked for %d: an open pull request keeps others up", n)
		}
		d.beatFor(t, time.Hour)
		if n := len(d.asked()); n < 2*10 || n > 2*16 {
			t.Errorf("asked %d times in an hour", n)
		}
		d.want(t, b.ID, town.BeadInReview)
		open.Store(false)
		d.beatFor(t, 6*time.Minute)
		if got := d.want(t, b.ID, town.BeadClosed); got.PullRequest == "" {
			t.Error("the bead does not name its pull request")
		}
		d.want(t, other.ID, town.BeadClosed)
	})
}

func TestRigThatDoesNotMergeClosesAtDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.rig(t, "site", func(s *town.RigSettings) { s.Merge.Mode = town.MergeNone })
		})
		b := d.doneBead(t, "site", town.BeadRequest{})
		d.want(t, b.ID, town.BeadClosed)
		if n := len(d.asked()); n != 0 {
			t.Errorf("asked for %d merges", n)
		}
	})
}

func TestRefineryApprovesOrSendsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.rig(t, "site", func(s *town.RigSettings) { s.Merge.Review = true })
		})
		b := d.doneBead(t, "site", town.BeadRequest{Title: "Mend it"})
		starts := d.started()
		r := starts[len(starts)-1]
		if len(d.asked()) != 0 || r.AgentID != "refinery-site" || r.Role != town.RoleRefinery || r.StartPoint != b.Branch || !strings.Contains(r.Prompt, b.Branch) {
			t.Fatalf("asked for %d merges, started %+v", len(d.asked()), r)
		}
		if _, err := d.RequestChanges(t.Context(), caller(t, d.Hall, r.AgentID), r.AgentID, api.ChangesRequest{Feedback: "no test", Files: []string{"a.go"}}); err != nil {
			t.Fatal(err)
		}
		d.end(t, r.AgentID, town.ReasonDone, "")
		synctest.Wait()
		if got := d.want(t, b.ID, town.BeadInProgress); !strings.Contains(got.Feedback, "no test") {
			t.Errorf("feedback %q", got.Feedback)
		}
		d.done(t, b.AgentID)
		synctest.Wait()
		starts = d.started()
		again := starts[len(starts)-1]
		if again.AgentID != "refinery-site" || again.Generation <= r.Generation {
			t.Fatalf("the second review is %+v", again)
		}
		d.done(t, again.AgentID)
		synctest.Wait()
		if len(d.asked()) != 1 {
			t.Fatalf("asked for %d merges after the approval", len(d.asked()))
		}
		d.outcome(t, town.MergeOutcome{Status: "merged"})
		d.want(t, b.ID, town.BeadClosed)
	})
}

func TestRefineryWithoutVerdictIsAskedAgainButNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) {
			d.rig(t, "site", func(s *town.RigSettings) { s.Merge.Review = true })
		})
		d.onLive = func(req town.StartRequest) {
			if req.Role == town.RoleRefinery {
				go func() {
					time.Sleep(time.Minute)
					d.end(t, req.AgentID, town.ReasonExited, "")
				}()
			}
		}
		b := d.doneBead(t, "site", town.BeadRequest{})
		d.beatFor(t, time.Hour)
		reviews := 0
		for _, s := range d.started() {
			if s.Role == town.RoleRefinery {
				reviews++
			}
		}
		d.want(t, b.ID, town.BeadFailed)
		if reviews != maxReviews || len(d.asked()) != 0 || len(d.escalations(t)) != 1 {
			t.Errorf("%d reviews, %d merges, escalations %+v", reviews, len(d.asked()), d.escalations(t))
		}
	})
}

// convoy makes a convoy of a chain of beads.
func (d *dispatching) convoy(t testing.TB, mode town.ConvoyMode, n int, staged bool) api.ConvoyMade {
	t.Helper()
	req := town.ConvoyRequest{RigID: "site", Title: "New Parser!", Mode: mode, Staged: staged}
	for i := range n {
		task := town.ConvoyTask{Title: fmt.Sprint("step ", i)}
		if i > 0 {
			task.DependsOn = []int{i - 1}
		}
		req.Tasks = append(req.Tasks, task)
	}
	made, err := d.CreateConvoy(t.Context(), Person, req)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return made
}

func (d *dispatching) wantConvoy(t testing.TB, id string, status town.ConvoyStatus) town.Convoy {
	t.Helper()
	c, err := d.Convoy(t.Context(), id)
	if err != nil || c.Status != status {
		t.Errorf("convoy is %s, %v, want %s", c.Status, err, status)
	}
	return c
}

func TestConvoyLandsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, nil)
		made := d.convoy(t, town.LandAtEnd, 2, true)
		if n := len(d.started()); n != 0 {
			t.Fatalf("%d starts of a staged convoy", n)
		}
		if _, err := d.StartConvoy(t.Context(), Person, made.Convoy.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i, b := range made.Beads {
			starts := d.started()
			s := starts[len(starts)-1]
			if len(starts) != i+1 || s.BeadID != b.ID || (s.StartPoint != "") != (i > 0) {
				t.Fatalf("start %d is %+v", i, s)
			}
			d.done(t, s.AgentID)
			synctest.Wait()
			q := d.asked()[len(d.asked())-1]
			if q.BeadID != b.ID || !q.CreateTarget || !strings.HasPrefix(q.TargetBranch, "convoy/") || q.TargetBranch != made.Convoy.Branch {
				t.Fatalf("merge %d is %+v, convoy %+v", i, q, made.Convoy)
			}
			d.outcome(t, town.MergeOutcome{Status: "merged"})
		}
		d.wantConvoy(t, made.Convoy.ID, town.ConvoyLanding)
		q := d.asked()[len(d.asked())-1]
		if len(d.asked()) != 3 || q.Branch != made.Convoy.Branch || q.TargetBranch != "main" || q.CreateTarget || q.BeadID != made.Convoy.ID {
			t.Fatalf("landing is %+v", q)
		}
		d.outcome(t, town.MergeOutcome{Status: "merged", Commit: "c0ffee"})
		d.wantConvoy(t, made.Convoy.ID, town.ConvoyClosed)
		d.want(t, made.Convoy.ID, town.BeadClosed)
	})
}

func TestLandingThatConflictsIsTriedAgainByAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, nil)
		made := d.convoy(t, town.LandAtEnd, 1, false)
		d.done(t, d.started()[0].AgentID)
		synctest.Wait()
		d.outcome(t, town.MergeOutcome{Status: "merged"})
		d.outcome(t, town.MergeOutcome{Status: "conflict", Conflicts: []byte(`[{"path":"a.go","kind":"contents"}]`)})
		d.wantConvoy(t, made.Convoy.ID, town.ConvoyFailed)
		if e := d.escalations(t); len(e) != 1 || !strings.Contains(e[0].Body, "a.go") {
			t.Errorf("escalations %+v", e)
		}
		d.beatFor(t, time.Hour)
		if n := len(d.asked()); n != 2 {
			t.Errorf("asked for %d merges, want no landing by itself", n)
		}
		if _, err := d.RetryBead(t.Context(), Person, made.Convoy.ID, ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		d.outcome(t, town.MergeOutcome{Status: "merged"})
		d.wantConvoy(t, made.Convoy.ID, town.ConvoyClosed)
	})
}

func TestConvoyFailsWithABeadThatTheRestNeedsAndGoesOnWithItsRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatching(t, []string{"site"}, func(d *dispatching) { d.onMerge = merged })
		made := d.convoy(t, town.LandOneByOne, 3, false)
		d.done(t, d.started()[0].AgentID)
		synctest.Wait()
		failed := d.want(t, made.Beads[1].ID, town.BeadInProgress)
		d.end(t, failed.AgentID, town.ReasonAuth, "bad key")
		synctest.Wait()
		d.wantConvoy(t, made.Convoy.ID, town.ConvoyFailed)
		if _, err := d.RetryBead(t.Context(), Person, failed.ID, ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		d.wantConvoy(t, made.Convoy.ID, town.ConvoyOpen)
		for range 2 {
			starts := d.started()
			d.done(t, starts[len(starts)-1].AgentID)
			synctest.Wait()
		}
		d.wantConvoy(t, made.Convoy.ID, town.ConvoyClosed)
	})
}

var _ Container = (*api.Client)(nil)
