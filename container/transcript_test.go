package container

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"townd/api/wire"
	"townd/supervisor/transcript"
)

// FuzzRange checks that what checkRange lets pass net/http serves from what is
// held, and nothing before it.
func FuzzRange(f *testing.F) {
	for _, header := range []string{"bytes=0-", "bytes=10-20", "bytes=-5", "bytes=-0", "bytes=5-4", "bytes=0-0,-1", "bytes=99999999999999999999-", "bytes= 3 - 4 ", "lines=1-2", "bytes=--1", "bytes=+1-2", "bytes=,"} {
		f.Add(header)
	}
	dir := f.TempDir()
	w, err := transcript.Open(dir, transcript.Options{SegmentBytes: 10, TotalBytes: 40})
	if err != nil {
		f.Fatal(err)
	}
	for range 10 {
		if _, err := w.Write([]byte("0123456789")); err != nil {
			f.Fatal(err)
		}
	}
	f.Cleanup(func() { w.Close() })
	r := transcript.NewReader(dir)
	first, end, err := r.Bounds()
	r.Close()
	if err != nil || first == 0 || end != 100 {
		f.Fatalf("Bounds() = %d, %d, %v; want a part of 100 dropped", first, end, err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if strings.ContainsAny(header, "\r\n") {
			return
		}
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.Header.Set("Range", header)
		if header == "" {
			return
		}
		if p := checkRange(header, first, end); p != nil {
			if p.Status != http.StatusRequestedRangeNotSatisfiable || !strings.Contains(p.Text, "held are the bytes from") {
				t.Errorf("checkRange(%q) = %+v, want 416 saying what is held", header, p)
			}
			return
		}
		rec := newDeadlineRecorder()
		run := &run{id: "r", reader: transcript.NewReader(dir)}
		answer, err := rawTranscript(req, run)
		if err != nil {
			t.Fatalf("checkRange(%q) passed, then %v", header, err)
		}
		answer.(wire.Writer)(rec)
		if rec.Code != http.StatusPartialContent && rec.Code != http.StatusOK {
			t.Errorf("range %q passed, then net/http answered %d %s", header, rec.Code, rec.Body)
		}
		if single := !strings.Contains(header, ","); single && rec.Code == http.StatusPartialContent {
			for i, b := range rec.Body.Bytes() {
				if i > 0 && b != '0'+(rec.Body.Bytes()[i-1]-'0'+1)%10 {
					t.Errorf("range %q answered %q", header, rec.Body)
				}
			}
		}
	})
}

// deadlineRecorder is a ResponseRecorder that remembers its write deadline.
type deadlineRecorder struct {
	*httptest.ResponseRecorder
	set      int
	deadline time.Time
}

func newDeadlineRecorder() *deadlineRecorder {
	return &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
}

func (d *deadlineRecorder) SetWriteDeadline(at time.Time) error {
	d.set, d.deadline = d.set+1, at
	return nil
}

// A connection is used again: a deadline left behind would end its next answer.
func TestAnswersInPartsLeaveNoDeadlineBehind(t *testing.T) {
	dir := t.TempDir()
	w, err := transcript.Open(dir, transcript.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write([]byte("output")); err != nil {
		t.Fatal(err)
	}
	s := &Server{metrics: NewMetrics(), log: slog.New(slog.DiscardHandler)}
	handler := s.serve(route{method: http.MethodGet, path: "/", access: accessPublic, handle: func(r *http.Request) (any, error) {
		return rawTranscript(r, &run{id: "r", reader: transcript.NewReader(dir)})
	}})
	rec := newDeadlineRecorder()
	handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if rec.Body.String() != "output" || rec.set < 2 || !rec.deadline.IsZero() {
		t.Errorf("answered %q, set deadlines %d times, the last %v; want the last to be none", rec.Body, rec.set, rec.deadline)
	}
}
