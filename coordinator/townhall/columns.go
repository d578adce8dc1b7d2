package townhall

import (
	"database/sql"
	"encoding/json"
	"strings"
	"time"
)

// Times are kept as milliseconds.

func ms(t time.Time) int64 { return t.UnixMilli() }

func msOrNull(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMilli()
}

func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func timeOrNil(ms sql.NullInt64) *time.Time {
	if !ms.Valid {
		return nil
	}
	t := timeOf(ms.Int64)
	return &t
}

// jsonText is v as it is kept in a column.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("townhall: " + err.Error()) // only types of ours are given, which have a form
	}
	return string(b)
}

// rawOrNull keeps JSON as it was given.
func rawOrNull(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	return string(raw)
}

func rawOf(s sql.NullString) json.RawMessage {
	if !s.Valid {
		return nil
	}
	return json.RawMessage(s.String)
}

// where collects conditions and their arguments. The text of each is constant.
type where struct {
	conditions []string
	args       []any
}

func (w *where) and(condition string, args ...any) {
	w.conditions = append(w.conditions, condition)
	w.args = append(w.args, args...)
}

// equal adds a condition unless value is "".
func (w *where) equal(column, value string) {
	if value != "" {
		w.and(column+" = ?", value)
	}
}

func (w *where) String() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}
