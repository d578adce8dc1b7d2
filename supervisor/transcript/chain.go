package transcript

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"townd/town"
)

const (
	segSuffix   = ".seg"
	gzSuffix    = ".seg.gz"
	marksSuffix = ".marks"
	tempSuffix  = ".seg.gz.tmp"
)

// maxStart bounds the offset a segment may begin at, far beyond any run, so that
// sums of offsets and lengths cannot overflow whatever files lie in a directory.
const maxStart = 1 << 60

// segment is one file of the chain. Its length is final once it has a successor.
type segment struct {
	start, length int64
	gz            bool
}

func (s segment) end() int64 { return s.start + s.length }

func (s segment) path(dir string) string {
	if s.gz {
		return segmentPath(dir, s.start, gzSuffix)
	}
	return segmentPath(dir, s.start, segSuffix)
}

func segmentPath(dir string, start int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", start, suffix))
}

// parseName returns the first offset in name, a file with one of the suffixes.
func parseName(name string, suffixes ...string) (start int64, ok bool) {
	for _, suffix := range suffixes {
		digits, found := strings.CutSuffix(name, suffix)
		if !found || len(digits) != 16 {
			continue
		}
		start, err := strconv.ParseInt(digits, 16, 64)
		if err == nil && start >= 0 && start <= maxStart && fmt.Sprintf("%016x", start) == digits {
			return start, true
		}
	}
	return 0, false
}

// starts lists the first offsets of the files in dir with one of the suffixes,
// ascending.
func starts(dir string, suffixes ...string) ([]int64, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open transcript %s: %w", dir, town.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open transcript: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list transcript: %w", err)
	}
	var all []int64
	for _, name := range names {
		if start, ok := parseName(name, suffixes...); ok {
			all = append(all, start)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// readChain returns the segments of dir that can be read without a gap up to the
// newest, ascending; none when nothing was ever written. It holds all that was
// written before the call.
//
// A listing made while a segment is compressed may hold neither of its two names
// (readdir promises nothing about entries that change meanwhile). It happens
// once to a segment, so two listings together name it; the lengths are taken
// after both, when every listed segment but the newest has a successor and so
// its final length. The second may also name a segment and not the one before it, when
// both were made meanwhile: so the chain must reach back to what the first named. Where
// even the newest of that was dropped by then, the listings are worth nothing.
func readChain(dir string) ([]segment, error) {
	for {
		first, err := starts(dir, segSuffix, gzSuffix)
		if err != nil {
			return nil, err
		}
		second, err := starts(dir, segSuffix, gzSuffix)
		if err != nil {
			return nil, err
		}
		all := slices.Concat(first, second)
		slices.Sort(all)
		chain, err := link(dir, slices.Compact(all))
		if errors.Is(err, fs.ErrNotExist) || len(first) > 0 && len(chain) > 0 && chain[0].start > first[len(first)-1] {
			continue
		}
		return chain, err
	}
}

// link looks up the segments that begin at starts and returns the last chain of
// them, fs.ErrNotExist when the newest is no longer there.
func link(dir string, starts []int64) (chain []segment, err error) {
	for i, start := range starts {
		s, err := lookup(dir, start)
		if errors.Is(err, fs.ErrNotExist) && i < len(starts)-1 || errors.Is(err, errNotSegment) {
			continue // dropped since, or none of ours
		}
		if err != nil {
			return nil, err
		}
		if n := len(chain); n > 0 && chain[n-1].end() != start {
			chain = chain[:0] // a hole: what lies before it leads nowhere
		}
		chain = append(chain, s)
	}
	return chain, nil
}

var errNotSegment = errors.New("not a segment")

// lookup finds the segment that begins at start, plain or compressed;
// fs.ErrNotExist when there is none, errNotSegment for a file that is something
// else. The compressed file exists before the plain one goes, so looking for
// them in this order misses only a segment that is not there.
func lookup(dir string, start int64) (segment, error) {
	info, err := os.Lstat(segmentPath(dir, start, segSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		length, err := gzLength(segmentPath(dir, start, gzSuffix))
		if err != nil {
			return segment{}, fmt.Errorf("look up segment: %w", err)
		}
		return segment{start: start, length: length, gz: true}, nil
	}
	if err != nil {
		return segment{}, fmt.Errorf("look up segment: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxStart {
		return segment{}, errNotSegment
	}
	return segment{start: start, length: info.Size()}, nil
}

// gzLength returns the uncompressed length of the gzip file at path from its
// last four bytes (RFC 1952, ISIZE), or errNotSegment.
func gzLength(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	const smallest = 18 // header and trailer
	if !info.Mode().IsRegular() || info.Size() < smallest {
		return 0, errNotSegment
	}
	var b [4]byte
	if _, err := f.ReadAt(b[:2], 0); err != nil {
		return 0, err
	}
	if b[0] != 0x1f || b[1] != 0x8b {
		return 0, errNotSegment
	}
	if _, err := f.ReadAt(b[:], info.Size()-4); err != nil {
		return 0, err
	}
	return int64(binary.LittleEndian.Uint32(b[:])), nil
}

// find returns the segment that holds off, or the newest when off is the end.
func find(chain []segment, off int64) (segment, bool) {
	i, exact := slices.BinarySearchFunc(chain, off, func(s segment, off int64) int {
		switch {
		case s.start > off:
			return 1
		case s.end() <= off:
			return -1
		}
		return 0
	})
	if exact {
		return chain[i], true
	}
	if n := len(chain); n > 0 && chain[n-1].end() == off {
		return chain[n-1], true
	}
	return segment{}, false
}

// remove deletes the files of the segment that begins at start. The plain file
// goes first: Compress, which makes the other, looks for it afterwards.
func remove(dir string, start int64) error {
	for _, suffix := range []string{segSuffix, gzSuffix, marksSuffix} {
		if err := removeFile(segmentPath(dir, start, suffix)); err != nil {
			return fmt.Errorf("drop segment: %w", err)
		}
	}
	return nil
}

// removeFile removes the file at path, if there is one.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
