package townhall

import (
	"townd/api"
	"townd/api/wire"
	"townd/town"
)

func (f *face) status(c *request) (any, error) { return found(f.hall.Status(c.Context())) }

func (f *face) settings(c *request, req api.TownSettings) (any, error) {
	return found(f.hall.Set(c.Context(), c.caller, Settings{Paused: req.Paused, MinQuota: req.MinQuota}))
}

func (f *face) rigs(c *request) (any, error) {
	rigs, err := f.hall.Rigs(c.Context())
	return api.TownRigList{Rigs: list(rigs)}, err
}

func (f *face) putRig(c *request, req town.RigSettings) (any, error) {
	rig, created, err := f.hall.PutRig(c.Context(), c.caller, c.ids["rigId"], req)
	return answerMade(rig, created, err)
}

func (f *face) rig(c *request) (any, error) { return found(f.hall.Rig(c.Context(), c.ids["rigId"])) }

func (f *face) deleteRig(c *request) (any, error) {
	return api.DeleteResponse{Deleted: true}, f.hall.DeleteRig(c.Context(), c.caller, c.ids["rigId"])
}

func (f *face) createBead(c *request, req town.BeadRequest) (any, error) {
	bead, created, err := f.hall.CreateBead(c.Context(), c.caller, c.ids["rigId"], req)
	return answerMade(bead, created, err)
}

func (f *face) beads(c *request) (any, error) {
	var q BeadQuery
	err := c.texts(map[string]*string{
		"rig": &q.RigID, "label": &q.Label, "convoy": &q.ConvoyID, "agent": &q.AgentID, "q": &q.Text, "after": &q.After,
	})
	if err != nil {
		return nil, err
	}
	q.Status, err = choice(c, "status", town.BeadOpen, town.BeadInProgress, town.BeadInReview, town.BeadClosed, town.BeadFailed)
	if err != nil {
		return nil, err
	}
	if q.Type, err = choice(c, "type", town.BeadTypes()...); err != nil {
		return nil, err
	}
	if q.Limit, err = c.limit(500); err != nil {
		return nil, err
	}
	beads, next, err := f.hall.Beads(c.Context(), q)
	return api.BeadList{Beads: list(beads), Next: next}, err
}

// defaultLimit is how long a page is that is not asked for otherwise.
const defaultLimit = 100

func (c *request) limit(most int64) (int, error) {
	n, err := c.params.Number("limit", 1, most, defaultLimit)
	return int(n), err
}

func (f *face) bead(c *request) (any, error) {
	return found(f.hall.Bead(c.Context(), c.ids["beadId"]))
}

func (f *face) patchBead(c *request, req town.BeadPatch) (any, error) {
	return found(f.hall.PatchBead(c.Context(), c.caller, c.ids["beadId"], req))
}

func (f *face) retryBead(c *request, req api.ReasonRequest) (any, error) {
	return found(f.hall.RetryBead(c.Context(), c.caller, c.ids["beadId"], req.Reason))
}

func (f *face) closeBead(c *request, req api.CloseRequest) (any, error) {
	return found(f.hall.CloseBead(c.Context(), c.caller, c.ids["beadId"], CloseRequest(req)))
}

func (f *face) notes(c *request) (any, error) {
	notes, err := f.hall.Notes(c.Context(), c.ids["beadId"])
	return api.NoteList{Notes: list(notes)}, err
}

func (f *face) addNote(c *request, req api.NoteRequest) (any, error) {
	note, err := f.hall.AddNote(c.Context(), c.caller, c.ids["beadId"], req.Text, req.Kind)
	return answerMade(note, true, err)
}

func (f *face) convoys(c *request) (any, error) {
	rig, err := c.params.One("rig")
	if err != nil {
		return nil, err
	}
	convoys, err := f.hall.Convoys(c.Context(), rig)
	return api.ConvoyList{Convoys: list(convoys)}, err
}

func (f *face) createConvoy(c *request, req town.ConvoyRequest) (any, error) {
	convoy, err := f.hall.CreateConvoy(c.Context(), c.caller, req)
	return answerMade(convoy, true, err)
}

func (f *face) convoy(c *request) (any, error) {
	return found(f.hall.Convoy(c.Context(), c.ids["convoyId"]))
}

func (f *face) startConvoy(c *request) (any, error) {
	return found(f.hall.StartConvoy(c.Context(), c.caller, c.ids["convoyId"]))
}

func (f *face) closeConvoy(c *request, req api.ReasonRequest) (any, error) {
	return found(f.hall.CloseConvoy(c.Context(), c.caller, c.ids["convoyId"], req.Reason))
}

func (f *face) addToConvoy(c *request, req api.ConvoyBeadRequest) (any, error) {
	if err := town.CheckID(req.BeadID); err != nil {
		return nil, wire.BadBody("beadId", "must be the id of a bead")
	}
	return found(f.hall.AddToConvoy(c.Context(), c.caller, c.ids["convoyId"], req.BeadID))
}
