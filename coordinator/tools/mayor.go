package tools

import (
	"context"
	"fmt"

	"townd/api"
	"townd/town"
)

func mayorTools() []*entry {
	return []*entry{
		tool("gt_sling", mayors, "File a piece of work for a polecat of a rig: one takes it as soon as it may.",
			map[string]rule{"title": length(3, 200), "type": workTypes, "priority": oneOf(town.Priorities()...), "labels": items(0, 20), "depends_on_ids": items(0, 50)}, sling),
		tool("gt_sling_batch", mayors, "The same for several pieces that make one thing, a convoy. Name what each needs by the numbers of tasks, from 0, or say parallel.",
			map[string]rule{
				"title": length(3, 200), "merge_mode": oneOf(town.LandAtEnd, town.LandOneByOne), "tasks": items(1, 100),
				"tasks.title": length(3, 200), "tasks.type": workTypes, "tasks.priority": oneOf(town.Priorities()...),
				"tasks.labels": items(0, 20), "tasks.depends_on": items(0, 100),
			}, slingBatch),
		tool("gt_list_rigs", mayors, "The projects of the town.", nil, listRigs),
		tool("gt_list_beads", mayors, "Pieces of work and how they stand, newest first.", map[string]rule{
			"status": oneOf(town.BeadOpen, town.BeadInProgress, town.BeadInReview, town.BeadClosed, town.BeadFailed),
			"type":   oneOf(town.BeadTypes()...), "q": length(0, 200), "label": length(0, 100), "limit": between(1, 100),
		}, listBeads),
		tool("gt_list_agents", mayors, "Agents and what they do.", nil, listAgents),
		tool("gt_bead_update", mayors, "Correct a bead: text, type, priority, labels, what it needs, or hold it. Only what you give is changed.", map[string]rule{
			"title": length(3, 200), "type": workTypes, "priority": oneOf(town.Priorities()...), "labels": items(0, 20), "depends_on_ids": items(0, 50), "hold": length(0, 500),
		}, beadUpdate),
		tool("gt_bead_reassign", mayors, "Take a bead from its agent, which ends, and have another begin afresh.", map[string]rule{"reason": length(5, 1000)}, beadReassign),
		tool("gt_agent_stop", mayors, "End an agent whose work is not wanted any more; its bead is held.", map[string]rule{"reason": length(5, 1000)}, agentStop),
		tool("gt_escalation_acknowledge", mayors, "Say that you have taken up a call for help; with an answer, its agent gets that.", map[string]rule{"answer": length(0, 8000)}, escalationAcknowledge),
		tool("gt_convoy_list", mayors, "Convoys and how far they are.", nil, convoyList),
		tool("gt_convoy_get", mayors, "One convoy, with its beads.", nil, convoyGet),
		tool("gt_convoy_start", mayors, "Start a staged convoy, after a person's word.", nil, convoyStart),
		tool("gt_convoy_close", mayors, "Close a convoy whose rest is not wanted any more.", map[string]rule{"reason": length(5, 1000)}, convoyClose),
		tool("gt_convoy_add", mayors, "Add a bead to a convoy.", nil, convoyAdd),
	}
}

type slingArgs struct {
	RigID string `json:"rig_id" jsonschema:"id of the project, as gt_list_rigs tells it"`
	newBead
}

func sling(ctx context.Context, c *call, a slingArgs) (answer, error) {
	return c.file(ctx, a.RigID, a.newBead, "Filed as bead %s; a polecat takes it as soon as it may.")
}

type task struct {
	Title     string        `json:"title" jsonschema:"the outcome, in one line"`
	Body      string        `json:"body,omitempty" jsonschema:"what is wanted, where it is, what must stay as it is, how to check it"`
	Type      town.BeadType `json:"type,omitempty" jsonschema:"what it is; issue when absent"`
	Priority  town.Priority `json:"priority,omitempty" jsonschema:"how much it presses; medium when absent"`
	Labels    []string      `json:"labels,omitempty" jsonschema:"words to find it by"`
	DependsOn []int         `json:"depends_on,omitempty" jsonschema:"numbers of the tasks of this call, from 0, that must be closed before"`
}

