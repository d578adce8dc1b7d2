package supervisor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"townd/gitmgr"
	"townd/supervisor/artifact"
	"townd/town"
)

// artifactsName is the directory in an agent's home whose files are kept of its run.
const artifactsName = "artifacts"

// The bounds of the town's own account of a run.
const (
	patchBytes  = 16 << 20
	mostCommits = 1000
	textBytes   = 4 << 10 // of a commit's message
)

// makeArtifactsDir makes the directory that $TOWND_ARTIFACTS names. What the agent has put
// in its place stays.
func makeArtifactsDir(home string, uid, gid uint32) error {
	root, err := os.OpenRoot(home)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	err = root.Mkdir(artifactsName, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil && uid != 0 {
		err = root.Lchown(artifactsName, int(uid), int(gid))
	}
	return err
}

// keepArtifacts takes what the run has left into its directory, before anybody else has the
// worktree. Of an agent that goes on it is what there is now, unless its end was taken already.
func (a *agent) keepArtifacts(ctx context.Context, rec *record, saved gitmgr.Checkpoint) {
	a.keeping.Lock()
	defer a.keeping.Unlock()
	view := a.snapshot.Load()
	if view.RunID != rec.Agent.RunID || !view.Status.Live() {
		return
	}
	own, err := a.s.account(ctx, rec, saved)
	if err != nil && !errors.Is(err, town.ErrNotFound) {
		a.log.Warn("artifacts without the run's changes", "run", rec.Agent.RunID, "error", err)
	}
	list, err := artifact.Keep(ctx, a.s.runDir(rec.Agent.RunID), rec.Agent.RunID, own, artifact.From{
		Dir: filepath.Join(a.dir, "home"), Name: artifactsName, UID: cmp.Or(rec.UID, uint32(os.Geteuid())), MaxBytes: a.s.cfg.ArtifactBytes,
	})
	switch {
	case errors.Is(err, fs.ErrNotExist): // its run, and all that is kept of it, is deleted
	case err != nil:
		a.log.Error("artifacts not kept", "run", rec.Agent.RunID, "error", err)
	case list.LeftOutCount > 0:
		a.log.Info("some artifacts left out", "run", rec.Agent.RunID, "count", list.LeftOutCount)
	}
}

// commitJSON is a commit of commits.json.
type commitJSON struct {
	Hash    string    `json:"hash"`
	Author  string    `json:"author"`
	Email   string    `json:"email"`
	When    time.Time `json:"when"`
	Subject string    `json:"subject"`
	Body    string    `json:"body,omitempty"`
}

// account returns what the run changed, as far as it was saved: nothing when it changed nothing.
func (s *Supervisor) account(ctx context.Context, rec *record, saved gitmgr.Checkpoint) (own []artifact.Own, err error) {
	res, err := s.cfg.Git.Result(ctx, rec.Request.RigID, rec.Request.Branch, rec.Base, saved.Commit, mostCommits, patchBytes)
	if err != nil {
		return nil, err
	}
	if len(res.Patch) > 0 {
		own = append(own, artifact.Own{Name: "changes.patch", Kind: town.ArtifactDiff, Data: res.Patch, Truncated: res.Truncated})
	}
	if len(res.Commits) == 0 {
		return own, nil
	}
	list := struct {
		Base       string       `json:"base"`
		Head       string       `json:"head"`
		Checkpoint string       `json:"checkpoint,omitempty"`
		Commits    []commitJSON `json:"commits"`
	}{Base: res.Base, Head: res.Head, Checkpoint: saved.Commit}
	for _, c := range res.Commits {
		list.Commits = append(list.Commits, commitJSON{
			Hash: c.Hash, Author: c.Name, Email: c.Email, When: c.When.UTC(), Subject: c.Subject[:min(len(c.Subject), textBytes)], Body: c.Body[:min(len(c.Body), textBytes)],
		})
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return own, fmt.Errorf("list commits: %w", err)
	}
	return append(own, artifact.Own{Name: "commits.json", Kind: town.ArtifactCommits, Data: append(data, '\n'), Truncated: res.More}), nil
}

// Artifacts returns what is kept of a run of the agent besides its output; run "" is its
// newest. It returns ErrNotFound for a run that it did not have and ErrConflict for an agent
// that never had one.
func (s *Supervisor) Artifacts(ctx context.Context, id, run string) (town.Artifacts, error) {
	dir, run, err := s.keptOf(ctx, id, run)
	if err != nil {
		return town.Artifacts{}, err
	}
	list, err := artifact.List(dir)
	list.RunID = run
	return list, err
}

// OpenArtifact opens one of them for the caller to close; ErrNotFound when it is not there.
func (s *Supervisor) OpenArtifact(ctx context.Context, id, run, name string) (*os.File, town.Artifact, error) {
	dir, _, err := s.keptOf(ctx, id, run)
	if err != nil {
		return nil, town.Artifact{}, err
	}
	return artifact.Open(dir, name)
}

// keptOf returns where a run of the agent's is kept, and its id.
func (s *Supervisor) keptOf(ctx context.Context, id, run string) (dir, runID string, err error) {
	newest, err := s.Output(id)
	if err != nil {
		return "", "", err
	}
	if run == "" || run == newest.RunID {
		return newest.Dir, newest.RunID, nil
	}
	dir, err = s.EarlierRun(ctx, id, run)
	return dir, run, err
}
