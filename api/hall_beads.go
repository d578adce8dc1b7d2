package api

import (
	"context"
	"net/http"
	"net/url"

	"townd/town"
)

// CreateBead makes a bead; created is false when there was one with its dedupeKey,
// which is returned instead.
func (h *HallClient) CreateBead(ctx context.Context, rigID string, req town.BeadRequest) (bead town.Bead, created bool, err error) {
	bead, status, err := ask[town.Bead](ctx, h, http.MethodPost, segment("rigs", rigID, "/beads"), nil, req)
	return bead, status == http.StatusCreated, err
}

// BeadList is the body of GET /beads.
type BeadList struct {
	Beads []town.Bead `json:"beads"`
	Next  string      `json:"next,omitempty"`
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
	Limit    int    // the coordinator's default when 0, at most 500
}

func (q BeadQuery) values() url.Values {
	return filter(map[string]string{
		"rig": q.RigID, "status": string(q.Status), "type": string(q.Type), "label": q.Label, "convoy": q.ConvoyID, "agent": q.AgentID,
		"q": q.Text, "after": q.After, "limit": positive(q.Limit),
	})
}

// Beads returns a page of beads, newest first.
func (h *HallClient) Beads(ctx context.Context, q BeadQuery) (BeadList, error) {
	return get[BeadList](ctx, h, "/beads", q.values())
}

// Bead returns one bead.
func (h *HallClient) Bead(ctx context.Context, id string) (town.Bead, error) {
	return get[town.Bead](ctx, h, segment("beads", id, ""), nil)
}

// PatchBead changes what is set in p.
func (h *HallClient) PatchBead(ctx context.Context, id string, p town.BeadPatch) (town.Bead, error) {
	out, _, err := ask[town.Bead](ctx, h, http.MethodPatch, segment("beads", id, ""), nil, p)
	return out, err
}

// RetryBead lets a bead begin anew.
func (h *HallClient) RetryBead(ctx context.Context, id, reason string) (town.Bead, error) {
	return post[town.Bead](ctx, h, segment("beads", id, "/retry"), ReasonRequest{reason})
}

// CloseRequest closes a bead.
type CloseRequest struct {
	Reason string `json:"reason,omitempty"`
	Epoch  int64  `json:"epoch,omitempty"` // of an agent's lease, when it closes its own bead without changes
}

// CloseBead closes a bead.
func (h *HallClient) CloseBead(ctx context.Context, id string, req CloseRequest) (town.Bead, error) {
	return post[town.Bead](ctx, h, segment("beads", id, "/close"), req)
}

// NoteList is the body of GET /beads/{id}/notes.
type NoteList struct {
	Notes []town.Note `json:"notes"`
}

// NoteRequest writes something down about a bead. Kind is "note" when empty.
type NoteRequest struct {
	Text string `json:"text"`
	Kind string `json:"kind,omitempty"`
}

// Notes returns what was written down about a bead, oldest first.
func (h *HallClient) Notes(ctx context.Context, beadID string) ([]town.Note, error) {
	out, err := get[NoteList](ctx, h, segment("beads", beadID, "/notes"), nil)
	return out.Notes, err
}

// AddNote writes something down about a bead.
func (h *HallClient) AddNote(ctx context.Context, beadID string, req NoteRequest) (town.Note, error) {
	return post[town.Note](ctx, h, segment("beads", beadID, "/notes"), req)
}

// ConvoyList is the body of GET /convoys.
type ConvoyList struct {
	Convoys []town.Convoy `json:"convoys"`
}

// ConvoyMade is a convoy with the beads that were made for it, in the order of its tasks.
type ConvoyMade struct {
	Convoy town.Convoy `json:"convoy"`
	Beads  []town.Bead `json:"beads"`
}

// ConvoyBeadRequest puts a bead into a convoy.
type ConvoyBeadRequest struct {
	BeadID string `json:"beadId"`
}

// CreateConvoy makes a convoy and its beads.
func (h *HallClient) CreateConvoy(ctx context.Context, req town.ConvoyRequest) (ConvoyMade, error) {
	return post[ConvoyMade](ctx, h, "/convoys", req)
}

// Convoys returns every convoy of a rig (of all rigs when rigID is ""), newest first.
func (h *HallClient) Convoys(ctx context.Context, rigID string) ([]town.Convoy, error) {
	out, err := get[ConvoyList](ctx, h, "/convoys", filter(map[string]string{"rig": rigID}))
	return out.Convoys, err
}

// Convoy returns one convoy.
func (h *HallClient) Convoy(ctx context.Context, id string) (town.Convoy, error) {
	return get[town.Convoy](ctx, h, segment("convoys", id, ""), nil)
}

// StartConvoy lets the beads of a staged convoy be taken.
func (h *HallClient) StartConvoy(ctx context.Context, id string) (town.Convoy, error) {
	return post[town.Convoy](ctx, h, segment("convoys", id, "/start"), nil)
}

// CloseConvoy closes a convoy and those of its beads that have not ended.
func (h *HallClient) CloseConvoy(ctx context.Context, id, reason string) (town.Convoy, error) {
	return post[town.Convoy](ctx, h, segment("convoys", id, "/close"), ReasonRequest{reason})
}

// AddToConvoy puts a bead into a convoy.
func (h *HallClient) AddToConvoy(ctx context.Context, id, beadID string) (town.Convoy, error) {
	return post[town.Convoy](ctx, h, segment("convoys", id, "/beads"), ConvoyBeadRequest{beadID})
}
