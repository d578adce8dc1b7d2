package town

import "time"

// Artifacts is what is kept of a run besides its output.
type Artifacts struct {
	RunID        string     `json:"runId"`
	TakenAt      *time.Time `json:"takenAt,omitempty"` // nil while nothing was taken
	Artifacts    []Artifact `json:"artifacts"`         // the town's own first, then by name
	LeftOut      []LeftOut  `json:"leftOut,omitempty"` // the first 200
	LeftOutCount int        `json:"leftOutCount,omitempty"`
}

// Artifact is one thing that is kept of a run. No two of a run have the same name.
type Artifact struct {
	Name      string       `json:"name"` // printable, without a slash, at most 255 bytes
	Kind      ArtifactKind `json:"kind"`
	Bytes     int64        `json:"bytes"`
	SHA256    string       `json:"sha256"`              // in hex
	Truncated bool         `json:"truncated,omitempty"` // it ends early
}

// ArtifactKind says who an artifact is of.
type ArtifactKind string

// What is kept of a run.
const (
	ArtifactDiff    ArtifactKind = "diff"    // what the agent changed, as git apply takes it
	ArtifactCommits ArtifactKind = "commits" // its commits, as JSON
	ArtifactFile    ArtifactKind = "file"    // a file that it put into $TOWND_ARTIFACTS
)