type batchArgs struct {
	RigID    string          `json:"rig_id" jsonschema:"id of the project, as gt_list_rigs tells it"`
	Title    string          `json:"title" jsonschema:"what the whole is, in one line"`
	Tasks    []task          `json:"tasks" jsonschema:"the pieces"`
	Mode     town.ConvoyMode `json:"merge_mode,omitempty" jsonschema:"review-and-merge: each piece as it is approved (when absent); review-then-land: all at the end"`
	Parallel bool            `json:"parallel,omitempty" jsonschema:"true when no piece needs another: then all may run side by side"`
	Staged   bool            `json:"staged,omitempty" jsonschema:"true to have it wait for a person's word"`
}

func slingBatch(ctx context.Context, c *call, a batchArgs) (answer, error) {
	req := town.ConvoyRequest{RigID: a.RigID, Title: a.Title, Mode: a.Mode, Staged: a.Staged, Parallel: a.Parallel, Source: "agent:" + c.agent.AgentID}
	needs := false
	for i, t := range a.Tasks {
		for _, n := range t.DependsOn {
			if n < 0 || n >= len(a.Tasks) || n == i {
				return answer{}, refuse("Task %d cannot need task %d: the tasks of this call are 0 to %d, and none needs itself.", i, n, len(a.Tasks)-1)
			}
		}
		needs = needs || len(t.DependsOn) > 0
		req.Tasks = append(req.Tasks, town.ConvoyTask{Title: t.Title, Body: t.Body, Type: t.Type, Priority: t.Priority, Labels: t.Labels, DependsOn: t.DependsOn})
	}
	if len(a.Tasks) > 1 && !needs && !a.Parallel {
		return answer{}, refuse("None of these %d tasks names what it needs. Name it with depends_on, or say parallel true when they are truly independent: "+
			"two changes of one file are not, an endpoint and its caller are not.", len(a.Tasks))
	}
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	got, err := hall.CreateConvoy(ctx, req)
	if err != nil {
		return answer{}, err
	}
	text := fmt.Sprintf("Convoy %s with %d beads.", got.Convoy.ID, len(got.Beads))
	if a.Staged {
		text += " It waits for a person's word: show them the plan."
	}
	return answer{text: text, data: map[string]any{"convoy": got.Convoy, "beads": briefs(got.Beads)}}, nil
}

func listRigs(ctx context.Context, c *call, _ none) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	all, err := hall.Rigs(ctx)
	if err != nil {
		return answer{}, err
	}
	type rig struct {
		RigID         string         `json:"rigId"`
		DefaultBranch string         `json:"defaultBranch"`
		CLI           string         `json:"cli"`
		Model         string         `json:"model"`
		MaxAgents     int            `json:"maxAgents"`
		Paused        bool           `json:"isPaused"`
		MergeMode     town.MergeMode `json:"mergeMode"`
	}
	rigs := []rig{}
	for _, r := range all {
		rigs = append(rigs, rig{r.RigID, r.DefaultBranch, r.CLI, r.Model, r.MaxAgents, r.Paused, r.Merge.Mode})
	}
	return answer{text: fmt.Sprintf("The town has %d rigs.", len(rigs)), data: map[string]any{"rigs": rigs}}, nil
}

type listArgs struct {
	RigID    string `json:"rig_id,omitempty" jsonschema:"of this project only"`
	Status   string `json:"status,omitempty" jsonschema:"in this state only"`
	Type     string `json:"type,omitempty" jsonschema:"of this type only"`
	Label    string `json:"label,omitempty" jsonschema:"with this label only"`
	ConvoyID string `json:"convoy_id,omitempty" jsonschema:"of this convoy only"`
	AgentID  string `json:"agent_id,omitempty" jsonschema:"of this agent only"`
	Query    string `json:"q,omitempty" jsonschema:"with these words only"`
	After    string `json:"after,omitempty" jsonschema:"the next of the answer before, to go on"`
	Limit    int    `json:"limit,omitempty" jsonschema:"how many, at most 100; 30 when absent"`
}

