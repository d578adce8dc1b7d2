package transcript

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"time"
)

// MarkKind says what happened at an offset.
type MarkKind uint8

// The kinds of marks. All carry the size of the terminal in force after them.
const (
	MarkOutput MarkKind = 1 + iota // output came, from this offset on
	MarkResize                     // the terminal has another size
	MarkStart                      // a program of the run was started
	MarkExit                       // a program of the run ended
)

// String returns the kind's name.
func (k MarkKind) String() string {
	switch k {
	case MarkOutput:
		return "output"
	case MarkResize:
		return "resize"
	case MarkStart:
		return "start"
	case MarkExit:
		return "exit"
	}
	return fmt.Sprintf("MarkKind(%d)", uint8(k))
}

// Mark is one fact about a transcript. Time is precise to the microsecond.
// Cols and Rows are 0 when no size was ever told.
type Mark struct {
	Offset     int64
	Time       time.Time
	Kind       MarkKind
	Cols, Rows uint16
}

// A mark on disk is markBytes long, little-endian: offset 0:8, unix µs 8:16,
// cols 16:18, rows 18:20, kind 20, zeros 21:28, CRC-32C of what precedes 28:32.
const markBytes = 32

var crcTable = crc32.MakeTable(crc32.Castagnoli)

func encodeMark(m Mark) [markBytes]byte {
	var b [markBytes]byte
	binary.LittleEndian.PutUint64(b[0:], uint64(m.Offset))
	binary.LittleEndian.PutUint64(b[8:], uint64(m.Time.UnixMicro()))
	binary.LittleEndian.PutUint16(b[16:], m.Cols)
	binary.LittleEndian.PutUint16(b[18:], m.Rows)
	b[20] = byte(m.Kind)
	binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(b[:28], crcTable))
	return b
}

// decodeMark returns the mark that encodeMark made b from, false for any other b.
func decodeMark(b [markBytes]byte) (Mark, bool) {
	if binary.LittleEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], crcTable) {
		return Mark{}, false
	}
	m := Mark{
		Offset: int64(binary.LittleEndian.Uint64(b[0:])),
		Time:   time.UnixMicro(int64(binary.LittleEndian.Uint64(b[8:]))),
		Cols:   binary.LittleEndian.Uint16(b[16:]),
		Rows:   binary.LittleEndian.Uint16(b[18:]),
		Kind:   MarkKind(b[20]),
	}
	known := m.Kind >= MarkOutput && m.Kind <= MarkExit
	return m, known && m.Offset >= 0 && encodeMark(m) == b
}

// decodeMarks yields the marks of one segment from r, a file of marks, until the
// first that is torn, out of order or outside [start, end]. An error of r is
// yielded last.
func decodeMarks(r io.Reader, start, end int64) iter.Seq2[Mark, error] {
	return func(yield func(Mark, error) bool) {
		br := bufio.NewReaderSize(r, 16<<10)
		at := start
		var b [markBytes]byte
		for {
			_, err := io.ReadFull(br, b[:])
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			if err != nil {
				yield(Mark{}, err)
				return
			}
			m, ok := decodeMark(b)
			if !ok || m.Offset < at || m.Offset > end || !yield(m, nil) {
				return
			}
			at = m.Offset
		}
	}
}

// marksFile appends the marks of one segment. Records go to their place by
// offset, so that one torn by a full disk is overwritten by the next.
type marksFile struct {
	f    *os.File
	size int64
}

// openMarks opens the marks of seg, making the file, and cuts off its torn tail
// and marks beyond the data.
func openMarks(dir string, seg segment) (*marksFile, error) {
	path := segmentPath(dir, seg.start, marksSuffix)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open marks: %w", err)
	}
	m := &marksFile{f: f}
	for _, err := range decodeMarks(f, seg.start, seg.end()) {
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read marks: %w", err), f.Close())
		}
		m.size += markBytes
	}
	if err := f.Truncate(m.size); err != nil {
		return nil, errors.Join(fmt.Errorf("repair marks: %w", err), f.Close())
	}
	return m, nil
}

func (m *marksFile) append(mark Mark) error {
	b := encodeMark(mark)
	if _, err := m.f.WriteAt(b[:], m.size); err != nil {
		return err
	}
	m.size += markBytes
	return nil
}

// segmentMarks yields the marks of seg in dir, none when they are not there: the
// segment was dropped since, or the writer died before its first mark.
func segmentMarks(dir string, seg segment) iter.Seq2[Mark, error] {
	return func(yield func(Mark, error) bool) {
		f, err := os.Open(segmentPath(dir, seg.start, marksSuffix))
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Mark{}, fmt.Errorf("open marks: %w", err))
			return
		}
		defer f.Close()
		for m, err := range decodeMarks(f, seg.start, seg.end()) {
			if err != nil {
				err = fmt.Errorf("read marks: %w", err)
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// Marks yields the marks held at offsets from through to, both included, in the
// order they were made; those of dropped output are not held. It is safe beside
// the Writer and, unlike the other methods, beside other uses of r. An error is
// yielded last.
func (r *Reader) Marks(from, to int64) iter.Seq2[Mark, error] {
	return func(yield func(Mark, error) bool) {
		chain, err := readChain(r.dir)
		if err != nil {
			yield(Mark{}, err)
			return
		}
		for i, seg := range chain {
			if i == len(chain)-1 {
				seg.length = maxStart // it grows
			}
			if seg.end() < from || seg.start > to {
				continue
			}
			for m, err := range segmentMarks(r.dir, seg) {
				if err == nil && (m.Offset < from || m.Offset > to) {
					continue
				}
				if !yield(m, err) {
					return
				}
			}
		}
	}
}
