package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"townd/supervisor/transcript"
)

// writeRun leaves the transcript of a run, last written at a time.
func writeRun(t *testing.T, s *Supervisor, run string, at time.Time) {
	t.Helper()
	w, err := transcript.Open(s.runDir(run), transcript.Options{SegmentBytes: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := w.Write(make([]byte, 1<<15)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range s.names(s.runDir(run)) {
		if err := os.Chtimes(filepath.Join(s.runDir(run), name), at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// C33, C34: output is compressed and then deleted by age, runs are found by
// their bead, and links to what is deleted go too.
func TestOutputIsCompressedAndDeletedByAge(t *testing.T) {
	s := &Supervisor{
		cfg: Config{Home: t.TempDir(), Retention: Retention{GzipAfter: 24 * time.Hour, DeleteAfter: 30 * 24 * time.Hour}},
		log: slog.New(slog.NewTextHandler(t.Output(), nil)), ctx: context.Background(), runs: map[string]*agent{"live": nil},
	}
	now := time.Now()
	ages := map[string]time.Duration{"fresh": time.Hour, "old": 48 * time.Hour, "ancient": 31 * 24 * time.Hour, "live": 31 * 24 * time.Hour}
	for run, age := range ages {
		writeRun(t, s, run, now.Add(-age))
		s.linkBead("bead", run)
	}
	s.linkBead("other", "ancient")
	s.retain(now)
	for run, want := range map[string]struct{ held, packed bool }{
		"fresh": {true, false}, "old": {true, true}, "ancient": {false, false}, "live": {true, true},
	} {
		packed, _ := filepath.Glob(filepath.Join(s.runDir(run), "*.gz"))
		_, err := os.Stat(filepath.Join(s.beadDir("bead"), run)) // by way of the link
		if held := err == nil; held != want.held || len(packed) > 0 != want.packed {
			t.Errorf("%s: held %v, compressed files %d; want %+v", run, held, len(packed), want)
		}
	}
	if _, err := os.Lstat(filepath.Join(s.beadDir("bead"), "ancient")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link to a deleted run is left: %v", err)
	}
	if _, err := os.Lstat(s.beadDir("other")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of a bead without runs is left: %v", err)
	}
}

// Who goes on writing into a run's directory does not keep it from being deleted.
func TestRunIsDeletedWhileItIsWrittenInto(t *testing.T) {
	s := &Supervisor{cfg: Config{Home: t.TempDir()}, log: slog.New(slog.NewTextHandler(t.Output(), nil)), ctx: context.Background()}
	for i := range 50 {
		run := fmt.Sprint("run", i)
		writeRun(t, s, run, time.Now())
		began, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for n := 0; os.WriteFile(filepath.Join(s.runDir(run), fmt.Sprint(n)), nil, 0o600) == nil; n++ {
				if n == 20 {
					close(began)
				}
			}
		}()
		<-began
		if err := s.deleteRun(run); err != nil {
			t.Fatal(err)
		}
		<-ended
	}
	if left := s.names(s.runDir("")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// What a killed server was deleting goes with the next look, whatever its age.
func TestDeletionIsFinishedByTheNextServer(t *testing.T) {
	s := &Supervisor{cfg: Config{Home: t.TempDir()}, log: slog.New(slog.NewTextHandler(t.Output(), nil)), ctx: context.Background()}
	writeRun(t, s, "run", time.Now())
	writeRun(t, s, "gone"+deleted, time.Now())
	s.retain(time.Now())
	if left := s.names(s.runDir("")); len(left) != 1 || left[0] != "run" {
		t.Errorf("left: %q", left)
	}
}
