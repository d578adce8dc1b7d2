package api_test

import (
	"townd/api"
	"townd/town"
)

// agentEventInput is a town.AgentEvent as a container sends it: without a seq.
type agentEventInput struct {
	AgentID string `json:"agentId"`
	RigID   string `json:"rigId,omitempty"`
	BeadID  string `json:"beadId,omitempty"`
	RunID   string `json:"runId,omitempty"`
	town.Event
}

// hallInputs are those that come in requests only, or mostly.
var hallInputs = []string{
	"RigSettings", "BeadPatch", "Heartbeat", "AgentHeartbeat", "Completion", "MergeOutcome", "OrderResult", "AgentEventBatch", "AgentEventInput", "ConvoyTask",
}

// hallBodies are the bodies of the coordinator's calls by the names of their schemas.
var hallBodies = map[string]any{
	"Ignored": struct {
		Ignored []string `json:"ignored,omitempty"`
	}{},
	"AgentEvent": struct {
		Seq int64 `json:"seq"` // in every answer
		agentEventInput
	}{},
	"AgentEventInput": agentEventInput{},
	"Bead":            town.Bead{}, "Lease": town.Lease{}, "BeadList": api.BeadList{}, "BeadRequest": town.BeadRequest{},
	"BeadPatch": town.BeadPatch{}, "ReasonRequest": api.ReasonRequest{}, "CloseRequest": api.CloseRequest{}, "Note": town.Note{},
	"NoteList": api.NoteList{}, "NoteRequest": api.NoteRequest{}, "Convoy": town.Convoy{}, "ConvoyList": api.ConvoyList{},
	"ConvoyMade": api.ConvoyMade{}, "ConvoyRequest": town.ConvoyRequest{}, "ConvoyTask": town.ConvoyTask{},
	"ConvoyBeadRequest": api.ConvoyBeadRequest{}, "RigSettings": town.RigSettings{}, "TownRig": town.Rig{},
	"TownRigList": api.TownRigList{}, "MergeSettings": town.MergeSettings{}, "GitSettings": town.GitSettings{},
	"TownSettings": api.TownSettings{}, "Standby": town.Standby{}, "TownAgent": town.TownAgent{}, "TownAgentList": api.TownAgentList{}, "Prime": town.Prime{},
	"DoneRequest": town.DoneRequest{}, "DoneAnswer": api.DoneAnswer{}, "BeadAnswer": api.BeadAnswer{},
	"ChangesRequest": api.ChangesRequest{}, "CheckpointRequest": api.CheckpointRequest{}, "SayRequest": api.SayRequest{},
	"AskRequest": town.AskRequest{}, "NudgeRequest": api.NudgeRequest{}, "Nudged": api.Nudged{}, "Ordered": api.Ordered{},
	"CompletedAnswer": api.CompletedAnswer{}, "HeartbeatSeen": api.HeartbeatSeen{}, "Mail": town.Mail{}, "MailList": api.MailList{},
	"MailRequest": town.MailRequest{}, "AckRequest": api.AckRequest{}, "Acked": api.Acked{}, "Escalation": town.Escalation{},
	"EscalationList": api.EscalationList{}, "EscalationRequest": town.EscalationRequest{},
	"EscalationAnswer": api.EscalationAnswer{}, "Question": town.Question{}, "QuestionList": api.QuestionList{},
	"AnswerRequest": api.AnswerRequest{}, "Merge": town.Merge{}, "MergeList": api.MergeList{}, "MergeOutcome": api.OutcomeRequest{},
	"AgentEventBatch": api.AgentEventBatch{}, "Accepted": api.Accepted{},
	"AgentEventPage": api.AgentEventPage{}, "Run": town.Run{}, "RunList": api.RunList{}, "Completion": town.Completion{},
	"HostResources": town.HostResources{}, "OutboxState": town.OutboxState{}, "Heartbeat": town.Heartbeat{},
	"AgentHeartbeat": town.AgentHeartbeat{}, "AgentHeartbeatRequest": api.OldHeartbeat{}, "OrderResult": town.OrderResult{},
	"HeartbeatReply": town.HeartbeatReply{}, "Order": town.Order{}, "TownStatus": town.TownStatus{},
	"InstanceStatus": town.InstanceStatus{},
}
