package wire

import "encoding/json"

// withIgnored is an object with the fields of its request that were not known.
type withIgnored struct {
	value   any
	ignored []string
}

// WithIgnored returns value, which encodes as an object, with a member ignored
// when there is something in it.
func WithIgnored(value any, ignored []string) any {
	if len(ignored) == 0 {
		return value
	}
	return withIgnored{value, ignored}
}

// MarshalJSON implements json.Marshaler.
func (w withIgnored) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(w.value)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	more, err := json.Marshal(w.ignored)
	if err != nil {
		return nil, err
	}
	members["ignored"] = more
	return json.Marshal(members)
}
