// Package wire is what the servers of the contract have in common: how a request
// is read, within bounds, how its answer or error is written, and how a token is
// compared. It knows no call.
package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"townd/api"
	"townd/town"
)

// Writer is an answer that writes itself, after everything was checked.
type Writer func(w http.ResponseWriter)

// Reply is an answer in JSON with a status other than 200.
type Reply struct {
	Status int
	Value  any
}

// Refusal is an error with an answer of its own.
type Refusal struct {
	Status int
	Text   string // the member "error"
	Detail string // Text when empty
	Header http.Header
}

func (p *Refusal) Error() string { return p.Text }

// Answer writes what a handler returned: a Writer, a Reply, or a value that is
// written as JSON with 200.
func Answer(w http.ResponseWriter, value any) {
	switch v := value.(type) {
	case Writer:
		v(w)
		// The deadline that an answer in parts has set is taken back: the connection's next answer has none,
		// since net/http sets one only by WriteTimeout. It fails for a connection that broke, or was taken over.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	case Reply:
		writeJSON(w, v.Status, "application/json", v.Value)
	default:
		writeJSON(w, http.StatusOK, "application/json", v)
	}
}

// writeError answers with err as a problem and returns its status. Of an error of
// no kind, which is a 500, the caller is told only that there was one. mask
// takes secrets out of texts; nil leaves them.
func writeError(w http.ResponseWriter, err error, mask func(string) string) (status int) {
	p := ProblemOf(err, mask)
	maps.Copy(w.Header(), problemHeader(err, p.Status))
	writeJSON(w, p.Status, "application/problem+json", p)
	return p.Status
}

// ProblemOf returns the body that tells a caller of err; mask takes secrets
// out of it, nil leaves them.
func ProblemOf(err error, mask func(string) string) api.Problem {
	if mask == nil {
		mask = func(s string) string { return s }
	}
	if own, ok := errors.AsType[*Refusal](err); ok {
		p := newProblem(own.Status, own.Text)
		if own.Detail != "" {
			p.Detail = own.Detail
		}
		return p
	}
	status := town.HTTPStatus(err)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
	}
	if status == http.StatusInternalServerError {
		return newProblem(status, "internal error")
	}
	p := newProblem(status, mask(err.Error()))
	if status == http.StatusBadRequest { // older clients read the issues alone
		p.Issues = []town.Issue{{Path: "body", Message: p.Detail}}
	}
	if invalid, ok := errors.AsType[*town.InvalidError](err); ok {
		p.Issues = nil
		for _, issue := range invalid.Issues {
			p.Issues = append(p.Issues, town.Issue{Path: issue.Path, Message: mask(issue.Message)})
		}
		if _, param := errors.AsType[*ParamError](err); !param {
			p.Error = "Invalid request body" // as the first servers of this contract said
		}
	}
	return p
}

func newProblem(status int, text string) api.Problem {
	return api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: text, Error: text}
}

// unavailableRetry is what a caller waits who was told that we cannot now.
const unavailableRetry = 5 * time.Second

// problemHeader returns the headers that an error's answer carries.
func problemHeader(err error, status int) http.Header {
	if own, ok := errors.AsType[*Refusal](err); ok && own.Header != nil {
		return own.Header
	}
	switch status {
	case http.StatusUnauthorized:
		return http.Header{"Www-Authenticate": {`Bearer realm="townd"`}}
	case http.StatusServiceUnavailable:
		return retryAfter(unavailableRetry)
	case http.StatusTooManyRequests:
		if capacity, ok := errors.AsType[*town.CapacityError](err); ok {
			return retryAfter(capacity.RetryAfter)
		}
		return retryAfter(unavailableRetry)
	}
	return nil
}

func retryAfter(d time.Duration) http.Header {
	seconds := max(1, int64(math.Ceil(d.Seconds())))
	return http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}}
}

func writeJSON(w http.ResponseWriter, status int, contentType string, value any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(value)
}

// NewRouter returns a router that matches paths as they were sent: an id with %2F
// is one segment, and nothing is redirected to a "clean" path, which would turn
// a POST into a GET.
func NewRouter() *mux.Router { return mux.NewRouter().UseEncodedPath().SkipClean(true) }

// NoSuchPath returns the answer for a path that is none of ours.
func NoSuchPath() error {
	return &Refusal{Status: http.StatusNotFound, Text: "Not found", Detail: "there is no such path; GET /openapi.json lists them"}
}

// MethodNotAllowed returns the answer for a path of router that takes other methods only.
func MethodNotAllowed(r *http.Request, router *mux.Router) error {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := *r
		probe.Method = method
		if match := (mux.RouteMatch{}); router.Match(&probe, &match) && match.MatchErr == nil {
			allowed = append(allowed, method)
		}
	}
	allow := strings.Join(allowed, ", ")
	return &Refusal{
		Status: http.StatusMethodNotAllowed,
		Text:   fmt.Sprintf("method %.20q is not allowed here; allowed: %s", r.Method, allow),
		Header: http.Header{"Allow": {allow}},
	}
}
