package townhall

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"townd/town"
)

type keyed struct{ key, fingerprint string }

type keyOfContext struct{}

// WithKey returns a context under which an operation that makes or reports
// something is done once: called again with the same key it returns its first
// answer, for as long as the key is kept. fingerprint tells calls apart (caller,
// method, path and a hash of the body): the same key with another one is
// town.ErrConflict.
func WithKey(ctx context.Context, key, fingerprint string) context.Context {
	return context.WithValue(ctx, keyOfContext{}, keyed{key, fingerprint})
}

// once runs fn in the write transaction, unless ctx has a key that was answered
// before: then that is the answer again. An error is not kept.
func once[T any](ctx context.Context, h *Hall, d durability, fn func(t *tx) (T, error)) (out T, err error) {
	k, _ := ctx.Value(keyOfContext{}).(keyed)
	err = h.write(ctx, d, func(t *tx) error {
		if k.key == "" {
			out, err = fn(t)
			return err
		}
		var fingerprint, answer string
		err := t.row(`SELECT fingerprint, answer FROM idempotency WHERE key = ?`, k.key).Scan(&fingerprint, &answer)
		switch {
		case err == nil && fingerprint != k.fingerprint:
			return fmt.Errorf("idempotency key %q was given with another call: %w", k.key, town.ErrConflict)
		case err == nil:
			return json.Unmarshal([]byte(answer), &out)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		if out, err = fn(t); err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO idempotency (key, fingerprint, answer, created_at) VALUES (?, ?, ?, ?)`,
			k.key, k.fingerprint, jsonText(out), ms(t.now))
		t.wrote(1)
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return out, nil
}

// made is an answer with whether what it tells of is new.
type made[T any] struct {
	It      T    `json:"it"`
	Created bool `json:"created"`
}
