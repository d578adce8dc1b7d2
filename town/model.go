package town

import "time"

// Dialect is the protocol of a model API.
type Dialect string

// The dialects, each with the path that its clients add to a base URL.
const (
	DialectAnthropic Dialect = "anthropic" // /v1/messages
	DialectOpenAI    Dialect = "openai"    // /chat/completions
	DialectResponses Dialect = "responses" // /responses
	DialectGemini    Dialect = "gemini"    // /v1beta/models/{model}:{method}
)

// ModelEndpoint is where an agent's CLI finds its model: the town's gateway.
type ModelEndpoint struct {
	Dialect Dialect
	BaseURL string // the dialect's path is added to it
	Model   string // the model's name there
}

// ModelCall is one request that an agent made of a model through the gateway.
type ModelCall struct {
	Provider string        `json:"provider"`
	Model    string        `json:"model"`
	Status   int           `json:"status"`         // the provider's HTTP status; 0 when no answer came
	Kind     ErrorKind     `json:"kind,omitempty"` // why it failed, empty when it did not
	Message  string        `json:"message,omitempty"`
	Usage    UsageData     `json:"usage"`
	Duration time.Duration `json:"duration"` // from the request until the answer's last byte
	Delay    time.Duration `json:"delay"`    // what the provider asks to wait; 0 when it does not say
}
