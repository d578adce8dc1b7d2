// Package transcript keeps the output of one run: every byte a program printed,
// at an offset that never changes, for one writer and any number of readers in
// other processes.
//
// A transcript is a directory. Bytes lie unframed in segments named by the offset
// of their first byte (%016x.seg), so that what is in a file needs no repair after
// a crash and a reader needs no index: where one segment ends, the name of the
// next is known. Old segments may be compressed (%016x.seg.gz) and are dropped,
// whole, once the total is passed. Beside each segment lie its marks
// (%016x.marks): when output came, and how large the terminal was.
//
// Writer and readers share the page cache and nothing else; nothing is synced to
// the disk while output flows, because an agent does not survive the machine. The
// package does not know what the bytes mean.
package transcript

import (
	"fmt"
	"strconv"
	"strings"

	"townd/town"
)

// DefaultSegmentBytes and DefaultTotalBytes are the sizes of Options left zero.
const (
	DefaultSegmentBytes = 4 << 20
	DefaultTotalBytes   = 64 << 20
)

// maxSegmentBytes keeps the length of a segment inside the 32 bits that gzip
// stores of it (RFC 1952, ISIZE).
const maxSegmentBytes = 1 << 30

// Options size a transcript. The zero value is good.
type Options struct {
	SegmentBytes int64 // 0: DefaultSegmentBytes, or a quarter of TotalBytes when that is less
	TotalBytes   int64 // most output held, counted uncompressed; 0: DefaultTotalBytes; at least two segments
}

func (o Options) withDefaults() (Options, error) {
	if o.TotalBytes == 0 {
		o.TotalBytes = DefaultTotalBytes
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = min(DefaultSegmentBytes, o.TotalBytes/4)
	}
	if o.SegmentBytes < 1 || o.SegmentBytes > maxSegmentBytes {
		return o, fmt.Errorf("transcript segments of %d bytes, not 1 to %d: %w", o.SegmentBytes, int64(maxSegmentBytes), town.ErrInvalid)
	}
	if o.TotalBytes < 2*o.SegmentBytes {
		return o, fmt.Errorf("transcript of %d bytes in segments of %d, less than two: %w", o.TotalBytes, o.SegmentBytes, town.ErrInvalid)
	}
	return o, nil
}

// GoneError is a town.ErrGone for bytes that were dropped. First is the offset of
// the first byte that was held when it was made.
type GoneError struct{ First int64 }

func (e *GoneError) Error() string {
	return fmt.Sprintf("output before offset %d is no longer held", e.First)
}

// Unwrap makes errors.Is(e, town.ErrGone) true.
func (e *GoneError) Unwrap() error { return town.ErrGone }

// Position is a place in the output of a run: all bytes before Offset were seen.
type Position struct {
	Run    string
	Offset int64
}

// ParsePosition reads the form that String writes, and no other. Its errors are
// town.ErrInvalid.
func ParsePosition(s string) (Position, error) {
	run, digits, ok := strings.Cut(s, ":")
	if !ok {
		return Position{}, fmt.Errorf("position %.200q, not <runId>:<offset>: %w", s, town.ErrInvalid)
	}
	if err := town.CheckID(run); err != nil {
		return Position{}, fmt.Errorf("position %.200q: run id %w", s, err)
	}
	offset, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || offset < 0 || strconv.FormatInt(offset, 10) != digits {
		return Position{}, fmt.Errorf("position %.200q: offset %.40q, not a number of bytes: %w", s, digits, town.ErrInvalid)
	}
	return Position{Run: run, Offset: offset}, nil
}

// String returns "<runId>:<offset>".
func (p Position) String() string { return p.Run + ":" + strconv.FormatInt(p.Offset, 10) }
