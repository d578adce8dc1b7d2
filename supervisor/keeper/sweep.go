package keeper

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

// Match says whose processes to sweep: all of a user, or all that were started
// with a run's marker and their descendants. Exactly one is set.
type Match struct {
	UID    uint32
	Marker string // a run's id
}

// Sweep ends every process that matches, without a keeper: SIGTERM, SIGKILL
// after grace. It returns how many there were, and an error when some are left.
// A user can be swept only by root, and must not be root or GuardUID.
func Sweep(ctx context.Context, m Match, grace time.Duration) (killed int, err error) {
	e := End{Signal: syscall.SIGTERM, Grace: grace}
	switch {
	case m.UID == 0 && m.Marker == "", m.UID != 0 && m.Marker != "":
		return 0, fmt.Errorf("sweep: either a user or a marker: %w", town.ErrInvalid)
	case m.Marker != "":
		if err := town.CheckID(m.Marker); err != nil {
			return 0, fmt.Errorf("sweep marker %q: %w", m.Marker, err)
		}
		return chase(ctx, newTreePack(m.Marker, 0), e)
	case m.UID == GuardUID || m.UID == uint32(os.Getuid()) || unix.Geteuid() != 0:
		return 0, fmt.Errorf("sweep user %d: only root can, and neither itself nor user %d: %w", m.UID, GuardUID, town.ErrInvalid)
	}
	return chase(ctx, userPack{m.UID, signalUser}, e)
}

// chase ends a pack and returns how many processes it saw of it.
func chase(ctx context.Context, p pack, e End) (int, error) {
	h := &hunt{pack: p}
	h.ask(time.Now(), e)
	seen := map[int]bool{}
	for h.phase != phaseGone {
		t, err := newTable(p.needs())
		if err != nil {
			return len(seen), err
		}
		for _, found := range p.find(t) {
			seen[found.PID] = true
		}
		next, err := h.step(t, time.Now())
		if err != nil {
			return len(seen), err
		}
		pause(ctx, max(minScanGap, time.Until(next)))
		if err := ctx.Err(); err != nil {
			return len(seen), fmt.Errorf("sweep: %w", err)
		}
	}
	if len(h.survivors) > 0 {
		return len(seen), fmt.Errorf("sweep: processes %d outlived SIGKILL: %w", h.survivors, town.ErrUnavailable)
	}
	return len(seen), nil
}
