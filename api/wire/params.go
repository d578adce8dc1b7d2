package wire

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"townd/town"
)

// Params are the query of a request. Those we do not know are left alone, since
// callers and proxies change; those we do must be readable.
type Params struct{ values url.Values }

// ParseParams reads the query of a request.
func ParseParams(r *http.Request) (Params, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Params{}, BadParam("query", "must be name=value pairs joined by &, percent-encoded")
	}
	return Params{values}, nil
}

// One returns the value of a parameter, "" when it is absent. It must be given once at most.
func (p Params) One(name string) (string, error) {
	switch values := p.values[name]; len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", BadParam(name, "is given %d times", len(values))
	}
}

// Number returns the value of a parameter that is a number from low to high, or
// fallback when it is absent.
func (p Params) Number(name string, low, high, fallback int64) (int64, error) {
	value, err := p.One(name)
	if err != nil || value == "" {
		return fallback, err
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < low || n > high {
		return 0, BadParam(name, "%.40q must be a number from %d to %d", value, low, high)
	}
	return n, nil
}

// ParamError is a wrong path segment, query or header, as opposed to a body.
type ParamError struct{ invalid *town.InvalidError }

func (e *ParamError) Error() string { return e.invalid.Error() }

// Unwrap returns the *town.InvalidError that says what is wrong.
func (e *ParamError) Unwrap() error { return e.invalid }

// BadParam returns a *ParamError that names one wrong parameter.
func BadParam(name, format string, args ...any) error {
	return &ParamError{&town.InvalidError{Issues: []town.Issue{{Path: name, Message: fmt.Sprintf(format, args...)}}}}
}

// PathID returns the id in a segment of a path, which is still percent-encoded.
func PathID(name, segment string) (string, error) {
	id, err := url.PathUnescape(segment)
	if err != nil {
		return "", BadParam(name, "cannot be percent-decoded")
	}
	if err := town.CheckID(id); err != nil {
		return "", BadParam(name, "%.140q %s", id, strings.TrimSuffix(err.Error(), ": "+town.ErrInvalid.Error()))
	}
	return id, nil
}

// IdempotencyKey returns the request's key, "" without one.
func IdempotencyKey(r *http.Request) (string, error) {
	const name = "Idempotency-Key"
	values := r.Header.Values(name)
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if len(values) > 1 || key == "" || len(key) > 255 {
		return "", BadParam(name, "must be given once, with 1 to 255 characters")
	}
	for _, c := range []byte(key) {
		if c < 0x21 || c > 0x7e {
			return "", BadParam(name, "must be of visible ASCII characters")
		}
	}
	return key, nil
}

// Accepts reports whether the request asks for this media type by name.
func Accepts(r *http.Request, mediaType string) bool {
	for _, header := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(header, ",") {
			if got, _, err := mime.ParseMediaType(part); err == nil && got == mediaType {
				return true
			}
		}
	}
	return false
}
