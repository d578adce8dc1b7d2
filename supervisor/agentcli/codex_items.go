package agentcli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"townd/town"
)

// codexItem is one thing that happens in a turn, of any type.
type codexItem struct {
	Type     string          `json:"type"`
	ID       string          `json:"id"`
	ClientID string          `json:"clientId"` // of a user's message: our id of it
	Text     string          `json:"text"`
	Summary  []string        `json:"summary"`
	Content  json.RawMessage `json:"content"` // of reasoning: texts
	Status   string          `json:"status"`

	Command  string `json:"command"`
	Cwd      string `json:"cwd"`
	Output   string `json:"aggregatedOutput"`
	ExitCode *int   `json:"exitCode"`

	Changes json.RawMessage `json:"changes"` // of a fileChange

	Server    string          `json:"server"`
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments"`
	Result    *struct {
		Content any `json:"content"`
	} `json:"result"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
	Success *bool  `json:"success"` // of a dynamicToolCall
	Prompt  string `json:"prompt"`  // of a collabAgentToolCall
	Query   string `json:"query"`   // of a webSearch
	Path    string `json:"path"`    // of an imageView
}

func (i *codexItem) reasoning() []string {
	var texts []string
	if len(i.Summary) == 0 {
		parse(i.Content, &texts)
	}
	return texts
}

// tool returns the name of the tool that an item is a call of, as hooks have it,
// and its input; "" when it is none.
func (i *codexItem) tool() (name string, input json.RawMessage) {
	switch i.Type {
	case "commandExecution":
		return "Bash", mustJSON(map[string]string{"command": i.Command, "cwd": i.Cwd})
	case "fileChange":
		return "apply_patch", rawObject("changes", i.Changes)
	case "mcpToolCall":
		return "mcp__" + i.Server + "__" + i.Tool, i.Arguments
	case "dynamicToolCall":
		return i.Tool, i.Arguments
	case "collabAgentToolCall":
		return i.Tool, mustJSON(map[string]string{"prompt": i.Prompt})
	case "webSearch":
		return "web_search", mustJSON(map[string]string{"query": i.Query})
	case "imageView":
		return "view_image", mustJSON(map[string]string{"path": i.Path})
	}
	return "", nil
}

func rawObject(key string, value json.RawMessage) json.RawMessage {
	if value == nil {
		return nil
	}
	return mustJSON(map[string]json.RawMessage{key: value})
}

func (i *codexItem) ok() bool {
	switch i.Status {
	case "failed", "declined":
		return false
	}
	return i.Error == nil && (i.Success == nil || *i.Success)
}

// output returns what a tool printed, or why it did not run.
func (i *codexItem) output() string {
	switch {
	case i.Error != nil:
		return i.Error.Message
	case i.Result != nil:
		return plainContent(i.Result.Content)
	case i.Output == "" && i.ExitCode != nil && *i.ExitCode != 0:
		return fmt.Sprintf("exited with code %d", *i.ExitCode)
	case i.Output == "" && i.Status == "declined":
		return i.Status
	}
	return i.Output
}

// codexFault is an error of a turn. Its info is a word, or a word with an HTTP
// status: {"httpConnectionFailed": {"httpStatusCode": 503}}.
type codexFault struct {
	Message string          `json:"message"`
	Info    json.RawMessage `json:"codexErrorInfo"`
	Details string          `json:"additionalDetails"`
}

// fault tells of an error, or of another attempt after it.
func (d *codexDecoder) fault(f *codexFault, again bool, emit emitFunc) {
	kind := f.kind()
	if again {
		d.Attempt, d.Retried = d.Attempt+1, kind
		emit(town.EventRetry, town.RetryData{Kind: kind, Attempt: d.Attempt})
		return
	}
	if d.Attempt > 0 && kind == town.KindUnknown { // codex gives up, and forgets the kind
		kind = d.Retried
	}
	d.Failed = true
	message := strings.TrimSpace(f.Message)
	if f.Details != "" && !strings.Contains(message, f.Details) {
		message = strings.TrimSpace(message + "\n" + f.Details)
	}
	emit(town.EventError, town.ErrorData{Kind: kind, Message: cut(firstOf(message, "codex does not say why"))})
}

func (f *codexFault) kind() town.ErrorKind {
	var word string
	var info map[string]struct {
		Status int `json:"httpStatusCode"`
	}
	if json.Unmarshal(f.Info, &word) != nil {
		parse(f.Info, &info)
	}
	for _, name := range slices.Sorted(maps.Keys(info)) { // there is one
		if status := info[name].Status; status != 0 {
			return statusKind(status)
		}
		word = name
	}
	if word == "usageLimitExceeded" && strings.HasPrefix(f.Message, "Quota exceeded") {
		return town.KindBilling // of a key; else of a plan, which fills up again
	}
	return codexKind(word)
}

// codexKind translates codex's word for an error.
func codexKind(word string) town.ErrorKind {
	switch word {
	case "unauthorized":
		return town.KindAuth
	case "usageLimitExceeded", "rateLimitExceeded":
		return town.KindRateLimit
	case "sessionBudgetExceeded":
		return town.KindBilling
	case "serverOverloaded", "internalServerError", "flexUnavailable", "policyCapacityUnavailable":
		return town.KindOverloaded
	case "contextWindowExceeded":
		return town.KindContextFull
	case "inferenceHookDenied", "cyberPolicy", "misalignmentPolicyViolation":
		return town.KindRefused
	case "httpConnectionFailed", "responseStreamConnectionFailed", "responseStreamDisconnected", "responseTooManyFailedAttempts":
		return town.KindNetwork
	}
	return town.KindUnknown
}
