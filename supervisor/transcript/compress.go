package transcript

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const compressLockName = "compress.lock"

// Compress replaces the segments of dir that were last written before olderThan,
// but never the newest, by compressed ones, and returns how many. It may run
// beside the Writer and readers, in any process; a second one in the same
// transcript gets town.ErrConflict.
func Compress(dir string, olderThan time.Time) (n int, err error) {
	all, err := starts(dir, segSuffix)
	if err != nil {
		return 0, err
	}
	lock, err := flock(filepath.Join(dir, compressLockName))
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := removeTemps(dir); err != nil {
		return 0, err
	}
	for _, start := range all[:max(0, len(all)-1)] {
		path := segmentPath(dir, start, segSuffix)
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // dropped since
		}
		if err != nil {
			return n, fmt.Errorf("compress segment: %w", err)
		}
		if !info.Mode().IsRegular() || !info.ModTime().Before(olderThan) {
			continue
		}
		done, err := compressSegment(dir, start)
		if err != nil {
			return n, noSpace(fmt.Errorf("compress segment: %w", err))
		}
		if done {
			n++
		}
	}
	return n, nil
}

// removeTemps removes what a Compress that died left. The lock is held, so none
// of it is in use.
func removeTemps(dir string) error {
	temps, err := starts(dir, tempSuffix)
	if err != nil {
		return err
	}
	for _, start := range temps {
		if err := os.Remove(segmentPath(dir, start, tempSuffix)); err != nil {
			return fmt.Errorf("compress segment: %w", err)
		}
	}
	return nil
}

// compressSegment makes the compressed file of a segment and removes the plain
// one. It reports false when the Writer dropped the segment meanwhile.
func compressSegment(dir string, start int64) (bool, error) {
	in, err := os.Open(segmentPath(dir, start, segSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer in.Close()
	return replaceSegment(dir, start, in)
}

// replaceSegment puts a compressed file in the place of the segment, open as in.
// Readers find one of the two at every moment.
func replaceSegment(dir string, start int64, in io.Reader) (bool, error) {
	temp, gz := segmentPath(dir, start, tempSuffix), segmentPath(dir, start, gzSuffix)
	if err := deflate(temp, in); err != nil {
		return false, errors.Join(err, removeFile(temp))
	}
	if err := os.Rename(temp, gz); err != nil {
		return false, err
	}
	err := os.Remove(segmentPath(dir, start, segSuffix))
	if errors.Is(err, fs.ErrNotExist) { // dropped: what we made must not come back in its place
		return false, removeFile(gz)
	}
	return err == nil, err
}

// deflate compresses in into the file temp and syncs it: the plain file is
// removed next, and a disk may order the two as it likes.
func deflate(temp string, in io.Reader) error {
	out, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err == nil {
		_, err = io.Copy(z, in)
	}
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
