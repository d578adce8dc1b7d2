package transcript

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"townd/town"
)

// Reader reads a transcript at any offset while it is written, compressed and
// dropped by others. It holds at most one segment open, so it costs a descriptor,
// and 50 KiB while it reads a compressed one. Not safe for concurrent use.
type Reader struct {
	dir  string
	seg  segment // the one open; its length is unknown (0) unless compressed
	f    *os.File
	gz   *inflater
	idle int64 // offset at which the last read found the end, -1: it did not
}

// NewReader returns a Reader of the transcript in dir, which need not exist yet.
// It opens nothing; the caller closes it.
func NewReader(dir string) *Reader { return &Reader{dir: dir, idle: -1} }

// ReadAt reads what is at off and after it. It returns as soon as it has some
// bytes, at most those up to the end of a segment, then with a nil error: unlike
// io.ReaderAt it may fill p in part. At the end, and beyond it, it returns io.EOF; before the
// first byte held *GoneError; town.ErrNotFound when there is no transcript.
//
// A read within one segment is a single pread.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read transcript at %d: %w", off, town.ErrInvalid)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.read(p, off)
	r.idle = -1
	if n == 0 && errors.Is(err, io.EOF) {
		r.idle = off
	}
	return n, err
}

func (r *Reader) read(p []byte, off int64) (int, error) {
	if r.f != nil && off >= r.seg.start {
		if n, err := r.readOpen(p, off); n > 0 || err != nil {
			return n, err
		}
		ended, err := r.next(off)
		if err != nil {
			return 0, err
		}
		// A second look at the same end costs a listing: it finds out that a later
		// segment is there although the next is missing.
		if ended && r.idle != off {
			return 0, io.EOF
		}
		if r.f != nil && r.seg.start == off {
			if n, err := r.readOpen(p, off); n > 0 || err != nil {
				return n, err
			}
		}
	}
	return r.seek(p, off)
}

// readOpen reads from the open segment, 0 bytes and no error at its end.
func (r *Reader) readOpen(p []byte, off int64) (int, error) {
	var n int
	var err error
	if r.gz != nil {
		n, err = r.gz.readAt(p, off-r.seg.start)
	} else {
		n, err = r.f.ReadAt(p, off-r.seg.start)
	}
	if n > 0 || err == nil || errors.Is(err, io.EOF) {
		return n, nil
	}
	return 0, fmt.Errorf("read segment: %w", err)
}

// next opens the segment that begins at off, where the open one ends. When there
// is none, it reports whether the open one is still the newest: a file that lost
// its name was compressed or dropped, and then so may have been the next.
func (r *Reader) next(off int64) (ended bool, err error) {
	if off > r.seg.start {
		seg, err := lookup(r.dir, off)
		if err == nil {
			err = r.open(seg)
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil // gone between look and open: look at all of them
			}
			return false, err
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotSegment) {
			return false, err
		}
	}
	if r.gz != nil {
		return false, nil
	}
	info, err := r.f.Stat()
	if err != nil {
		return false, fmt.Errorf("read segment: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	held := ok && stat.Nlink > 0
	return held && off-r.seg.start <= info.Size(), nil
}

// seek finds off among all segments and reads there.
func (r *Reader) seek(p []byte, off int64) (int, error) {
	for {
		chain, err := readChain(r.dir)
		if err != nil {
			return 0, err
		}
		if len(chain) == 0 {
			return 0, io.EOF
		}
		if first := chain[0].start; off < first {
			return 0, &GoneError{First: first}
		}
		seg, ok := find(chain, off)
		if !ok {
			return 0, io.EOF // beyond the end
		}
		err = r.open(seg)
		if errors.Is(err, fs.ErrNotExist) {
			continue // compressed or dropped since: each happens once to a segment
		}
		if err != nil {
			return 0, err
		}
		n, err := r.readOpen(p, off)
		if n == 0 && err == nil {
			err = io.EOF
		}
		return n, err
	}
}

// open makes seg the open segment. On an error none is open.
func (r *Reader) open(seg segment) error {
	if r.f != nil && r.seg.start == seg.start && (r.gz != nil) == seg.gz {
		return nil
	}
	if err := r.Close(); err != nil {
		return err
	}
	f, err := os.Open(seg.path(r.dir))
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	r.f, r.seg = f, seg
	if seg.gz {
		r.gz = &inflater{f: f, length: seg.length}
	}
	return nil
}

// Bounds returns the offset of the first byte held and the offset after the
// last; town.ErrNotFound when there is no transcript. It lists the directory.
func (r *Reader) Bounds() (first, end int64, err error) {
	chain, err := readChain(r.dir)
	if err != nil || len(chain) == 0 {
		return 0, 0, err
	}
	return chain[0].start, chain[len(chain)-1].end(), nil
}

// Close closes the open segment. A later ReadAt opens one again.
func (r *Reader) Close() error {
	if r.f == nil {
		return nil
	}
	err := r.f.Close()
	r.f, r.gz = nil, nil
	if err != nil {
		return fmt.Errorf("close segment: %w", err)
	}
	return nil
}

// inflater reads a compressed segment, forwards without starting over.
type inflater struct {
	f      *os.File
	length int64 // of the segment
	z      *gzip.Reader
	at     int64 // offset in the segment of what z gives next
}

// readAt reads at off in the segment, io.EOF at its end.
func (i *inflater) readAt(p []byte, off int64) (int, error) {
	if off >= i.length {
		return 0, io.EOF
	}
	if i.z == nil || off < i.at {
		if err := i.restart(); err != nil {
			return 0, err
		}
	}
	if off > i.at {
		n, err := io.CopyN(io.Discard, i.z, off-i.at)
		i.at += n
		if err != nil {
			return 0, i.broken(err)
		}
	}
	n, err := i.z.Read(p[:min(int64(len(p)), i.length-i.at)])
	i.at += int64(n)
	if n == 0 && err != nil {
		return 0, i.broken(err)
	}
	if i.at == i.length { // the checksum is compared only beyond the last byte
		if _, err := i.z.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			return 0, i.broken(err)
		}
	}
	return n, nil
}

func (i *inflater) restart() error {
	if _, err := i.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	i.at = 0
	if i.z != nil {
		return i.z.Reset(i.f)
	}
	var err error
	i.z, err = gzip.NewReader(i.f)
	return err
}

// broken says that the file is not what its length promises; the next read
// starts over.
func (i *inflater) broken(err error) error {
	i.z = nil
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("inflate %s: %w", i.f.Name(), err)
}
