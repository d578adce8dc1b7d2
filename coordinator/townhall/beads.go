package townhall

import (
	"context"

	"townd/town"
)

// CreateBead makes a bead; created is false when there was one with its
// dedupeKey, which is returned instead.
func (h *Hall) CreateBead(ctx context.Context, c Caller, rigID string, req town.BeadRequest) (bead town.Bead, created bool, err error) {
	return town.Bead{}, false, errNotYet
}

// BeadQuery selects beads; empty fields do not restrict.
type BeadQuery struct {
	RigID    string
	Status   town.BeadStatus
	Type     town.BeadType
	Label    string
	ConvoyID string
	AgentID  string
	Text     string // in title, body or id, whatever its case
	After    string // the next of the page before
	Limit    int    // 1 to 500; 100 when 0
}

// Beads returns a page of beads, newest first; next is "" on the last one.
func (h *Hall) Beads(ctx context.Context, q BeadQuery) (beads []town.Bead, next string, err error) {
	return nil, "", errNotYet
}

// Bead returns one bead.
func (h *Hall) Bead(ctx context.Context, id string) (town.Bead, error) {
	return town.Bead{}, errNotYet
}

// PatchBead changes what is set in p.
func (h *Hall) PatchBead(ctx context.Context, c Caller, id string, p town.BeadPatch) (town.Bead, error) {
	return town.Bead{}, errNotYet
}

// RetryBead lets a bead begin anew.
func (h *Hall) RetryBead(ctx context.Context, c Caller, id, reason string) (town.Bead, error) {
	return town.Bead{}, errNotYet
}

// CloseRequest closes a bead.
type CloseRequest struct {
	Reason string `json:"reason,omitempty"`
	Epoch  int64  `json:"epoch,omitempty"` // of an agent's lease, when it closes its own bead without changes
}

// CloseBead closes a bead: for a person by close, for the agent that has it by
// finish (there was nothing to change).
func (h *Hall) CloseBead(ctx context.Context, c Caller, id string, req CloseRequest) (town.Bead, error) {
	return town.Bead{}, errNotYet
}

// Notes returns what was written down about a bead, oldest first.
func (h *Hall) Notes(ctx context.Context, beadID string) ([]town.Note, error) {
	return nil, errNotYet
}

// AddNote writes something down about a bead. kind is "note" when empty.
func (h *Hall) AddNote(ctx context.Context, c Caller, beadID, text, kind string) (town.Note, error) {
	return town.Note{}, errNotYet
}
