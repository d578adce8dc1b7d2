package api

import (
	"context"
	"net/http"
	"net/url"

	"townd/town"
)

// SetupRequest is what POST /repos/setup takes.
type SetupRequest struct {
	RigID         string `json:"rigId"`
	GitURL        string `json:"gitUrl"`
	DefaultBranch string `json:"defaultBranch,omitempty"` // the remote knows it
}

// SetupResponse is the body of POST /repos/setup: a rig that is ready.
type SetupResponse struct {
	RigID         string   `json:"rigId"`
	Cloned        bool     `json:"cloned"`            // by this call
	DefaultBranch string   `json:"defaultBranch"`     // of the remote, "" when it names none
	Commit        string   `json:"commit"`            // at its tip, "" in a repository without commits
	Ignored       []string `json:"ignored,omitempty"` // fields of the request the town does not know
}

// SetupRepo clones or fetches a rig's repository.
func (c *Client) SetupRepo(ctx context.Context, req SetupRequest) (SetupResponse, error) {
	var out SetupResponse
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/repos/setup", body: req}, &out)
	return out, err
}

// MergeRequest is what POST /git/merge takes. With an EntryID of the coordinator's
// merge queue it is answered at once; the other ids of the work that is merged are
// taken for older callers' sake.
type MergeRequest struct {
	RigID        string `json:"rigId"`
	GitURL       string `json:"gitUrl,omitempty"` // not needed when the rig has a clone
	Branch       string `json:"branch"`
	TargetBranch string `json:"targetBranch,omitempty"` // the remote's default branch when empty
	Strategy     string `json:"strategy,omitempty"`     // merge, squash or rebase
	Message      string `json:"message,omitempty"`      // of the commit; one is made when empty
	DeleteBranch bool   `json:"deleteBranch,omitempty"` // on the remote, once it is merged
	CreateTarget bool   `json:"createTarget,omitempty"` // at the default branch, when the remote has no targetBranch
	Gates        []Gate `json:"gates,omitempty"`        // run in a checkout of the result before it is pushed

	Mode        string         `json:"mode,omitempty"`        // merge or pull-request; the rig's when empty
	PullRequest *town.Proposal `json:"pullRequest,omitempty"` // in that mode

	TownID  string `json:"townId,omitempty"`
	EntryID string `json:"entryId,omitempty"`
	BeadID  string `json:"beadId,omitempty"`
	AgentID string `json:"agentId,omitempty"`

	// CallbackURL is where the outcome of an EntryID goes, on the coordinator's own host;
	// the coordinator's place for it when empty.
	CallbackURL string `json:"callbackUrl,omitempty"`
}

// MergeAccepted is the body of POST /git/merge for an entry of the coordinator's merge
// queue: the outcome is told to the coordinator.
type MergeAccepted struct {
	Status  string   `json:"status"` // MergeStatusAccepted
	Message string   `json:"message"`
	Ignored []string `json:"ignored,omitempty"` // fields of the request the town does not know
}

// MergeStatusAccepted is the status of a merge that is under way.
const MergeStatusAccepted = "accepted"

// Gate is a command that a merge must pass before it is pushed.
type Gate struct {
	Name           string  `json:"name,omitempty"`
	Command        string  `json:"command"`                  // for sh
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty"` // 600 when 0
}

// MergeResult is the body of POST /git/merge.
type MergeResult struct {
	Status        string       `json:"status"`  // merged, nothing, conflict, race, gates_failed, auth, network, pull_request, closed
	Message       string       `json:"message"` // for people
	Target        string       `json:"target"`  // the branch it went into
	Commit        string       `json:"commit"`  // what the target is at, when merged or nothing
	Head          string       `json:"head"`    // commit of the branch that was looked at
	Base          string       `json:"base"`    // commit of the target that was looked at
	Conflicts     []Conflict   `json:"conflicts"`
	Truncated     bool         `json:"truncated"` // Conflicts leaves some out
	Gates         []GateResult `json:"gates"`
	Attempts      int          `json:"attempts"`
	BranchDeleted bool         `json:"branchDeleted"`

	PullRequest *town.PullRequest `json:"pullRequest,omitempty"` // in that mode, where there is one

	Ignored []string `json:"ignored,omitempty"` // fields of the request the town does not know
}

// Conflict is a file that two branches changed in ways git cannot join.
type Conflict struct {
	Path  string `json:"path"`
	Kind  string `json:"kind"`  // as git names it: contents, modify/delete, …
	Hunks string `json:"hunks"` // its conflicting parts between git's markers, cut at 8 KiB
}

