package transcript

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"townd/town"
)

const (
	lockName = "lock"
	// markInterval is the resolution of timing: output within it shares a mark.
	markInterval = 50 * time.Millisecond
	// marksSlack is by how much the marks of a segment may outweigh its output, so
	// that a program which prints a byte at a time cannot fill the disk with them.
	marksSlack = 64 << 10
)

// Writer appends to a transcript. Its methods are safe for concurrent use.
type Writer struct {
	dir  string
	o    Options
	size atomic.Int64

	mu         sync.Mutex
	lock       *os.File
	seg        *os.File // the newest segment, nil after Close
	start      int64    // where it begins
	marks      *marksFile
	marked     time.Time // when output was last marked in this segment, zero: not yet
	cols, rows uint16    // as last told
}

// Open returns the Writer of the transcript in dir, which it creates or repairs:
// torn marks and marks beyond the data are cut off, segments that a hole cuts off
// from the newest are dropped. Offsets go on where the data ends. A transcript
// has one Writer: a second gets town.ErrConflict. The caller closes it.
func Open(dir string, o Options) (*Writer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, noSpace(fmt.Errorf("open transcript: %w", err))
	}
	lock, err := flock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, o: o, lock: lock}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// flock creates and locks the file at path until it is closed or the process
// ends. It returns town.ErrConflict when another holds it.
func flock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, noSpace(fmt.Errorf("open lock: %w", err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: held by another: %w", path, town.ErrConflict)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

func (w *Writer) open() error {
	chain, err := readChain(w.dir)
	if err != nil {
		return err
	}
	var newest segment
	if n := len(chain); n > 0 {
		newest = chain[n-1]
	}
	if newest.gz { // only after somebody meddled: Compress leaves the newest alone
		newest = segment{start: newest.end()}
	}
	if err := w.use(newest); err != nil {
		return err
	}
	if err := w.recallTerminal(chain); err != nil {
		return err
	}
	return w.makeRoom(0)
}

// recallTerminal takes the size of the terminal from the newest mark there is.
func (w *Writer) recallTerminal(chain []segment) error {
	for i := len(chain) - 1; i >= 0 && w.cols == 0 && w.rows == 0; i-- {
		for m, err := range segmentMarks(w.dir, chain[i]) {
			if err != nil {
				return err
			}
			w.cols, w.rows = m.Cols, m.Rows
		}
	}
	return nil
}

// use makes seg, which may not exist yet, the segment that is written.
func (w *Writer) use(seg segment) error {
	if seg.end()+w.o.SegmentBytes > maxStart {
		return fmt.Errorf("open segment at %d: %w", seg.start, town.ErrTooLarge)
	}
	f, err := os.OpenFile(seg.path(w.dir), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return noSpace(fmt.Errorf("open segment: %w", err))
	}
	marks, err := openMarks(w.dir, seg)
	if err != nil {
		return noSpace(errors.Join(err, f.Close()))
	}
	old, oldMarks := w.seg, w.marks
	w.seg, w.start, w.marks, w.marked = f, seg.start, marks, time.Time{}
	w.size.Store(seg.end())
	if old == nil {
		return nil
	}
	return errors.Join(old.Close(), oldMarks.f.Close())
}

// Write appends p. It returns how many bytes are in the transcript and, when
// those are not all, why; town.ErrNoSpace for a full disk. The rest may be
// written again.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seg == nil {
		return 0, fmt.Errorf("write transcript: %w", os.ErrClosed)
	}
	written := 0
	for written < len(p) {
		room := w.o.SegmentBytes - (w.size.Load() - w.start)
		if room <= 0 {
			if err := w.rotate(); err != nil {
				return written, err
			}
			continue
		}
		if err := w.markOutput(); err != nil {
			return written, noSpace(fmt.Errorf("write marks: %w", err))
		}
		n, err := w.seg.Write(p[written:min(int64(len(p)), int64(written)+room)])
		written += n
		w.size.Add(int64(n))
		if err != nil {
			return written, noSpace(fmt.Errorf("write transcript: %w", err))
		}
	}
	return written, nil
}

// markOutput marks that output comes now, unless a mark less than markInterval
// old says so. Each segment begins with one, so that dropping those before it
// loses neither the time nor the size of the terminal.
func (w *Writer) markOutput() error {
	now := time.Now()
	if !w.marked.IsZero() && (now.Sub(w.marked) < markInterval || w.marks.size > w.size.Load()-w.start+marksSlack) {
		return nil
	}
	if err := w.marks.append(Mark{Offset: w.size.Load(), Time: now, Kind: MarkOutput, Cols: w.cols, Rows: w.rows}); err != nil {
		return err
	}
	w.marked = now
	return nil
}

// rotate begins the next segment where the data ends. A crash within leaves an
// empty segment, which is what Open goes on with.
func (w *Writer) rotate() error {
	if err := w.makeRoom(w.o.SegmentBytes); err != nil {
		return err
	}
	return w.use(segment{start: w.size.Load()})
}

// makeRoom drops the oldest segments until coming more bytes do not pass the
// total, and files below what can be read. The segment in use stays.
func (w *Writer) makeRoom(coming int64) error {
	chain, err := readChain(w.dir)
	if err != nil {
		return err
	}
	first := w.start
	for i := len(chain) - 1; i >= 0 && w.size.Load()-chain[i].start+coming <= w.o.TotalBytes; i-- {
		first = min(first, chain[i].start)
	}
	all, err := starts(w.dir, segSuffix, gzSuffix, marksSuffix)
	if err != nil {
		return err
	}
	for _, start := range all {
		if start >= first {
			break
		}
		if err := remove(w.dir, start); err != nil {
			return err
		}
	}
	return nil
}

// Mark records that kind happens at the end of the output. Cols and rows are the
// size of the terminal from now on; 0 and 0 leave it as it was.
func (w *Writer) Mark(kind MarkKind, cols, rows uint16) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seg == nil {
		return fmt.Errorf("write marks: %w", os.ErrClosed)
	}
	if kind < MarkOutput || kind > MarkExit {
		return fmt.Errorf("write marks: %v: %w", kind, town.ErrInvalid)
	}
	if cols == 0 && rows == 0 {
		cols, rows = w.cols, w.rows
	}
	if err := w.marks.append(Mark{Offset: w.size.Load(), Time: time.Now(), Kind: kind, Cols: cols, Rows: rows}); err != nil {
		return noSpace(fmt.Errorf("write marks: %w", err))
	}
	w.cols, w.rows = cols, rows
	return nil
}

// Size returns the offset after the last byte written. It takes no lock.
func (w *Writer) Size() int64 { return w.size.Load() }

// Close ends the writing; what is written stays. Closing again does nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	if w.seg != nil {
		errs = append(errs, w.seg.Close(), w.marks.f.Close())
	}
	if w.lock != nil {
		errs = append(errs, w.lock.Close())
	}
	w.seg, w.lock = nil, nil
	return errors.Join(errs...)
}

// noSpace gives err its kind when a full disk or quota caused it.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", err, town.ErrNoSpace)
	}
	return err
}
