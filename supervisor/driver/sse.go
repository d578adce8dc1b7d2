package driver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	maxEvent = 64 << 20 // bytes of one event; a longer one is left out
	// silence is how long a stream may say nothing. Kilo and OpenCode send a
	// heartbeat every 10 s.
	silence = time.Minute
)

// stream reads the server-sent events of one URL, and connects again when the
// connection ends.
type stream struct {
	get    func(context.Context) (*http.Response, error)
	events chan []byte // the data of each event; nil says that some may be missing
}

// run reads until ctx ends. It sends nil for each connection made.
func (s *stream) run(ctx context.Context) {
	for wait := time.Duration(0); ctx.Err() == nil; wait = min(2*wait+10*time.Millisecond, time.Second) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if s.connection(ctx) == nil {
			wait = 0
		}
	}
}

// connection reads one connection to its end. It returns an error when it could
// not be made.
func (s *stream) connection(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := s.get(ctx)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	watch := time.AfterFunc(silence, cancel)
	defer watch.Stop()
	if !s.send(ctx, nil) {
		return nil
	}
	_ = readEvents(r.Body, func(data []byte) bool { // how it ends makes no difference: run connects again
		watch.Reset(silence)
		return s.send(ctx, data)
	})
	return nil
}

func (s *stream) send(ctx context.Context, data []byte) bool {
	select {
	case s.events <- data:
		return true
	case <-ctx.Done():
		return false
	}
}

// readEvents calls each with the data of every event of r, until it returns false
// or r ends. An event that r does not end is not one
// (html.spec.whatwg.org/multipage/server-sent-events.html).
func readEvents(r io.Reader, each func(data []byte) bool) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var data []byte
	has, skip := false, false
	for {
		line, err := readLine(in)
		if errors.Is(err, bufio.ErrTooLong) {
			skip = true
			continue
		}
		if err != nil {
			return err
		}
		value, isData := bytes.CutPrefix(line, []byte("data:"))
		switch {
		case len(line) == 0:
			if has && !skip && !each(data) {
				return nil
			}
			data, has, skip = nil, false, false
		case isData:
			if has {
				data = append(data, '\n')
			}
			data, has = append(data, bytes.TrimPrefix(value, []byte(" "))...), true
			skip = skip || len(data) > maxEvent
		}
	}
}

// readLine returns the next line without its end, which is valid until the next
// call. It skips a line over maxEvent and returns ErrTooLong for it.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return bytes.TrimRight(line, "\r\n"), err
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = in.ReadSlice('\n')
		if len(long) <= maxEvent {
			long = append(long, line...)
		}
	}
	if err == nil && len(long) > maxEvent {
		err = fmt.Errorf("line of an event: %w", bufio.ErrTooLong)
	}
	return bytes.TrimRight(long, "\r\n"), err
}
