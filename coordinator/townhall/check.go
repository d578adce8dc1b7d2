package townhall

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"townd/town"
)

// What requests may hold. Characters are counted for what people read in a line,
// bytes for texts.
const (
	maxTitle      = 500       // characters
	maxLine       = 4096      // characters
	maxBody       = 256 << 10 // bytes
	maxNote       = 64 << 10
	maxMailBody   = 64 << 10
	maxCheckpoint = 64 << 10
	maxMetadata   = 64 << 10
	maxEventData  = 256 << 10
	maxSays       = 280 // characters
	maxLabels     = 50
	maxLabel      = 100 // characters
	maxDependsOn  = 100
	maxTasks      = 100
	maxAttempts   = 100
	maxReason     = 4096 // characters
)

// check collects what is wrong with a request.
type check struct{ issues []town.Issue }

func (c *check) add(path, format string, args ...any) {
	c.issues = append(c.issues, town.Issue{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *check) err() error {
	if len(c.issues) == 0 {
		return nil
	}
	return &town.InvalidError{Issues: c.issues}
}

// required refuses what is empty.
func (c *check) required(path, s string) {
	if strings.TrimSpace(s) == "" {
		c.add(path, "is required")
	}
}

// line takes one line of at most chars characters.
func (c *check) line(path, s string, chars int) {
	switch n := utf8.RuneCountInString(s); {
	case !utf8.ValidString(s):
		c.add(path, "must be valid UTF-8")
	case n > chars:
		c.add(path, "has %d characters, the most is %d", n, chars)
	case strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		c.add(path, "must not contain control characters")
	}
}

// text takes lines of at most bytes bytes.
func (c *check) text(path, s string, bytes int) {
	switch {
	case len(s) > bytes:
		c.add(path, "is %d bytes, the most is %d", len(s), bytes)
	case !utf8.ValidString(s):
		c.add(path, "must be valid UTF-8")
	case strings.ContainsRune(s, 0):
		c.add(path, "must not contain a NUL character")
	}
}

func (c *check) id(path, id string) {
	if id == "" {
		c.add(path, "is required")
	} else if err := town.CheckID(id); err != nil {
		c.add(path, "%s", strings.TrimSuffix(err.Error(), ": "+town.ErrInvalid.Error()))
	}
}

// json takes valid JSON of at most bytes bytes, or none.
func (c *check) json(path string, raw json.RawMessage, bytes int) {
	if len(raw) > bytes {
		c.add(path, "is %d bytes, the most is %d", len(raw), bytes)
	} else if len(raw) > 0 && !json.Valid(raw) {
		c.add(path, "must be JSON")
	}
}

func oneOf[S ~string](c *check, path string, value S, allowed []S) {
	if !slices.Contains(allowed, value) {
		quoted := make([]string, len(allowed))
		for i, a := range allowed {
			quoted[i] = fmt.Sprintf("%q", string(a))
		}
		c.add(path, "must be one of %s", strings.Join(quoted, ", "))
	}
}

func (c *check) labels(labels []string) {
	if len(labels) > maxLabels {
		c.add("labels", "are %d, the most is %d", len(labels), maxLabels)
		return
	}
	for i, l := range labels {
		path := fmt.Sprintf("labels[%d]", i)
		c.required(path, l)
		c.line(path, l, maxLabel)
	}
}

func (c *check) dependsOn(ids []string) {
	if len(ids) > maxDependsOn {
		c.add("dependsOn", "are %d, the most is %d", len(ids), maxDependsOn)
		return
	}
	for i, id := range ids {
		c.id(fmt.Sprintf("dependsOn[%d]", i), id)
	}
}

// ref takes what could be the name of a branch or a commit. Git's own rules are gitmgr's.
func (c *check) ref(path, s string) {
	c.line(path, s, 255)
	if strings.HasPrefix(s, "-") || strings.ContainsAny(s, " ~^:?*[\\") || strings.Contains(s, "..") {
		c.add(path, "is no name that git takes")
	}
}

func checkBead(req town.BeadRequest) error {
	var c check
	c.required("title", req.Title)
	c.line("title", req.Title, maxTitle)
	c.text("body", req.Body, maxBody)
	if req.Type != "" {
		oneOf(&c, "type", req.Type, town.BeadTypes())
	}
	if req.Type == town.BeadConvoy {
		c.add("type", "is made with POST /convoys")
	}
	if req.Priority != "" {
		oneOf(&c, "priority", req.Priority, town.Priorities())
	}
	c.labels(req.Labels)
	c.dependsOn(req.DependsOn)
	c.line("source", req.Source, 200)
	c.line("dedupeKey", req.DedupeKey, 500)
	c.ref("startPoint", req.StartPoint)
	c.ref("target", req.Target)
	c.attempts(req.MaxAttempts)
	c.object("metadata", req.Metadata)
	return c.err()
}

func (c *check) attempts(n int) {
	if n < 0 || n > maxAttempts {
		c.add("maxAttempts", "must be 0 (%d) to %d", town.DefaultAttempts, maxAttempts)
	}
}

func (c *check) object(path string, raw json.RawMessage) {
	c.json(path, raw, maxMetadata)
	if len(raw) > 0 && !strings.HasPrefix(strings.TrimSpace(string(raw)), "{") {
		c.add(path, "must be an object")
	}
}

func checkPatch(p town.BeadPatch) error {
	var c check
	if p.Title != nil {
		c.required("title", *p.Title)
		c.line("title", *p.Title, maxTitle)
	}
	if p.Body != nil {
		c.text("body", *p.Body, maxBody)
	}
	if p.Type != nil {
		oneOf(&c, "type", *p.Type, town.BeadTypes())
	}
	if p.Priority != nil {
		oneOf(&c, "priority", *p.Priority, town.Priorities())
	}
	if p.Labels != nil {
		c.labels(*p.Labels)
	}
	if p.DependsOn != nil {
		c.dependsOn(*p.DependsOn)
	}
	if p.Hold != nil {
		c.line("hold", *p.Hold, maxReason)
	}
	if p.Status != "" {
		oneOf(&c, "status", p.Status, []town.BeadStatus{town.BeadClosed, town.BeadFailed})
	}
	c.text("reason", p.Reason, maxNote)
	return c.err()
}

// checkRig takes settings with which an agent could be started.
func checkRig(rigID string, set town.RigSettings) error {
	var c check
	start := town.StartRequest{
		AgentID: "agent", RigID: rigID, TownID: "town", Role: town.RolePolecat, Name: "name", Branch: "branch",
		GitURL: set.GitURL, DefaultBranch: set.DefaultBranch, CLI: set.CLI, Command: set.Command, Model: set.Model,
		EnvVars: set.EnvVars, Limits: set.Limits,
	}
	if invalid, ok := errors.AsType[*town.InvalidError](start.Validate()); ok {
		c.issues = invalid.Issues
	}
	if u, err := url.Parse(set.GitURL); err == nil && u.User != nil {
		if _, has := u.User.Password(); has {
			c.add("gitUrl", "must not hold a password: give the credential to the container")
		}
	}
	if set.MaxAgents < 0 || set.MaxAgents > 1000 {
		c.add("maxAgents", "must be 0 (%d) to 1000", town.DefaultRigAgents)
	}
	c.gates(set.Gates)
	if set.Merge.Mode != "" {
		oneOf(&c, "merge.mode", set.Merge.Mode, []town.MergeMode{town.MergeDirect, town.MergePullRequest, town.MergeNone})
	}
	if set.Merge.Strategy != "" {
		oneOf(&c, "merge.strategy", set.Merge.Strategy, []string{"merge", "squash", "rebase"})
	}
	if set.Git.Depth < 0 || !(set.Git.FetchEverySeconds >= 0) || set.Git.QuotaBytes < 0 {
		c.add("git", "must not hold negative numbers")
	}
	for i, dir := range set.Git.Sparse {
		c.line(fmt.Sprintf("git.sparse[%d]", i), dir, maxLine)
	}
	return c.err()
}

func (c *check) gates(gates []town.Gate) {
	if len(gates) > 20 {
		c.add("gates", "are %d, the most is 20", len(gates))
		return
	}
	for i, g := range gates {
		path := fmt.Sprintf("gates[%d].", i)
		c.line(path+"name", g.Name, maxLabel)
		c.required(path+"command", g.Command)
		c.text(path+"command", g.Command, maxNote)
		if g.TimeoutSeconds < 0 || g.TimeoutSeconds > 7200 || math.IsNaN(g.TimeoutSeconds) {
			c.add(path+"timeoutSeconds", "must be 0 (600) to 7200")
		}
	}
}

// bounded returns limit, or def when it is 0.
func bounded(limit, def, most int) (int, error) {
	switch {
	case limit == 0:
		return def, nil
	case limit < 0 || limit > most:
		return 0, &town.InvalidError{Issues: []town.Issue{{Path: "limit", Message: fmt.Sprintf("must be 1 to %d", most)}}}
	}
	return limit, nil
}
