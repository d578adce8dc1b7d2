package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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

// retain compresses and deletes by age. The newest run of an agent that is not
// forgotten is kept as long as the agent lives.
func (s *Supervisor) retain(now time.Time) {
	r := s.cfg.Retention
	entries, err := os.ReadDir(s.runDir(""))
	if err != nil {
		s.log.Error("transcripts not listed", "error", err)
		return
	}
	for _, entry := range entries {
		if s.ctx.Err() != nil {
			return
		}
		dir := filepath.Join(s.runDir(""), entry.Name())
		if r.DeleteAfter > 0 && !s.isLive(entry.Name()) && newestIn(dir).Before(now.Add(-r.DeleteAfter)) {
			if err := os.RemoveAll(dir); err != nil {
				s.log.Error("transcript not deleted", "run", entry.Name(), "error", err)
			}
			continue
		}
		if r.GzipAfter > 0 {
			if _, err := transcript.Compress(dir, now.Add(-r.GzipAfter)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.log.Error("transcript not compressed", "run", entry.Name(), "error", err)
			}
		}
	}
}

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