// defaultList is how many beads are listed at once.
const defaultList = 30

func listBeads(ctx context.Context, c *call, a listArgs) (answer, error) {
	if a.Limit == 0 {
		a.Limit = defaultList
	}
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	got, err := hall.Beads(ctx, api.BeadQuery{
		RigID: a.RigID, Status: town.BeadStatus(a.Status), Type: town.BeadType(a.Type), Label: a.Label, ConvoyID: a.ConvoyID, AgentID: a.AgentID,
		Text: a.Query, After: a.After, Limit: a.Limit,
	})
	if err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("%d beads.", len(got.Beads)), data: map[string]any{"beads": briefs(got.Beads), "next": got.Next}, longest: maxInList}, nil
}

// maxInList is how much of each text a list shows, in characters.
const maxInList = 500

func listAgents(ctx context.Context, c *call, _ none) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	all, err := hall.Agents(ctx)
	if err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("%d agents.", len(all)), data: api.TownAgentList{Agents: all}, longest: maxInList}, nil
}

type updateArgs struct {
	BeadID    string         `json:"bead_id" jsonschema:"id of the bead"`
	Title     *string        `json:"title,omitempty" jsonschema:"the outcome, in one line"`
	Body      *string        `json:"body,omitempty" jsonschema:"its text, as a whole"`
	Type      *town.BeadType `json:"type,omitempty" jsonschema:"what it is"`
	Priority  *town.Priority `json:"priority,omitempty" jsonschema:"how much it presses"`
	Labels    *[]string      `json:"labels,omitempty" jsonschema:"all its labels"`
	DependsOn *[]string      `json:"depends_on_ids,omitempty" jsonschema:"ids of all beads that must be closed before"`
	Hold      *string        `json:"hold,omitempty" jsonschema:"why nobody may take it; an empty text lets it go"`
}

func beadUpdate(ctx context.Context, c *call, a updateArgs) (answer, error) {
	patch := town.BeadPatch{Title: a.Title, Body: a.Body, Type: a.Type, Priority: a.Priority, Labels: a.Labels, DependsOn: a.DependsOn, Hold: a.Hold}
	if patch == (town.BeadPatch{}) {
		return answer{}, refuse("Say what is to be changed: title, body, type, priority, labels, depends_on_ids or hold.")
	}
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	bead, err := hall.PatchBead(ctx, a.BeadID, patch)
	if err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("Bead %s is changed.", bead.ID), data: briefs([]town.Bead{bead})[0]}, nil
}

type reassignArgs struct {
	BeadID string `json:"bead_id" jsonschema:"id of the bead"`
	Reason string `json:"reason" jsonschema:"why"`
}

// beadReassign holds the bead, so that its agent has it no more, ends that, and
// lets the bead go.
func beadReassign(ctx context.Context, c *call, a reassignArgs) (answer, error) {
	hall, looking, end := c.ask(ctx, 0)
	defer end()
	bead, err := hall.Bead(looking, a.BeadID)
	if err != nil {
		return answer{}, err
	}
	if bead.Status == town.BeadInProgress {
		if _, err := hall.PatchBead(looking, a.BeadID, town.BeadPatch{Hold: &a.Reason}); err != nil {
			return answer{}, err
		}
		if err := c.stop(ctx, bead.AgentID, a.Reason); err != nil {
			return answer{}, err
		}
	}
	hall, ctx, end = c.ask(ctx, 0)
	defer end()
	if _, err := hall.RetryBead(ctx, a.BeadID, a.Reason); err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("Bead %s was taken from its agent; another begins as soon as it may.", a.BeadID)}, nil
}

