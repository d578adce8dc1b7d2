package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"townd/api"
	"townd/town"
)

// Workers is what the desk asks of who owns the agents' lives. A capability of no
// living agent is town.ErrUnauthorized. Its methods are called concurrently.
type Workers interface {
	// Caller returns the agent whose capability it is.
	Caller(capability string) (town.Agent, error)
	Report(ctx context.Context, capability string, r town.Report) error
	// HandOver looks at the agent's work, and pushes its branch when all is in commits.
	HandOver(ctx context.Context, capability string) (town.HandOver, error)
	// SaveWork saves the agent's worktree as it is.
	SaveWork(ctx context.Context, capability string) (town.CheckpointData, error)
}

// DeskConfig is what a Desk needs. Outbox and Introduce may be nil.
type DeskConfig struct {
	Workers Workers
	Hall    *api.HallClient
	Outbox  Outbox // nil: what the coordinator cannot be told at once is an error
	Log     *slog.Logger

	// Introduce returns once the coordinator knows of an agent's run; news is false
	// when it did before. nil: it always does.
	Introduce func(ctx context.Context, runID string) (news bool, err error)
}

// Desk carries out the calls of the town's tools. Who calls is known by the
// capability alone: an agent acts as itself, with the tools of its role. It is safe
// for concurrent use.
type Desk struct {
	cfg DeskConfig

	mu     sync.Mutex
	warned map[string]string // by agent: the uncommitted files that a hand-over was refused for
}

// NewDesk returns a desk.
func NewDesk(c DeskConfig) *Desk { return &Desk{cfg: c, warned: make(map[string]string)} }

// Tool describes a tool to an agent's CLI.
type Tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"inputSchema"`
}

// Call is a call of a tool.
type Call struct {
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments,omitempty"` // an object
	CallID    string          `json:"callId"`              // the same for a call that is made again; an id of at most 64 bytes
}

// Result is what a tool answers.
type Result struct {
	Content []Content `json:"content"`
	IsError bool      `json:"isError,omitempty"`
	Pending bool      `json:"pending,omitempty"` // nothing yet: the call is to be made again, with its id
}

// Content is a piece of a Result, as MCP has it.
type Content struct {
	Type string `json:"type"` // "text"
	Text string `json:"text"`
}

// Text returns all of a result's text.
func (r *Result) Text() string {
	parts := make([]string, len(r.Content))
	for i, c := range r.Content {
		parts[i] = c.Text
	}
	return strings.Join(parts, "\n")
}

// Tools returns the tools of the agent with this capability.
func (d *Desk) Tools(capability string) ([]Tool, error) {
	agent, err := d.cfg.Workers.Caller(capability)
	if err != nil {
		return nil, err
	}
	list := []Tool{}
	for _, t := range table {
		if t.allowed(agent.Role) {
			list = append(list, Tool{t.name, t.about, t.schemaJSON})
		}
	}
	return list, nil
}

// call is a call of a tool under way.
type call struct {
	desk       *Desk
	capability string
	agent      town.Agent // who calls
	id         string
	calls      int // made of the coordinator
	marks      marks
}

// answer is what a tool has to say: a text of the town's own, and facts, in which
// texts are marked.
type answer struct {
	text    string
	data    any
	longest int // characters that a text in data is cut after; 0 for all
	pending bool
}

// refusal is an error of a tool that its agent can act on.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// Unwrap makes a refusal an ErrInvalid for callers that are no agents' CLIs.
func (r *refusal) Unwrap() error { return town.ErrInvalid }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// Do carries out a call. What is wrong with it, and what the coordinator refuses, is
// a Result for the agent to read. It returns ErrUnauthorized for a capability of no
// living agent, and ErrUnavailable or the cause of ctx when this server ends: the
// same call may then be made again.
func (d *Desk) Do(ctx context.Context, capability string, req Call) (Result, error) {
	agent, err := d.cfg.Workers.Caller(capability)
	if err != nil {
		return Result{}, err
	}
	c := &call{desk: d, capability: capability, agent: agent, id: req.CallID, marks: newMarks()}
	if town.CheckID(c.id) != nil || len(c.id) > maxName {
		c.id = town.NewID(time.Now())
	}
	start := time.Now()
	ans, err := c.run(ctx, req)
	if c.unknown(ctx, err) {
		c.calls = 0 // the same calls, by their keys
		ans, err = c.run(ctx, req)
	}
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("tool %s: %w", req.Tool, context.Cause(ctx))
	}
	_, ofHall := errors.AsType[*api.Error](err)
	if !ofHall && (errors.Is(err, town.ErrUnauthorized) || errors.Is(err, town.ErrUnavailable)) {
		return Result{}, err // the agent ended meanwhile, or this server ends
	}
	d.cfg.Log.Info("tool", "agent", agent.AgentID, "tool", cut(req.Tool, maxName), "ok", err == nil, "took", time.Since(start))
	if err != nil {
		return Result{Content: texts(c.explain(err)), IsError: true}, nil
	}
	return c.result(ans), nil
}

