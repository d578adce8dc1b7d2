package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"townd/api"
	"townd/town"
)

// NotJSONError is a body that is no JSON at all, as opposed to the wrong JSON.
type NotJSONError struct{ invalid error }

func (e *NotJSONError) Error() string { return e.invalid.Error() }

// Unwrap returns the *town.InvalidError that says what is wrong.
func (e *NotJSONError) Unwrap() error { return e.invalid }

// maxNamed bounds how many wrong or unknown fields an answer names.
const maxNamed = 100

// Body reads and decodes the body of a request into v, and names the fields that
// it does not know. Its errors are those of ReadBody and Decode.
func Body(r *http.Request, v any) (ignored []string, err error) {
	data, err := ReadBody(r)
	if err != nil {
		return nil, err
	}
	return Decode(data, v)
}

// ReadBody reads a request's body, at most api.MaxBodyBytes: a larger one is town.ErrTooLarge.
func ReadBody(r *http.Request) ([]byte, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, BadParam("Content-Encoding", "%.40q is not taken; send the body as it is", coding)
	}
	data, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, api.MaxBodyBytes))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, fmt.Errorf("the body is larger than %d bytes: %w", api.MaxBodyBytes, town.ErrTooLarge)
	}
	if err != nil {
		return nil, BadBody("body", "could not be read to its end: %v", err)
	}
	return data, nil
}

// BadBody returns an error that names one wrong field of a body.
func BadBody(path, format string, args ...any) error {
	return &town.InvalidError{Issues: []town.Issue{{Path: path, Message: fmt.Sprintf(format, args...)}}}
}

// Decode fills into, a pointer to a struct, from JSON. It returns the names of
// the fields that into does not have, and an *InvalidError naming every value of
// a wrong type, a *NotJSONError for bytes that are no JSON. Names are compared
// exactly. null counts as absent.
func Decode(data []byte, into any) (ignored []string, err error) {
	if err := checkJSON(data); err != nil {
		return nil, err
	}
	var d decoder
	d.value(data, reflect.ValueOf(into).Elem(), "")
	if n := len(d.issues); n > 0 {
		return nil, &town.InvalidError{Issues: d.issues[:min(n, maxNamed)]}
	}
	slices.Sort(d.ignored)
	return d.ignored[:min(len(d.ignored), maxNamed)], nil
}

func checkJSON(data []byte) error {
	var why string
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		why = "is empty; it must be a JSON object"
	case !utf8.Valid(data):
		why = "is not UTF-8"
	default:
		dec := json.NewDecoder(bytes.NewReader(data))
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if err == nil {
			if _, more := dec.Token(); errors.Is(more, io.EOF) {
				return nil
			}
			err = fmt.Errorf("more follows the value that ends at byte %d", dec.InputOffset())
		}
		why = fmt.Sprintf("is not JSON: %v", err)
	}
	return &NotJSONError{BadBody("body", "%s", why)}
}

// decoder collects what is wrong while it goes through a body.
type decoder struct {
	issues  []town.Issue
	ignored []string
}

func (d *decoder) wrong(path, format string, args ...any) {
	d.issues = append(d.issues, town.Issue{Path: cmp.Or(path, "body"), Message: fmt.Sprintf(format, args...)})
}

func (d *decoder) value(raw json.RawMessage, v reflect.Value, path string) {
	if string(raw) == "null" {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if _, own := reflect.TypeAssert[json.Unmarshaler](v.Addr()); own { // a time, or JSON that is kept as it is
		d.leaf(raw, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(raw, v, path)
	case reflect.Map:
		d.mapping(raw, v, path)
	case reflect.Slice:
		d.array(raw, v, path)
	default:
		d.leaf(raw, v, path)
	}
}

func (d *decoder) object(raw json.RawMessage, v reflect.Value, path string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		d.wrong(path, "must be an object, not %s", kindOf(raw))
		return
	}
	d.fields(members, v, path)
	for name := range members {
		d.ignored = append(d.ignored, join(path, name))
	}
}

// fields takes from members what v, and the structs embedded in it, have fields for.
func (d *decoder) fields(members map[string]json.RawMessage, v reflect.Value, path string) {
	for field := range v.Type().Fields() {
		if field.Anonymous {
			d.fields(members, v.FieldByIndex(field.Index), path)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if member, ok := members[name]; ok {
			d.value(member, v.FieldByIndex(field.Index), join(path, name))
			delete(members, name)
		}
	}
}

func (d *decoder) mapping(raw json.RawMessage, v reflect.Value, path string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		d.wrong(path, "must be an object, not %s", kindOf(raw))
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(members)))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := reflect.New(v.Type().Elem()).Elem()
		if string(members[name]) == "null" {
			d.wrong(join(path, name), "must be %s, not null", describe(value))
			continue
		}
		d.value(members[name], value, join(path, name))
		v.SetMapIndex(reflect.ValueOf(name), value)
	}
}

func (d *decoder) array(raw json.RawMessage, v reflect.Value, path string) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		d.wrong(path, "must be an array, not %s", kindOf(raw))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if string(item) == "null" {
			d.wrong(at, "must be %s, not null", describe(v.Index(i)))
			continue
		}
		d.value(item, v.Index(i), at)
	}
}

func (d *decoder) leaf(raw json.RawMessage, v reflect.Value, path string) {
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		what := kindOf(raw)
		if what == "a number" {
			what = fmt.Sprintf("%.40s", raw)
		}
		d.wrong(path, "must be %s, not %s", describe(v), what)
		return
	}
	// encoding/json turns half a surrogate pair into U+FFFD without a word.
	if v.Kind() == reflect.String && strings.ContainsRune(v.String(), utf8.RuneError) &&
		!bytes.ContainsRune(raw, utf8.RuneError) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)) {
		d.wrong(path, "holds half of a surrogate pair")
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// describe says what v takes.
func describe(v reflect.Value) string {
	if v.Type() == reflect.TypeFor[time.Time]() {
		return "a time as 2026-01-02T15:04:05Z"
	}
	switch k := v.Kind(); k {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	case reflect.Uint16:
		return "a whole number from 0 to 65535"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	default:
		return "a " + k.String()
	}
}

// kindOf names the kind of a JSON value.
func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
