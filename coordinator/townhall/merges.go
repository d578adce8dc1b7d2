package townhall

import (
	"context"
	"time"

	"townd/town"
)

// MergeQuery selects merges; empty fields do not restrict.
type MergeQuery struct {
	RigID  string
	Status town.MergeStatus
}

// Merges returns merges in the order they were made, at most the newest 500.
func (h *Hall) Merges(ctx context.Context, q MergeQuery) ([]town.Merge, error) {
	return nil, errNotYet
}

// MergeCompleted takes the outcome of a merge that the container was asked for.
// One of a merge that has ended changes nothing.
func (h *Hall) MergeCompleted(ctx context.Context, rigID, entryID string, out town.MergeOutcome) error {
	return errNotYet
}

// enqueueMerge makes the merge of a bead's branch, or sets the one that waits to it.
func enqueueMerge(tx *tx, bead town.Bead) (town.Merge, error) { return town.Merge{}, errNotYet }

// nextMerge returns the first merge of a rig that waits and whose time has come.
// ok is false when there is none, or one of the rig is under way.
func (h *Hall) nextMerge(ctx context.Context, rigID string) (m town.Merge, ok bool, err error) {
	return town.Merge{}, false, errNotYet
}

// setMerge moves a merge that has not ended to another status (reviewing, merging,
// pull_request, or back to waiting with a message and a time); merging counts an attempt.
func setMerge(tx *tx, id string, status town.MergeStatus, message string, notBefore *time.Time) (town.Merge, error) {
	return town.Merge{}, errNotYet
}
