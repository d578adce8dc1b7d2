package town

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxEnvBytes is what Linux takes for one NAME=value of a program's environment
// (MAX_ARG_STRLEN in linux/binfmts.h, with its terminating NUL).
const maxEnvBytes = 128<<10 - 1

// maxTextBytes bounds the free texts of a start request.
const maxTextBytes = 1 << 20

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ReservedEnv returns why name may not be given in envVars, "" when it may.
func ReservedEnv(name string) string {
	switch {
	case name == "PATH", name == "HOME", strings.HasPrefix(name, "LD_"), strings.HasPrefix(name, "GIT_"):
		return "is set by the town and may not be given"
	case strings.HasPrefix(name, "TOWND_"):
		return "is reserved for the town"
	}
	return ""
}

// issues collects what is wrong with a request.
type issues []Issue

func (is *issues) add(path, format string, args ...any) {
	*is = append(*is, Issue{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (is issues) err() error {
	if len(is) == 0 {
		return nil
	}
	return &InvalidError{Issues: is}
}

// Validate returns an *InvalidError naming every field that cannot be used, and
// nil for a good request. Git's own rules for branch and URL are gitmgr's.
func (r *StartRequest) Validate() error {
	var is issues
	for _, f := range []struct{ path, value string }{
		{"agentId", r.AgentID}, {"rigId", r.RigID}, {"townId", r.TownID},
	} {
		checkID(&is, f.path, f.value)
	}
	if r.BeadID != "" {
		checkID(&is, "beadId", r.BeadID)
	}
	if !slices.Contains(Roles(), r.Role) {
		is.add("role", "must be one of %s", quoteAll(Roles()))
	}
	for _, f := range []struct{ path, value string }{{"name", r.Name}, {"gitUrl", r.GitURL}, {"branch", r.Branch}} {
		if strings.TrimSpace(f.value) == "" {
			is.add(f.path, "is required")
		}
	}
	for _, f := range []struct{ path, value string }{
		{"name", r.Name},
		{"identity", r.Identity},
		{"model", r.Model},
		{"gitUrl", r.GitURL},
		{"branch", r.Branch},
		{"defaultBranch", r.DefaultBranch},
		{"startPoint", r.StartPoint},
		{"cli", r.CLI},
	} {
		checkLine(&is, f.path, f.value)
	}
	checkText(&is, "prompt", r.Prompt)
	checkText(&is, "systemPrompt", r.SystemPrompt)
	r.validateCommand(&is)
	r.validateEnv(&is)
	if r.Generation < 0 {
		is.add("generation", "must not be negative")
	}
	if r.Restart != "" && r.Restart != RestartNever && r.Restart != RestartOnFailure {
		is.add("restart", "must be %q or %q", RestartNever, RestartOnFailure)
	}
	if r.Effort != "" && !slices.Contains(Efforts(), r.Effort) {
		is.add("effort", "must be one of %s", quoteAll(Efforts()))
	}
	if r.Fork && !r.Resume {
		is.add("fork", "goes only with resume")
	}
	checkSize(&is, "cols", r.Cols)
	checkSize(&is, "rows", r.Rows)
	r.Limits.validate(&is)
	return is.err()
}

func (r *StartRequest) validateCommand(is *issues) {
	if r.CLI != "command" {
		if len(r.Command) > 0 {
			is.add("command", "goes only with cli \"command\"")
		}
		return
	}
	if len(r.Command) == 0 || r.Command[0] == "" {
		is.add("command", "is required with cli \"command\": the program and its arguments")
		return
	}
	for i, arg := range r.Command {
		if strings.ContainsRune(arg, 0) {
			is.add(fmt.Sprintf("command[%d]", i), "must not contain a NUL character")
		} else if len(arg) > maxEnvBytes {
			is.add(fmt.Sprintf("command[%d]", i), "is %d bytes, the most is %d", len(arg), maxEnvBytes)
		}
	}
}

func (r *StartRequest) validateEnv(is *issues) {
	own := map[string]string{
		"GASTOWN_AGENT_ID": r.AgentID, "GASTOWN_RIG_ID": r.RigID, "GASTOWN_TOWN_ID": r.TownID, "GASTOWN_AGENT_ROLE": string(r.Role),
	}
	for _, name := range slices.Sorted(maps.Keys(r.EnvVars)) {
		path, value := "envVars."+name, r.EnvVars[name]
		if why := ReservedEnv(name); why != "" {
			is.add(path, "%s", why)
			continue
		}
		if want, ok := own[name]; ok && value != want {
			is.add(path, "contradicts the request: it must be %q or left out", want)
			continue
		}
		switch {
		case !envName.MatchString(name):
			is.add(path, "must be a name of letters, digits and _ that does not begin with a digit")
		case strings.ContainsRune(value, 0):
			is.add(path, "must not contain a NUL character")
		case len(name)+1+len(value) > maxEnvBytes:
			is.add(path, "is %d bytes with its name, the most is %d", len(name)+1+len(value), maxEnvBytes)
		}
	}
}

func (l Limits) validate(is *issues) {
	for _, f := range []struct {
		path  string
		value float64
	}{
		{"turns", float64(l.Turns)},
		{"seconds", l.Seconds},
		{"idleSeconds", l.IdleSeconds},
		{"tokens", float64(l.Tokens)},
		{"costUsd", l.CostUSD},
		{"memoryBytes", float64(l.MemoryBytes)},
		{"processes", float64(l.Processes)},
	} {
		if f.value < 0 || math.IsNaN(f.value) || math.IsInf(f.value, 0) {
			is.add("limits."+f.path, "must be 0 (unlimited) or more")
		}
	}
	const year = 366 * 24 * 3600 // keeps seconds inside time.Duration
	for path, seconds := range map[string]float64{"limits.seconds": l.Seconds, "limits.idleSeconds": l.IdleSeconds} {
		if seconds > year {
			is.add(path, "may be at most a year (%d)", year)
		}
	}
}

// Validate returns an *InvalidError for a stop that cannot be carried out.
func (r *StopRequest) Validate() error {
	var is issues
	if r.Signal != "" && r.Signal != "SIGTERM" && r.Signal != "SIGKILL" {
		is.add("signal", "must be \"SIGTERM\" or \"SIGKILL\"")
	}
	if g := r.GraceSeconds; g != nil && (*g < 0 || *g > 3600 || math.IsNaN(*g)) {
		is.add("graceSeconds", "must be 0 to 3600")
	}
	return is.err()
}

// Validate returns an *InvalidError for a message that cannot be delivered.
func (r *MessageRequest) Validate() error {
	var is issues
	if r.Prompt == "" {
		is.add("prompt", "is required")
	}
	checkText(&is, "prompt", r.Prompt)
	switch r.Deliver {
	case "", DeliverNow, DeliverTurnEnd, DeliverIdle:
	default:
		is.add("deliver", "must be one of %s", quoteAll([]Delivery{DeliverNow, DeliverTurnEnd, DeliverIdle}))
	}
	return is.err()
}

// Validate returns an *InvalidError for a report of another state than those an
// agent may tell.
func (r *Report) Validate() error {
	var is issues
	switch r.State {
	case ReasonDone, ReasonBlocked, ReasonWaiting:
	default:
		is.add("state", "must be one of %s", quoteAll([]Reason{ReasonDone, ReasonBlocked, ReasonWaiting}))
	}
	checkText(&is, "text", r.Text)
	return is.err()
}

// CheckModel returns an *InvalidError for what cannot be the name of a model.
func CheckModel(model string) error {
	var is issues
	if strings.TrimSpace(model) == "" {
		is.add("model", "is required")
	}
	checkLine(&is, "model", model)
	return is.err()
}

// CheckSystemPrompt returns an *InvalidError for what cannot be a system prompt.
func CheckSystemPrompt(text string) error {
	var is issues
	if strings.TrimSpace(text) == "" {
		is.add("systemPrompt", "is required")
	}
	checkText(&is, "systemPrompt", text)
	return is.err()
}

// CheckTerminalSize returns an *InvalidError unless both are 1 to 1000.
func CheckTerminalSize(cols, rows uint16) error {
	var is issues
	if cols == 0 {
		is.add("cols", "is required: 1 to %d", maxTerminal)
	}
	if rows == 0 {
		is.add("rows", "is required: 1 to %d", maxTerminal)
	}
	checkSize(&is, "cols", cols)
	checkSize(&is, "rows", rows)
	return is.err()
}

// maxTerminal bounds each side of a terminal: an emulator keeps every cell.
const maxTerminal = 1000

func checkSize(is *issues, path string, n uint16) {
	if n > maxTerminal {
		is.add(path, "must be at most %d", maxTerminal)
	}
}

func checkID(is *issues, path, id string) {
	if id == "" {
		is.add(path, "is required")
	} else if err := CheckID(id); err != nil {
		is.add(path, "%s", strings.TrimSuffix(err.Error(), ": "+ErrInvalid.Error()))
	}
}

func checkLine(is *issues, path, s string) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		is.add(path, "must not contain control characters")
	}
	if len(s) > 4096 {
		is.add(path, "is %d bytes, the most is 4096", len(s))
	}
	if !utf8.ValidString(s) {
		is.add(path, "must be valid UTF-8")
	}
}

func checkText(is *issues, path, s string) {
	if len(s) > maxTextBytes {
		is.add(path, "is %d bytes, the most is %d", len(s), maxTextBytes)
	}
	if strings.ContainsRune(s, 0) {
		is.add(path, "must not contain a NUL character")
	}
}

func quoteAll[S ~string](all []S) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = fmt.Sprintf("%q", string(s))
	}
	return strings.Join(quoted, ", ")
}
