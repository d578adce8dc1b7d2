package llm

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"townd/town"
)

// codes says which kind of fault a provider's word for one means. They are the
// values of error.type, error.code, error.status and error.details[].reason.
var codes = map[string]town.ErrorKind{
	"authentication_error": town.KindAuth, "permission_error": town.KindAuth, "invalid_api_key": town.KindAuth,
	"unauthenticated": town.KindAuth, "permission_denied": town.KindAuth, "api_key_invalid": town.KindAuth,
	"api_key_service_blocked": town.KindAuth, "account_deactivated": town.KindAuth, "expired_api_key": town.KindAuth,

	"billing_error": town.KindBilling, "insufficient_quota": town.KindBilling, "billing_hard_limit_reached": town.KindBilling,
	"billing_not_active": town.KindBilling, "insufficient_credits": town.KindBilling, "billing_disabled": town.KindBilling,

	"rate_limit_error": town.KindRateLimit, "rate_limit_exceeded": town.KindRateLimit, "resource_exhausted": town.KindRateLimit,
	"too_many_requests": town.KindRateLimit,

	"overloaded_error": town.KindOverloaded, "api_error": town.KindOverloaded, "server_error": town.KindOverloaded,
	"unavailable": town.KindOverloaded, "internal": town.KindOverloaded, "timeout_error": town.KindOverloaded,
	"deadline_exceeded": town.KindOverloaded, "server_is_overloaded": town.KindOverloaded, "slow_down": town.KindOverloaded,

	"context_length_exceeded": town.KindContextFull, "request_too_large": town.KindContextFull,
	"string_above_max_length": town.KindContextFull,

	"content_filter": town.KindRefused, "content_policy_violation": town.KindRefused, "cyber_policy": town.KindRefused,
	"invalid_prompt": town.KindRefused,
}

// sentences are for the faults that one provider or another tells in its message
// alone. They are looked for in errors only, never in what a model says.
var sentences = []struct {
	words string
	kind  town.ErrorKind
}{
	{"prompt is too long", town.KindContextFull}, // Anthropic, invalid_request_error
	{"exceed context limit", town.KindContextFull},
	{"exceeds the maximum number of tokens", town.KindContextFull}, // Gemini, INVALID_ARGUMENT
	{"maximum context length", town.KindContextFull},               // OpenAI-compatible servers
	{"credit balance is too low", town.KindBilling},                // Anthropic, invalid_request_error
	{"api key not valid", town.KindAuth},                           // Gemini, INVALID_ARGUMENT
}

// kindOf classes an answer by what it says of its error, else by its status. It is
// empty for an answer that is no error.
func kindOf(status int, t *told) town.ErrorKind {
	ok := status >= 200 && status < 300
	if ok && t.empty() {
		return ""
	}
	if n, err := strconv.Atoi(t.code); err == nil && n >= 400 && n < 600 && ok {
		status = n // OpenRouter tells a status in a stream that had begun
	}
	if t.refused && status == http.StatusForbidden {
		return town.KindRefused
	}
	specific := town.ErrorKind("")
	for _, word := range []string{t.code, t.status, t.kind} { // the most exact first
		if k, ok := codes[strings.ToLower(word)]; ok {
			specific = k
			break
		}
	}
	vague := specific == town.KindOverloaded && !ok && status < 500 // "api_error" is a word for anything
	switch {
	case specific != "" && !vague:
		return specific
	case status == http.StatusBadRequest || status < 300:
		message := strings.ToLower(t.message)
		for _, s := range sentences {
			if strings.Contains(message, s.words) {
				return s.kind
			}
		}
		return town.KindUnknown
	}
	return kindOfStatus(status)
}

func kindOfStatus(status int) town.ErrorKind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return town.KindAuth
	case status == http.StatusPaymentRequired:
		return town.KindBilling
	case status == http.StatusTooManyRequests:
		return town.KindRateLimit
	case status == http.StatusRequestEntityTooLarge:
		return town.KindContextFull
	case status == http.StatusRequestTimeout, status >= 500:
		return town.KindOverloaded
	case status >= 300 && status < 400:
		return town.KindNetwork // we follow no redirect: the key is for one host
	}
	return town.KindUnknown
}

// another reports whether another provider may answer what failed like that.
func another(k town.ErrorKind) bool {
	switch k {
	case town.KindAuth, town.KindBilling, town.KindRateLimit, town.KindOverloaded, town.KindNetwork:
		return true
	default: // the request is at fault
		return false
	}
}

// passing reports whether what failed like that works again by itself.
func passing(k town.ErrorKind) bool {
	return k == town.KindRateLimit || k == town.KindOverloaded || k == town.KindNetwork
}

// words are what each dialect calls a kind of fault.
type words struct{ anthropic, openai, gemini string }

var dialectWords = map[int]words{
	http.StatusBadRequest:            {"invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"},
	http.StatusUnauthorized:          {"authentication_error", "invalid_api_key", "UNAUTHENTICATED"},
	http.StatusPaymentRequired:       {"billing_error", "insufficient_quota", "FAILED_PRECONDITION"},
	http.StatusForbidden:             {"permission_error", "permission_denied", "PERMISSION_DENIED"},
	http.StatusNotFound:              {"not_found_error", "not_found", "NOT_FOUND"},
	http.StatusRequestEntityTooLarge: {"request_too_large", "request_too_large", "INVALID_ARGUMENT"},
	http.StatusTooManyRequests:       {"rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED"},
	http.StatusServiceUnavailable:    {"overloaded_error", "server_error", "UNAVAILABLE"},
}

// writeFault answers in the way that clients of the dialect understand. They are
// told not to try again where that is no use.
func writeFault(w http.ResponseWriter, d town.Dialect, f fault) {
	word, ok := dialectWords[f.status]
	switch {
	case f.budget:
		word = dialectWords[http.StatusPaymentRequired]
	case ok:
	case f.status < 500:
		word = dialectWords[http.StatusBadRequest]
	default:
		word = words{"api_error", "server_error", "INTERNAL"}
	}
	type object = map[string]any
	var body any
	switch d {
	case town.DialectAnthropic:
		body = object{"type": "error", "error": object{"type": word.anthropic, "message": f.message}}
	case town.DialectGemini:
		body = object{"error": object{"code": f.status, "message": f.message, "status": word.gemini}}
	default:
		body = object{"error": object{"message": f.message, "type": word.openai, "param": nil, "code": word.openai}}
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if f.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((f.retryAfter+time.Second-1)/time.Second)))
	}
	if f.status < 500 && f.status != http.StatusTooManyRequests {
		h.Set("X-Should-Retry", "false") // the clients of Anthropic and OpenAI obey it
	}
	w.WriteHeader(f.status)
	json.NewEncoder(w).Encode(body) // fails with the connection
}
