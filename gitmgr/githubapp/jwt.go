package githubapp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

const (
	jwtBack  = time.Minute     // that our clock may be ahead of GitHub's
	jwtLasts = 8 * time.Minute // from now; GitHub takes 10
)

// sign returns the JWT (RFC 7519, RS256) by which an app shows who it is. There is
// one form of it and we only make it, so there is no library for it here.
func sign(key *rsa.PrivateKey, issuer string, now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "iat": now.Add(-jwtBack).Unix(), "exp": now.Add(jwtLasts).Unix(),
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign with the app's key: %w", err)
	}
	return signed + "." + encode(signature), nil
}
