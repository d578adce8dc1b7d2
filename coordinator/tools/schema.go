package tools

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	"townd/town"
)

// maxText bounds a text argument that says no bound of its own, in characters.
const maxText = 64 << 10

// rule bounds an argument.
type rule func(*jsonschema.Schema)

// length bounds a text, in characters.
func length(least, most int) rule {
	return func(s *jsonschema.Schema) { s.MinLength, s.MaxLength = &least, &most }
}

// maxItem bounds a text in a list, in characters.
const maxItem = 1000

// items bounds the elements of a list.
func items(least, most int) rule {
	return func(s *jsonschema.Schema) {
		s.MinItems, s.MaxItems = &least, &most
		if s.Items.Type == "string" {
			s.Items.MinLength, s.Items.MaxLength = new(1), new(maxItem)
		}
	}
}

// between bounds a number.
func between(least, most float64) rule {
	return func(s *jsonschema.Schema) { s.Minimum, s.Maximum = &least, &most }
}

// oneOf lists the words that an argument may be.
func oneOf[T ~string](words ...T) rule {
	return func(s *jsonschema.Schema) {
		for _, w := range words {
			s.Enum = append(s.Enum, string(w))
		}
	}
}

// schemaOf returns the schema of a struct of arguments, with rules by path, as
// tasks.title.
func schemaOf[A any](rules map[string]rule) *jsonschema.Schema {
	s, err := jsonschema.For[A](nil)
	if err != nil {
		panic(fmt.Sprintf("schema of %T: %v", *new(A), err)) // of our own types, at the start of the program
	}
	simplify(s)
	for path, bound := range rules {
		bound(member(s, path))
	}
	return s
}

// simplify takes out what some CLIs' models are not given or stumble over: null as
// a type, and the ban of other members, which we name instead.
func simplify(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if i := slices.Index(s.Types, "null"); i >= 0 && len(s.Types) == 2 {
		s.Type, s.Types = s.Types[1-i], nil
	}
	if s.Type == "object" {
		s.AdditionalProperties = nil
	}
	for _, p := range s.Properties {
		simplify(p)
	}
	simplify(s.Items)
}

func member(s *jsonschema.Schema, path string) *jsonschema.Schema {
	for name := range strings.SplitSeq(path, ".") {
		if s.Items != nil {
			s = s.Items
		}
		if s = s.Properties[name]; s == nil {
			panic("no argument " + path)
		}
	}
	return s
}

// checked is what came of looking at arguments. It repeats no more of them than a
// few characters.
type checked struct {
	wrong   []town.Issue
	unknown []string // names that the tool does not take
}

// check looks at arguments, and takes out of given what the tool does not take and
// what is null, which is as good as absent.
func check(s *jsonschema.Schema, given map[string]any) checked {
	var c checked
	c.members(s, "", given)
	return c
}

func (c *checked) bad(path, format string, args ...any) {
	c.wrong = append(c.wrong, town.Issue{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *checked) value(s *jsonschema.Schema, path string, v any) {
	bad := func(format string, args ...any) { c.bad(path, format, args...) }
	switch v := v.(type) {
	case string:
		if s.Type != "string" {
			bad("must be %s, not a text", article(s.Type))
			return
		}
		checkText(s, path, v, bad)
	case json.Number:
		checkNumber(s, v, bad)
	case []any:
		switch {
		case s.Type != "array":
			bad("must be %s, not a list", article(s.Type))
		case s.MaxItems != nil && (len(v) > *s.MaxItems || len(v) < *s.MinItems):
			bad("must be a list of %d to %d, not of %d", *s.MinItems, *s.MaxItems, len(v))
		default:
			for i, item := range v {
				c.value(s.Items, fmt.Sprintf("%s[%d]", path, i), item)
			}
		}
	case map[string]any:
		if s.Type != "object" {
			bad("must be %s, not an object", article(s.Type))
			return
		}
		c.members(s, path, v)
	case bool:
		if s.Type != "boolean" {
			bad("must be %s, not %v", article(s.Type), v)
		}
	case nil: // in a list
		bad("must be %s, not null", article(s.Type))
	}
}

func (c *checked) members(s *jsonschema.Schema, path string, v map[string]any) {
	if s.Properties == nil {
		return // an object of any shape
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if s.Properties[name] == nil {
			c.unknown = append(c.unknown, fmt.Sprintf("%.40q", name))
			delete(v, name)
		} else if v[name] == nil {
			delete(v, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		full := strings.TrimPrefix(path+"."+name, ".")
		switch value := v[name]; {
		case value != nil:
			c.value(s.Properties[name], full, value)
		case slices.Contains(s.Required, name):
			c.bad(full, "is required: %s", s.Properties[name].Description)
		}
	}
}

// maxID bounds an id, in characters (town.CheckID).
const maxID = 128

// isID reports whether an argument is an id, which its name says.
func isID(path string) bool {
	return strings.HasSuffix(path, "_id") || strings.Contains(path, "_ids[") || strings.HasPrefix(path, "ack[")
}

func checkText(s *jsonschema.Schema, path, v string, bad func(string, ...any)) {
	most := maxText
	if s.MaxLength != nil {
		most = *s.MaxLength
	} else if isID(path) {
		most = maxID
	}
	switch n := utf8.RuneCountInString(v); {
	case n > most:
		bad("must be at most %d characters, not %d", most, n)
	case s.MinLength != nil && utf8.RuneCountInString(strings.TrimSpace(v)) < *s.MinLength:
		bad("must be at least %d characters, not %d: say more", *s.MinLength, n)
	case s.Enum != nil && !slices.Contains(s.Enum, any(v)):
		bad("must be one of %v, not %.40q", s.Enum, v)
	case v != "" && isID(path) && town.CheckID(v) != nil:
		bad("must be an id as the town's tools tell it, not %.40q", v)
	}
}

func checkNumber(s *jsonschema.Schema, v json.Number, bad func(string, ...any)) {
	f, err := v.Float64()
	whole := err == nil && f == math.Trunc(f)
	switch {
	case s.Type != "number" && s.Type != "integer":
		bad("must be %s, not a number", article(s.Type))
	case err != nil, s.Type == "integer" && (!whole || math.Abs(f) > 1<<31):
		bad("must be a whole number, not %.40s", v)
	case s.Minimum != nil && f < *s.Minimum, s.Maximum != nil && f > *s.Maximum:
		bad("must be from %v to %v, not %v", *s.Minimum, *s.Maximum, f)
	}
}

// article names a type of JSON in words.
func article(jsonType string) string {
	switch jsonType {
	case "string":
		return "a text"
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "boolean":
		return "true or false"
	case "integer":
		return "a whole number"
	}
	return "a number"
}
