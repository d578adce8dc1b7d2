package container

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"townd/api"
	"townd/api/wire"
	"townd/supervisor/transcript"
	"townd/town"
)

// transcript answers with the bytes of a run that are held, or a recording.
func (s *Server) transcript(r *http.Request) (any, error) {
	id, runID, err := runOf(r)
	if err != nil {
		return nil, err
	}
	return s.transcriptOf(r, id, runID)
}

// transcriptOf answers for one run of an agent, its newest when runID is "".
func (s *Server) transcriptOf(r *http.Request, id, runID string) (any, error) {
	p, err := wire.ParseParams(r)
	if err != nil {
		return nil, err
	}
	format, err := p.One("format")
	if err != nil {
		return nil, err
	}
	if format != "" && format != "raw" && format != "asciicast" {
		return nil, wire.BadParam("format", "%.40q must be raw or asciicast", format)
	}
	run, err := s.openRun(r.Context(), id, runID)
	if err != nil {
		return nil, err
	}
	if format == "asciicast" {
		return s.recording(run), nil
	}
	answer, err := rawTranscript(r, run)
	if err != nil {
		run.close()
		return nil, err
	}
	return answer, nil
}

// recording writes a run as asciicast. An error in the middle ends the
// connection, so that a cut recording is not taken for a whole one.
func (s *Server) recording(run *run) wire.Writer {
	return func(w http.ResponseWriter) {
		defer run.close()
		w.Header().Set("Content-Type", "application/x-asciicast")
		w.Header().Set(api.HeaderRunID, run.id)
		err := transcript.WriteAsciicast(deadlineWriter{w, http.NewResponseController(w)}, run.reader, transcript.CastHeader{Title: run.agent})
		if err != nil && !errors.Is(err, town.ErrNotFound) {
			s.log.Warn("recording ended early", "agent", run.agent, "run", run.id, "error", err)
			panic(http.ErrAbortHandler)
		}
	}
}

// rawTranscript answers with the bytes held, or the range of them asked for.
func rawTranscript(r *http.Request, run *run) (any, error) {
	first, end, err := run.reader.Bounds()
	if err != nil && !errors.Is(err, town.ErrNotFound) { // not found: it has printed nothing yet
		return nil, err
	}
	header := http.Header{api.HeaderRunID: {run.id}, api.HeaderFirstOffset: {strconv.FormatInt(first, 10)}}
	from := first
	if r.Header.Get("Range") != "" {
		if err := checkRange(r.Header.Get("Range"), first, end); err != nil {
			err.Header = header
			header.Set("Content-Range", fmt.Sprintf("bytes */%d", end))
			return nil, err
		}
		from = 0 // offsets in the answer are the run's
	}
	return wire.Writer(func(w http.ResponseWriter) {
		defer run.close()
		maps.Copy(w.Header(), header)
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		body := &heldBytes{reader: run.reader, from: from, end: end, control: http.NewResponseController(w)}
		http.ServeContent(w, r, "", time.Time{}, body)
	}), nil
}

// maxRanges bounds the ranges of one request: many small ones cost more than
// they bring (RFC 9110, section 14.2).
const maxRanges = 16

// checkRange refuses ranges that are not all within what is held. What it lets
// pass, http.ServeContent understands in the same way.
func checkRange(header string, first, end int64) *wire.Refusal {
	refuse := func(format string, args ...any) *wire.Refusal {
		return &wire.Refusal{Status: http.StatusRequestedRangeNotSatisfiable, Text: fmt.Sprintf(format, args...)}
	}
	held := fmt.Sprintf("held are the bytes from %d to %d", first, end-1)
	if first == end {
		held = "nothing has been printed yet"
	}
	specs, ok := strings.CutPrefix(header, "bytes=")
	ranges := strings.Split(specs, ",")
	if !ok || len(ranges) > maxRanges {
		return refuse("the Range header must be bytes=<first>-<last>, bytes=<first>- or bytes=-<count>, at most %d of them; %s", maxRanges, held)
	}
	for _, spec := range ranges {
		low, high, ok := strings.Cut(strings.TrimSpace(spec), "-")
		start, errLow := parseOffset(low, 0)
		last, errHigh := parseOffset(high, end-1)
		if !ok || errLow != nil || errHigh != nil || low == "" && high == "" {
			return refuse("range %.40q must be <first>-<last>, <first>- or -<count>; %s", spec, held)
		}
		if low == "" {
			start, last = max(0, end-last), end-1 // the last so many
		}
		if start < first || start >= end || last < start {
			return refuse("range %.40q is outside of what is held; %s", spec, held)
		}
	}
	return nil
}

func parseOffset(digits string, absent int64) (int64, error) {
	digits = strings.TrimSpace(digits)
	if digits == "" {
		return absent, nil
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return int64(n), err
}

// heldBytes is the part of a transcript from from to end as an io.ReadSeeker,
// for http.ServeContent. Each read gives the caller writeTimeout to take what
// was read before.
type heldBytes struct {
	reader    *transcript.Reader
	from, end int64
	at        int64 // after from
	control   *http.ResponseController
}

func (h *heldBytes) Read(p []byte) (int, error) {
	rest := h.end - h.from - h.at
	if rest <= 0 {
		return 0, io.EOF
	}
	if err := h.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := h.reader.ReadAt(p[:min(int64(len(p)), rest)], h.from+h.at)
	h.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (h *heldBytes) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += h.at
	case io.SeekEnd:
		offset += h.end - h.from
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: %w", offset, town.ErrInvalid)
	}
	h.at = offset
	return offset, nil
}

// deadlineWriter gives the caller writeTimeout to take each write.
type deadlineWriter struct {
	io.Writer
	control *http.ResponseController
}

func (d deadlineWriter) Write(p []byte) (int, error) {
	if err := d.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return d.Writer.Write(p)
}