// GateResult is how a gate ended.
type GateResult struct {
	Name     string  `json:"name"`
	ExitCode int     `json:"exitCode"`
	TimedOut bool    `json:"timedOut"`
	Output   string  `json:"output"` // the last 32 KiB
	Seconds  float64 `json:"seconds"`
}

// Merge merges a branch on the remote. That it could not be merged is a result. With
// an EntryID, and a coordinator, the result says MergeStatusAccepted and no more.
func (c *Client) Merge(ctx context.Context, req MergeRequest) (MergeResult, error) {
	var out MergeResult
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/git/merge", body: req}, &out)
	return out, err
}

// PullRequest returns where the pull request of a rig's branch stands, into target or
// else the default branch, and what reviewers wrote.
func (c *Client) PullRequest(ctx context.Context, rigID, branch, target string) (town.PullRequest, error) {
	q := url.Values{"rigId": {rigID}, "branch": {branch}}
	if target != "" {
		q.Set("targetBranch", target)
	}
	var out town.PullRequest
	_, err := c.ask(ctx, call{method: http.MethodGet, path: "/git/pull-request", query: q}, &out)
	return out, err
}

// DrainRequest is what POST /drain takes.
type DrainRequest struct {
	DeadlineSeconds float64 `json:"deadlineSeconds,omitempty"` // 60 when absent
}

// Manifest is the body of POST /drain: what was saved where.
type Manifest struct {
	Agents []SavedAgent `json:"agents"` // those that have a worktree
}

// SavedAgent is what was saved of one agent.
type SavedAgent struct {
	AgentID    string      `json:"agentId"`
	Branch     string      `json:"branch"`
	Status     town.Status `json:"status"`
	Checkpoint *Checkpoint `json:"checkpoint,omitempty"` // nil when all its work is in commits of its branch, on this machine
	Error      string      `json:"error,omitempty"`      // why its work is not saved, or not where it should be
}

// Checkpoint is where work is that is in no commit of a branch. Ref and Commit are
// empty when there is none.
type Checkpoint struct {
	Ref          string         `json:"ref"`
	Commit       string         `json:"commit"`
	Pushed       bool           `json:"pushed"` // the remote has it, and the branch's commits
	LeftOut      []town.LeftOut `json:"leftOut,omitempty"`
	LeftOutCount int            `json:"leftOutCount,omitempty"`
}

// Drain saves the work of every agent; nothing is started any more from then on.
func (c *Client) Drain(ctx context.Context, req DrainRequest) (Manifest, error) {
	var out Manifest
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/drain", body: req}, &out)
	return out, err
}

// RefreshTokenRequest is what POST /refresh-token takes.
type RefreshTokenRequest struct {
	Token  string `json:"token"`
	TownID string `json:"townId,omitempty"` // without Host: the token is for the town's coordinator
	Host   string `json:"host,omitempty"`   // with its port if it has one; github.com when empty
}

// RefreshTokenResponse is the body of POST /refresh-token. No agent holds the token,
// so none is restarted: its figures are those of the first version of the contract.
type RefreshTokenResponse struct {
	Refreshed       bool       `json:"refreshed"`
	AgentsRestarted int        `json:"agentsRestarted"`
	AgentsFailed    int        `json:"agentsFailed"`
	Results         []struct{} `json:"results"`
	Ignored         []string   `json:"ignored,omitempty"` // fields of the request the town does not know
}

// RefreshToken changes the town's credential for the git remotes of a host, or for
// its coordinator.
func (c *Client) RefreshToken(ctx context.Context, req RefreshTokenRequest) error {
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/refresh-token", body: req}, new(RefreshTokenResponse))
	return err
}

// SyncRequest is what POST /sync-config takes.
type SyncRequest struct {
	Rigs map[string]town.RigSettings `json:"rigs,omitempty"` // by rig id; one that is not named stays as it is
}

// SyncResponse is the body of POST /sync-config.
type SyncResponse struct {
	Synced  bool     `json:"synced"`
	Ignored []string `json:"ignored,omitempty"` // fields of the request the town does not know
}

// SyncConfig tells a town the settings of its rigs.
func (c *Client) SyncConfig(ctx context.Context, req SyncRequest) (SyncResponse, error) {
	var out SyncResponse
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/sync-config", body: req}, &out)
	return out, err
}
