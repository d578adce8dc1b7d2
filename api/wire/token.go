package wire

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"

	"townd/town"
)

// Token is a bearer token that callers must show. Only its hash is held.
type Token struct {
	sum [sha256.Size]byte
	set bool
}

// NewToken returns the token of that text. The empty one lets nobody in.
func NewToken(text string) Token { return Token{sum: sha256.Sum256([]byte(text)), set: text != ""} }

// Authorize returns town.ErrUnauthorized unless the request shows the token. It
// compares hashes, so that neither the token's length nor its beginning can be
// found out by timing.
func (t Token) Authorize(r *http.Request) error {
	token, err := Bearer(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], t.sum[:]) != 1 || !t.set {
		return fmt.Errorf("that is not this town's token; `townd token` prints it: %w", town.ErrUnauthorized)
	}
	return nil
}

// Bearer returns the bearer token that a request shows, town.ErrUnauthorized when it
// shows none or several.
func Bearer(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return "", fmt.Errorf("one header is needed: Authorization: Bearer <token>; `townd token` prints it: %w", town.ErrUnauthorized)
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", fmt.Errorf("the Authorization header must be: Bearer <token>; `townd token` prints it: %w", town.ErrUnauthorized)
	}
	return strings.TrimSpace(token), nil
}