// unknown reports whether err is of a coordinator that had not heard of this agent
// yet, and now has: agents are faster than heartbeats.
func (c *call) unknown(ctx context.Context, err error) bool {
	introduce := c.desk.cfg.Introduce
	if _, ofHall := errors.AsType[*api.Error](err); !ofHall || introduce == nil || !errors.Is(err, town.ErrForbidden) && !errors.Is(err, town.ErrNotFound) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, tellPatience)
	defer cancel()
	news, err := introduce(ctx, c.agent.RunID)
	return err == nil && news
}

// maxName bounds the id of a call, and a tool's name that an agent made up where it
// is repeated, in bytes.
const maxName = 64

func (c *call) run(ctx context.Context, req Call) (answer, error) {
	i := slices.IndexFunc(table, func(t *entry) bool { return t.name == req.Tool })
	if i < 0 || !table[i].allowed(c.agent.Role) {
		return answer{}, refuse("You have no tool %.64q. As %s you have: %s.", req.Tool, c.agent.Role, strings.Join(Names(c.agent.Role), ", "))
	}
	t := table[i]
	given, err := decode(req.Arguments)
	if err != nil {
		return answer{}, refuse("The arguments of %s must be a JSON object: %v.", t.name, err)
	}
	looked := check(t.schema, given)
	if len(looked.wrong) > 0 {
		return answer{}, refuse("%s was not called: %s. Correct the arguments and call it again.", t.name, list(looked.wrong))
	}
	ans, err := t.do(ctx, c, given)
	if unknown := looked.unknown; err == nil && len(unknown) > 0 {
		ans.text += " Left out, for there is no such argument: " + strings.Join(unknown[:min(len(unknown), maxIssues)], ", ") + "."
	}
	return ans, err
}

// decode reads arguments; none are an empty object.
func decode(raw json.RawMessage) (given map[string]any, err error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err = dec.Decode(&given); err != nil {
		return nil, err
	}
	return given, nil
}

// maxIssues bounds what of wrong arguments is told.
const maxIssues = 8

func list(wrong []town.Issue) string {
	parts := []string{}
	for _, is := range wrong[:min(len(wrong), maxIssues)] {
		parts = append(parts, is.Path+" "+is.Message)
	}
	return strings.Join(parts, "; ")
}

// explain turns what went wrong into what the agent can do about it.
func (c *call) explain(err error) string {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.text
	}
	said := c.marks.text(cut(err.Error(), maxSaid))
	switch {
	case errors.Is(err, town.ErrNotFound):
		return "There is no such thing in this town: " + said + ". Use only ids that a tool or a message gave you."
	case errors.Is(err, town.ErrForbidden):
		return "Your role does not allow this: " + said + ". Leave it, or ask the mayor by gt_mail_send."
	case errors.Is(err, town.ErrConflict), errors.Is(err, town.ErrGone):
		return "This cannot be done as things stand: " + said + ". Look with gt_prime or gt_bead_status how they stand; do not simply call again."
	case errors.Is(err, town.ErrInvalid), errors.Is(err, town.ErrTooLarge):
		return "The coordinator refuses these arguments: " + said + ". Correct them and call again."
	}
	return "The coordinator does not answer now: " + said + ". Nothing was changed, as far as is known. Go on with what does not need it, and call again in a minute."
}

// maxSaid bounds what of an error is repeated, in characters.
const maxSaid = 2000

// result puts an answer into words and JSON. The JSON is text, not MCP's structured
// content: some CLIs show their model only one of the two.
func (c *call) result(a answer) Result {
	r := Result{Pending: a.pending}
	if a.data == nil {
		r.Content = texts(a.text)
		return r
	}
	longest := a.longest
	if longest == 0 {
		longest = maxText
	}
	r.Content = texts(a.text+" "+c.marks.legend(), string(c.marks.json(a.data, longest)))
	return r
}

func texts(parts ...string) []Content {
	all := make([]Content, len(parts))
	for i, text := range parts {
		all[i] = Content{"text", text}
	}
	return all
}
