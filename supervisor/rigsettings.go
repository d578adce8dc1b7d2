package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"townd/gitmgr"
	"townd/town"
)

// rigSettings are how the repositories of rigs are kept, in a file of the town's
// home. What else people say of a rig comes with each start, and is not kept here:
// the environment of its agents may hold secrets.
type rigSettings struct {
	path string

	mu   sync.Mutex
	byID map[string]town.GitSettings
}

// maxFetchEvery bounds how stale a rig may be kept: a day.
const maxFetchEvery = 24 * time.Hour

// SetRig makes s the settings of a rig, cloned or not yet, from its next clone, fetch
// and worktree on, after a restart too. It returns an *InvalidError for settings that
// cannot be, of which nothing is taken over.
func (s *Supervisor) SetRig(rigID string, rig town.RigSettings) error {
	if err := s.checkRig(rigID, rig); err != nil {
		return err
	}
	r := &s.rigSettings
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := s.cfg.Git.SetRig(rigID, gitSettings(rig.Git)); err != nil {
		return invalid("git", err)
	}
	all := maps.Clone(r.byID)
	if all == nil {
		all = make(map[string]town.GitSettings)
	}
	all[rigID] = rig.Git
	data, err := json.Marshal(all)
	if err == nil {
		err = renameio.WriteFile(r.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep settings of rig %s: %w", rigID, err)
	}
	r.byID = all
	return nil
}

// checkRig returns an *InvalidError for what gitmgr would not name a field for.
func (s *Supervisor) checkRig(rigID string, rig town.RigSettings) error {
	if err := town.CheckID(rigID); err != nil {
		return invalid("rigId", err)
	}
	if rig.GitURL != "" {
		if err := s.cfg.Git.CheckURL(rig.GitURL); err != nil {
			return invalid("gitUrl", err)
		}
	}
	g := rig.Git
	switch {
	case g.Depth < 0:
		return invalid("git.depth", errors.New("must be 0 or more commits"))
	case math.IsNaN(g.FetchEverySeconds) || g.FetchEverySeconds < 0 || g.FetchEverySeconds > maxFetchEvery.Seconds():
		return invalid("git.fetchEverySeconds", fmt.Errorf("must be 0 to %.0f", maxFetchEvery.Seconds()))
	case g.QuotaBytes < 0:
		return invalid("git.quotaBytes", errors.New("must be 0 or more"))
	}
	return nil
}

func invalid(path string, err error) error {
	return &town.InvalidError{Issues: []town.Issue{{Path: path, Message: err.Error()}}}
}

func gitSettings(g town.GitSettings) gitmgr.RigSettings {
	return gitmgr.RigSettings{
		Depth: g.Depth, Blobless: g.Blobless, FetchEvery: time.Duration(g.FetchEverySeconds * float64(time.Second)),
		Sparse: g.Sparse, LFS: g.LFS, Submodules: g.Submodules, QuotaBytes: g.QuotaBytes,
	}
}

// loadRigs takes over what earlier servers were told of rigs. Settings that cannot be
// had, as when a program is missing by now, are told of and kept.
func (s *Supervisor) loadRigs() error {
	r := &s.rigSettings
	r.path = filepath.Join(s.cfg.Home, "rig-settings.json")
	data, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read settings of rigs: %w", err)
	}
	if err := json.Unmarshal(data, &r.byID); err != nil {
		return fmt.Errorf("read settings of rigs in %s: %w", r.path, err)
	}
	for id, g := range r.byID {
		if err := s.cfg.Git.SetRig(id, gitSettings(g)); err != nil {
			s.log.Error("settings of rig not used", "rig", id, "error", err)
			s.rigs.set(Rig{ID: id, State: RigFailed, Err: err})
		}
	}
	return nil
}
