package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"townd/supervisor/transcript"
)

// retainEvery is how often old transcripts are looked at.
const retainEvery = time.Hour

// keepTranscripts compresses and deletes old transcripts, at once and then every
// hour. It ends with the supervisor.
func (s *Supervisor) keepTranscripts() {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		s.retain(time.Now())
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// retain compresses and deletes by age. A run that goes on is never deleted.
func (s *Supervisor) retain(now time.Time) {
	r := s.cfg.Retention
	for _, run := range s.names(s.runDir("")) {
		if s.ctx.Err() != nil {
			return
		}
		dir := s.runDir(run)
		leftOver := strings.HasSuffix(run, deleted) // a server was killed while it deleted that
		if leftOver || r.DeleteAfter > 0 && !s.isLive(run) && newestIn(dir).Before(now.Add(-r.DeleteAfter)) {
			if err := s.deleteRun(run); err != nil {
				s.log.Error("transcript not deleted", "run", run, "error", err)
			}
			continue
		}
		if r.GzipAfter > 0 {
			if _, err := transcript.Compress(dir, now.Add(-r.GzipAfter)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.log.Error("transcript not compressed", "run", run, "error", err)
			}
		}
	}
	s.pruneBeads()
}

// deleted is what the name of a run's directory ends with that is being deleted.
const deleted = ".deleted"

// deleteRun deletes what is kept of a run. Its directory goes away first: who still writes
// into it, a last screen or a compressed segment, could keep it from becoming empty.
func (s *Supervisor) deleteRun(run string) error {
	gone := s.runDir(run) + deleted
	if err := os.Rename(s.runDir(run), gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(gone)
}

// linkBead puts a link to a run into the folder of its bead, so that people find
// a bead's runs by its id. Best effort: nothing here reads it.
func (s *Supervisor) linkBead(bead, run string) {
	if bead == "" {
		return
	}
	dir := s.beadDir(bead)
	if err := makeDir(dir, 0o700); err != nil {
		s.log.Warn("bead's runs not linked", "bead", bead, "error", err)
		return
	}
	if err := os.Symlink(filepath.Join("..", "..", "runs", run), filepath.Join(dir, run)); err != nil {
		s.log.Warn("bead's run not linked", "bead", bead, "run", run, "error", err)
	}
}

// pruneBeads removes links to runs that are deleted, and folders without links.
func (s *Supervisor) pruneBeads() {
	for _, bead := range s.names(s.beadDir("")) {
		dir := s.beadDir(bead)
		for _, run := range s.names(dir) {
			if _, err := os.Stat(filepath.Join(dir, run)); errors.Is(err, fs.ErrNotExist) {
				_ = os.Remove(filepath.Join(dir, run)) // tried again in an hour
			}
		}
		_ = os.Remove(dir) // only when empty
	}
}

// names lists a directory; one that is missing is empty.
func (s *Supervisor) names(dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Error("directory not listed", "dir", dir, "error", err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func (s *Supervisor) beadDir(bead string) string { return filepath.Join(s.cfg.Home, "beads", bead) }

func (s *Supervisor) isLive(run string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, live := s.runs[run]
	return live
}

// newestIn returns when the newest file of dir was written.
func newestIn(dir string) (newest time.Time) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}
