package coordinator

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"townd/town"
)

// unreachedFor is how long heartbeats fail before the town counts as degraded: one may.
const unreachedFor = 45 * time.Second

// deadLately is how long a report that was refused for good counts as trouble.
const deadLately = 24 * time.Hour

// State is how the link is now.
type State struct {
	InstanceID string
	Epoch      int64     // of this container, 0 before the first heartbeat was answered
	ReachedAt  time.Time // when a heartbeat was answered last, zero for never
	Replaced   bool      // another container has taken over; nothing is reported any more
	Outbox     town.OutboxState
	DeadLately int64    // of Outbox.Dead, within the last day
	Degraded   []string // what is wrong, for people

	Sends           map[int]int64 // requests since Open by status, 0 for no answer
	Heartbeats      int64         // since Open
	HeartbeatsLost  int64         // of them, without a reply
	HeartbeatsTook  time.Duration // all of them together
	OutboxBytes     int64         // pending
	OutboxMaxBytes  int64         // above which events are left out
	OrdersUnderWay  int           // that are being carried out
	LanesRefused    int           // whose first report was refused, and is tried again
	BrokenOutboxes  []string      // files that were moved aside and are still there
	CredentialFault string        // why our credential is refused, "" when it is not
}

// State returns how the link is now.
func (l *Link) State(ctx context.Context) State {
	var st State
	if l.town != nil {
		st.InstanceID = l.instanceID()
	}
	var err error
	st.Outbox, err = l.outbox.state(ctx)
	if err == nil && st.Outbox.Dead > 0 {
		st.DeadLately, err = l.outbox.store.died(ctx, time.Now().Add(-deadLately))
	}
	if err != nil {
		st.Degraded = append(st.Degraded, "the outbox cannot be read: "+err.Error())
	}
	l.outbox.mu.Lock()
	fault := l.outbox.fault
	st.OutboxBytes, st.OutboxMaxBytes = l.outbox.bytes, l.outbox.most
	for _, lane := range l.outbox.sending {
		if lane.refused {
			st.LanesRefused++
		}
	}
	l.outbox.mu.Unlock()
	l.mu.Lock()
	st.Sends, st.CredentialFault = maps.Clone(l.sends), l.trust
	l.mu.Unlock()
	l.orders.mu.Lock()
	st.OrdersUnderWay = len(l.orders.waiting)
	l.orders.mu.Unlock()
	if l.broke { // else no directory is read for each look
		st.BrokenOutboxes = asides(l.cfg.Path)
	}
	h := l.heart
	h.mu.Lock()
	defer h.mu.Unlock()
	st.Epoch, st.ReachedAt, st.Replaced = h.epoch, h.reached, h.replaced
	st.Heartbeats, st.HeartbeatsLost, st.HeartbeatsTook = h.beats, h.failures, h.took
	st.Degraded = append(st.Degraded, l.problems(&st, fault, h.lost, h.why)...)
	return st
}

// problems is what is wrong, in words.
func (l *Link) problems(st *State, fault error, lost time.Time, why string) (all []string) {
	if st.Replaced {
		return []string{"another container has taken over: agents were stopped here, nothing is reported any more"}
	}
	if st.CredentialFault != "" {
		all = append(all, st.CredentialFault+"; reports wait for a new one, see POST /refresh-token")
	} else if !lost.IsZero() && time.Since(lost) > unreachedFor {
		all = append(all, fmt.Sprintf("the coordinator has not answered a heartbeat for %s: %s", time.Since(lost).Round(time.Second), why))
	}
	if fault != nil {
		all = append(all, "the outbox cannot be written: "+fault.Error())
	}
	if st.LanesRefused > 0 {
		all = append(all, fmt.Sprintf("the coordinator refuses the reports of %d agents for now; they are tried again", st.LanesRefused))
	}
	if st.DeadLately > 0 {
		all = append(all, fmt.Sprintf("%d reports were refused for good by the coordinator within a day", st.DeadLately))
	}
	if st.OutboxBytes > st.OutboxMaxBytes {
		all = append(all, "the outbox is larger than it should be: events were left out already, and facts never are")
	}
	for _, name := range st.BrokenOutboxes {
		all = append(all, fmt.Sprintf("a broken outbox was moved aside to %s, reports in it may be lost; remove it when you have looked at it", filepath.Base(name)))
	}
	return all
}
