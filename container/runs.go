package container

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"townd/api/wire"
	"townd/supervisor"
	"townd/supervisor/transcript"
	"townd/town"
)

// run is one run of an agent, to read. The caller closes its reader.
type run struct {
	agent string
	id    string
	feed  *supervisor.Feed // nil for an earlier run, which is over

	structured bool
	status     town.Status
	dir        string // of its output
	reader     *transcript.Reader
}

// runOf returns the agent in the path and the run in the query.
func runOf(r *http.Request) (id, run string, err error) {
	if id, err = agentID(r); err != nil {
		return "", "", err
	}
	p, err := wire.ParseParams(r)
	if err != nil {
		return "", "", err
	}
	run, err = p.One("run")
	return id, run, err
}

// openRun opens an agent's run; id "" is its newest.
func (s *Server) openRun(ctx context.Context, agent, id string) (*run, error) {
	out, err := s.cfg.Supervisor.Output(agent)
	if err != nil {
		return nil, err
	}
	if id == "" || id == out.RunID {
		return &run{
			agent: agent, id: out.RunID, feed: out.Feed, structured: out.Structured, status: out.Status,
			dir: out.Dir, reader: transcript.NewReader(out.Dir),
		}, nil
	}
	dir, err := s.cfg.Supervisor.EarlierRun(ctx, agent, id)
	if err != nil && !errors.Is(err, town.ErrNotFound) {
		return nil, err
	}
	r := &run{
		agent: agent, id: id, structured: out.Structured, status: town.StatusExited, // how is known of the newest only
		dir: dir, reader: transcript.NewReader(dir),
	}
	if err == nil {
		_, _, err = r.reader.Bounds()
	}
	if err != nil {
		return nil, fmt.Errorf("run %s of agent %s is not held (its newest is %s): %w", id, agent, out.RunID, town.ErrNotFound)
	}
	return r, nil
}

// close closes the run's reader, from which nothing can be lost.
func (r *run) close() { _ = r.reader.Close() }

// end returns the offset after the run's last byte. What is in the files may be
// ahead of what the feed has told.
func (r *run) end() (int64, error) {
	_, end, err := r.reader.Bounds()
	if errors.Is(err, town.ErrNotFound) {
		return 0, nil // the program has not been started yet
	}
	return end, err
}

// size returns how many bytes the run holds, and whether it has ended. The feed of one
// that had ended before this server began was told of none.
func (r *run) size() (size int64, ended bool, err error) {
	if r.feed != nil {
		if size, ended = r.feed.Size(); !ended {
			return size, false, nil
		}
	}
	size, err = r.end()
	return size, true, err
}

// wait returns when the run holds more than after bytes or has ended.
func (r *run) wait(ctx context.Context, after int64) (size int64, ended bool, err error) {
	if r.feed == nil {
		size, err := r.end()
		return size, true, err
	}
	return r.feed.Wait(ctx, after)
}

// lookBack is how far before an offset the mark with its size is looked for
// first: marks of whole segments are read.
const lookBack = 1 << 20

// sizeAt returns the size of the terminal for the byte at offset.
func (r *run) sizeAt(offset int64) (cols, rows uint16, err error) {
	for _, from := range []int64{max(0, offset-lookBack), 0} {
		for m, err := range r.reader.Marks(from, offset) {
			if errors.Is(err, town.ErrNotFound) {
				break
			}
			if err != nil {
				return 0, 0, err
			}
			if m.Cols != 0 && m.Rows != 0 {
				cols, rows = m.Cols, m.Rows
			}
		}
		if cols != 0 {
			return cols, rows, nil
		}
	}
	cols, rows = r.terminal()
	return cols, rows, nil
}

// terminal returns the size of the run's terminal now.
func (r *run) terminal() (cols, rows uint16) {
	if r.feed == nil {
		return town.DefaultCols, town.DefaultRows
	}
	return r.feed.Terminal()
}
