package container

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
)

// RedactHandler is a slog handler that writes JSON without secrets: the values of
// attributes with names of secrets, however deep in groups, maps, structs or what
// a LogValuer gives, and known or credential-like values in any text.
type RedactHandler struct {
	next    slog.Handler
	secrets *Secrets
}

// NewRedactHandler returns a handler that writes to w; opts may be nil. Values
// added to secrets later are masked from then on.
func NewRedactHandler(w io.Writer, opts *slog.HandlerOptions, secrets *Secrets) *RedactHandler {
	return &RedactHandler{slog.NewJSONHandler(w, opts), secrets}
}

// Enabled is part of slog.Handler.
func (h *RedactHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle is part of slog.Handler.
func (h *RedactHandler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.secrets.Mask(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

// WithAttrs is part of slog.Handler.
func (h *RedactHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &RedactHandler{h.next.WithAttrs(h.attrs(attrs)), h.secrets}
}

// WithGroup is part of slog.Handler.
func (h *RedactHandler) WithGroup(name string) slog.Handler {
	return &RedactHandler{h.next.WithGroup(name), h.secrets}
}

func (h *RedactHandler) attrs(attrs []slog.Attr) []slog.Attr {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return clean
}

func (h *RedactHandler) attr(a slog.Attr) slog.Attr {
	v, key := a.Value.Resolve(), h.secrets.Mask(a.Key)
	switch v.Kind() {
	case slog.KindGroup:
		if secretName(a.Key) {
			return slog.String(key, redacted)
		}
		return slog.Attr{Key: key, Value: slog.GroupValue(h.attrs(v.Group())...)}
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindTime, slog.KindUint64:
		if secretName(a.Key) && !countName(a.Key) {
			return slog.String(key, redacted)
		}
		return slog.Attr{Key: key, Value: v}
	case slog.KindString:
		return slog.String(key, h.text(a.Key, v.String()))
	case slog.KindAny, slog.KindLogValuer:
	}
	return slog.Any(key, h.any(a.Key, v.Any()))
}

// countName reports whether the name is that of a number of tokens.
func countName(name string) bool { return strings.HasSuffix(strings.ToLower(name), "tokens") }

func (h *RedactHandler) text(name, text string) string {
	if secretName(name) && text != "" {
		return redacted
	}
	return h.secrets.Mask(text)
}

// any cleans a value of any type by way of its JSON, which is what would be written.
func (h *RedactHandler) any(name string, v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case error:
		return h.text(name, v.Error())
	case []byte:
		return h.text(name, string(v)) // its base64 would hide a secret from us, not from others
	}
	data, err := json.Marshal(v)
	if err != nil {
		return "!ERROR:" + h.secrets.Mask(err.Error())
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	var plain any
	if err := dec.Decode(&plain); err != nil {
		return "!ERROR:" + h.secrets.Mask(err.Error())
	}
	return h.plain(name, plain)
}

// plain cleans what encoding/json decoded.
func (h *RedactHandler) plain(name string, v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return h.text(name, v)
	case map[string]any:
		if secretName(name) && !countName(name) {
			return redacted
		}
		clean := make(map[string]any, len(v))
		for key, value := range v {
			clean[h.secrets.Mask(key)] = h.plain(key, value)
		}
		return clean
	case []any:
		clean := make([]any, len(v))
		for i, value := range v {
			clean[i] = h.plain(name, value)
		}
		return clean
	}
	if secretName(name) && !countName(name) {
		return redacted
	}
	return v
}
