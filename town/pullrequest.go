package town

import "time"

// Proposal is what a branch is proposed as: a pull request at its remote's forge.
type Proposal struct {
	Title     string `json:"title,omitempty"` // the first line of the branch's last commit when empty
	Body      string `json:"body,omitempty"`
	Draft     bool   `json:"draft,omitempty"`
	AutoMerge bool   `json:"autoMerge,omitempty"` // the forge merges it as soon as its rules allow
}

// PullRequest is where a pull request stands, as its forge tells it.
type PullRequest struct {
	Number      int             `json:"number"`
	URL         string          `json:"url"` // for people
	Title       string          `json:"title"`
	State       string          `json:"state"` // open, closed (without a merge), merged
	Draft       bool            `json:"draft"`
	Branch      string          `json:"branch"`
	Target      string          `json:"target"`
	Head        string          `json:"head"`                  // commit of the branch that the forge has seen
	MergeCommit string          `json:"mergeCommit,omitempty"` // when merged
	Mergeable   bool            `json:"mergeable"`             // without a conflict, as far as the forge has found out
	Checked     string          `json:"checked"`               // of all checks: none, pending, passed, failed
	Checks      []Check         `json:"checks"`
	Review      string          `json:"review"`    // none, approved, changes_requested
	AutoMerge   bool            `json:"autoMerge"` // this call had the forge merge it by itself
	Comments    []ReviewComment `json:"comments,omitempty"`
	Truncated   bool            `json:"truncated"` // there are more checks, reviews or comments
}

// Check is one check of a pull request's head.
type Check struct {
	Name  string `json:"name"`
	State string `json:"state"`         // pending, passed, failed
	URL   string `json:"url,omitempty"` // of its log, for people
}

// ReviewComment is what somebody wrote in a review. It is anybody's text.
type ReviewComment struct {
	Author  string    `json:"author"`
	Body    string    `json:"body"`           // at most 64 KiB
	Path    string    `json:"path,omitempty"` // file that it is about, "" for the whole
	Line    int       `json:"line,omitempty"` // in the new file
	URL     string    `json:"url,omitempty"`
	When    time.Time `json:"when"`
	Verdict string    `json:"verdict"` // of a review as a whole: none, approved, changes_requested
}