// stop has an agent ended.
func (c *call) stop(ctx context.Context, agentID, reason string) error {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	_, err := hall.OrderStop(ctx, agentID, reason)
	return err
}

type stopArgs struct {
	AgentID string `json:"agent_id" jsonschema:"id of the agent"`
	Reason  string `json:"reason" jsonschema:"why"`
}

func agentStop(ctx context.Context, c *call, a stopArgs) (answer, error) {
	if a.AgentID == c.agent.AgentID {
		return answer{}, refuse("This is you. End your turn instead.")
	}
	if err := c.stop(ctx, a.AgentID, a.Reason); err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("Agent %s is told to end.", a.AgentID)}, nil
}

type acknowledgeArgs struct {
	EscalationID string `json:"escalation_id" jsonschema:"id of the call for help"`
	Answer       string `json:"answer,omitempty" jsonschema:"what its agent is to be told"`
	Close        bool   `json:"close,omitempty" jsonschema:"true when nothing more is to be done about it"`
}

func escalationAcknowledge(ctx context.Context, c *call, a acknowledgeArgs) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	take := hall.AcknowledgeEscalation
	if a.Close {
		take = hall.CloseEscalation
	}
	if _, err := take(ctx, a.EscalationID, a.Answer); err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("Call for help %s is taken up.", a.EscalationID)}, nil
}

type convoyArgs struct {
	ConvoyID string `json:"convoy_id" jsonschema:"id of the convoy"`
}

func convoyList(ctx context.Context, c *call, _ none) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	all, err := hall.Convoys(ctx, "")
	if err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("%d convoys.", len(all)), data: api.ConvoyList{Convoys: all}, longest: maxInList}, nil
}

func convoyGet(ctx context.Context, c *call, a convoyArgs) (answer, error) {
	hall, asking, end := c.ask(ctx, 0)
	defer end()
	convoy, err := hall.Convoy(asking, a.ConvoyID)
	if err != nil {
		return answer{}, err
	}
	ans, err := listBeads(ctx, c, listArgs{ConvoyID: a.ConvoyID, Limit: 100})
	if err != nil {
		return answer{}, err
	}
	ans.text = fmt.Sprintf("Convoy %s is %s: %d of %d beads closed, %d failed.", convoy.ID, convoy.Status, convoy.Closed, len(convoy.Beads), convoy.Failed)
	ans.data = map[string]any{"convoy": convoy, "beads": ans.data}
	return ans, nil
}

func convoyStart(ctx context.Context, c *call, a convoyArgs) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	convoy, err := hall.StartConvoy(ctx, a.ConvoyID)
	if err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("Convoy %s is started.", a.ConvoyID), data: convoy, longest: maxInList}, nil
}

type convoyCloseArgs struct {
	ConvoyID string `json:"convoy_id" jsonschema:"id of the convoy"`
	Reason   string `json:"reason" jsonschema:"why"`
}

func convoyClose(ctx context.Context, c *call, a convoyCloseArgs) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	convoy, err := hall.CloseConvoy(ctx, a.ConvoyID, a.Reason)
	if err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("Convoy %s is closed.", a.ConvoyID), data: convoy, longest: maxInList}, nil
}

type addArgs struct {
	ConvoyID string `json:"convoy_id" jsonschema:"id of the convoy"`
	BeadID   string `json:"bead_id" jsonschema:"id of the bead"`
}

func convoyAdd(ctx context.Context, c *call, a addArgs) (answer, error) {
	hall, ctx, end := c.ask(ctx, 0)
	defer end()
	convoy, err := hall.AddToConvoy(ctx, a.ConvoyID, a.BeadID)
	if err != nil {
		return answer{}, err
	}
	return answer{text: fmt.Sprintf("Bead %s belongs to convoy %s.", a.BeadID, a.ConvoyID), data: convoy, longest: maxInList}, nil
}
