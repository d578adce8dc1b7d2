package town

import "time"

// Rig is a repository of the town and how its work is done.
type Rig struct {
	RigID string `json:"rigId"`
	RigSettings
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// RigSettings are what people say of a rig.
type RigSettings struct {
	GitURL        string            `json:"gitUrl"`
	DefaultBranch string            `json:"defaultBranch,omitempty"` // the remote's own when empty
	CLI           string            `json:"cli,omitempty"`           // of its agents; DefaultCLI when empty
	Command       []string          `json:"command,omitempty"`       // argv, only with cli=command
	Model         string            `json:"model,omitempty"`
	EnvVars       map[string]string `json:"envVars,omitempty"`   // of its agents; never answered, only their names
	MaxAgents     int               `json:"maxAgents,omitempty"` // polecats at once; DefaultRigAgents when 0
	Paused        bool              `json:"paused,omitempty"`    // nobody takes its beads
	Limits        Limits            `json:"limits,omitzero"`     // of one agent
	Gates         []Gate            `json:"gates,omitempty"`     // must pass before a merge
	Merge         MergeSettings     `json:"merge,omitzero"`
	Git           GitSettings       `json:"git,omitzero"`
}

// DefaultRigAgents is how many polecats work in a rig at once that sets no bound.
const DefaultRigAgents = 5

// Gate is a command that must pass in a clean checkout of a merge's result.
type Gate struct {
	Name           string  `json:"name,omitempty"`
	Command        string  `json:"command"`                  // for bash
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty"` // 600 when 0, at most 7200
}

// MergeSettings say how finished branches of a rig get into their target.
type MergeSettings struct {
	Mode         MergeMode `json:"mode,omitempty"`     // MergeDirect when empty
	Strategy     string    `json:"strategy,omitempty"` // merge, squash or rebase; merge when empty
	DeleteBranch bool      `json:"deleteBranch,omitempty"`
	AutoMerge    bool      `json:"autoMerge,omitempty"` // of a pull request, once its checks pass
	Review       bool      `json:"review,omitempty"`    // a refinery agent looks at each branch first
}

// MergeMode is the road of a branch into its target.
type MergeMode string

// The modes.
const (
	MergeDirect      MergeMode = "merge"        // the town merges and pushes
	MergePullRequest MergeMode = "pull-request" // the town opens a pull request and watches it
	MergeNone        MergeMode = "none"         // a finished bead closes with its branch pushed
)

// GitSettings say how a rig's repository is kept in the container.
type GitSettings struct {
	Depth             int      `json:"depth,omitempty"`             // commits of history of a new clone; 0 for all
	Blobless          bool     `json:"blobless,omitempty"`          // a new clone has files only when they are needed
	FetchEverySeconds float64  `json:"fetchEverySeconds,omitempty"` // a start fetches at most so often; 30 when 0
	Sparse            []string `json:"sparse,omitempty"`            // directories that worktrees hold; all when empty
	LFS               bool     `json:"lfs,omitempty"`               // files of Git LFS are fetched into worktrees
	Submodules        bool     `json:"submodules,omitempty"`        // submodules of the same host are checked out in worktrees
	QuotaBytes        int64    `json:"quotaBytes,omitempty"`        // of the rig on disk; 0 for none
}
