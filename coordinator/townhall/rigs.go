package townhall

import (
	"context"

	"townd/town"
)

// PutRig makes or changes a rig; created tells which. Variables of envVars that
// are given with an empty value keep the value that they have.
func (h *Hall) PutRig(ctx context.Context, c Caller, rigID string, set town.RigSettings) (rig town.Rig, created bool, err error) {
	return town.Rig{}, false, errNotYet
}

// Rigs returns every rig by id. Values of envVars are "".
func (h *Hall) Rigs(ctx context.Context) ([]town.Rig, error) { return nil, errNotYet }

// Rig returns one rig. Values of envVars are "".
func (h *Hall) Rig(ctx context.Context, rigID string) (town.Rig, error) {
	return town.Rig{}, errNotYet
}

// DeleteRig forgets a rig with its beads. It returns town.ErrConflict while one is
// in progress or in review.
func (h *Hall) DeleteRig(ctx context.Context, c Caller, rigID string) error { return errNotYet }

// rigWithSecrets returns a rig with the values of its envVars, for starts.
func (h *Hall) rigWithSecrets(ctx context.Context, rigID string) (town.Rig, error) {
	return town.Rig{}, errNotYet
}
