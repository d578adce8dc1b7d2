// Package githubapp gets the tokens by which a GitHub App acts in one of its
// installations. They last an hour; this package keeps the current one in memory
// and gets the next before it ends. It knows no repository and no git.
package githubapp

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"townd/gitmgr"
	"townd/town"
)

// PublicAPI is the API of github.com.
const PublicAPI = "https://api.github.com"

// The errors of a token that is not had, besides gitmgr.ErrNetwork for an API that is
// not reached, not well or asked too often, and gitmgr.ErrDenied for an installation
// that is suspended. None holds the key.
var (
	ErrKey          = fmt.Errorf("GitHub does not take the app's id and key: %w", gitmgr.ErrAuth)
	ErrInstallation = fmt.Errorf("GitHub knows no such installation of the app: %w", gitmgr.ErrAuth)
)

// Config says which app acts where. ID, Installation, Key and Client are required.
type Config struct {
	ID           string // of the app: its number or its client id
	Installation string // its number
	Key          []byte // of the app, RSA, in PEM as GitHub gives it
	API          string // base URL, PublicAPI when empty; that of an Enterprise server ends in /api/v3
	Client       *http.Client

	Issued func(token string) // hears every token before anyone gets it; may be nil
}

// App is the source of an installation's tokens. It is safe for concurrent use.
type App struct {
	c    Config
	key  *rsa.PrivateKey
	host string

	turn chan struct{} // holds a token while somebody looks at what is below, or renews it

	token   string
	got     time.Time // when token was asked for
	expires time.Time
	tried   time.Time // when the last try began that failed
	failed  time.Time // when it ended
	err     error     // how; nil after a success
}

const (
	renewBefore = 5 * time.Minute  // the end of a token
	retryAfter  = 30 * time.Second // a renewal failed, while the old token lasts
	callTimeout = 30 * time.Second
	maxAnswer   = 1 << 20
	freshFor    = time.Minute // a token this young is not given up: another would be refused too
)

var (
	idPattern     = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	numberPattern = regexp.MustCompile(`^[0-9]{1,20}$`)
)

// New checks c. It calls nobody yet. Its errors are ErrInvalid and name the field.
func New(c Config) (*App, error) {
	c.API = strings.TrimRight(cmp.Or(c.API, PublicAPI), "/")
	host, err := GitHost(c.API)
	switch {
	case !idPattern.MatchString(c.ID):
		return nil, fmt.Errorf("app id: must be the app's number or client id: %w", town.ErrInvalid)
	case !numberPattern.MatchString(c.Installation):
		return nil, fmt.Errorf("installation id: must be a number: %w", town.ErrInvalid)
	case err != nil:
		return nil, err
	}
	key, err := parseKey(c.Key)
	if err != nil {
		return nil, fmt.Errorf("private key: %w: %w", err, town.ErrInvalid)
	}
	c.Key = nil
	return &App{c: c, key: key, host: host, turn: make(chan struct{}, 1)}, nil
}

// GitHost returns the host of the repositories whose API is at base: github.com for
// api.github.com, and that of the API for an Enterprise server.
func GitHost(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery+u.Fragment != "" {
		return "", fmt.Errorf("API: must be a URL as %s: %w", PublicAPI, town.ErrInvalid)
	}
	return strings.TrimPrefix(strings.ToLower(u.Host), "api."), nil
}

// Host returns the host whose repositories the tokens are for.
func (a *App) Host() string { return a.host }

// parseKey quotes nothing of what it reads in its errors.
func parseKey(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("is not PEM: -----BEGIN RSA PRIVATE KEY-----")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("is no RSA key without a passphrase")
	}
	return key, nil
}

// Token returns a token that lasts a while yet. Those who ask while one is got share
// it, or the reason why there is none. When a renewal fails, the old one serves to its
// end. The errors are told at ErrKey.
func (a *App) Token(ctx context.Context) (string, error) {
	asked := time.Now()
	if err := a.enter(ctx); err != nil {
		return "", err
	}
	defer a.leave()
	now := time.Now()
	left := a.expires.Sub(now)
	switch {
	case a.token != "" && left > renewBefore:
		return a.token, nil
	case a.err != nil && a.failed.After(asked):
		return a.still(left, a.err)
	case a.err != nil && left > 0 && now.Sub(a.tried) < retryAfter:
		return a.token, nil
	}
	token, expires, err := a.issue(ctx, now)
	if err != nil {
		if ctx.Err() == nil { // else its caller gave up, which says nothing to the others
			a.err, a.tried, a.failed = err, now, time.Now()
		}
		return a.still(left, err)
	}
	a.token, a.expires, a.got, a.err = token, expires, now, nil
	return token, nil
}

// still returns the token that could not be renewed while it lasts, else why not.
func (a *App) still(left time.Duration, err error) (string, error) {
	if a.token != "" && left > 0 {
		return a.token, nil
	}
	return "", err
}

// Refused tells that a remote has refused token, and reports whether asking again may
// give another: it is given up when it is not the current one any more, or not new.
func (a *App) Refused(token string) bool {
	_ = a.enter(context.Background()) // it cannot end; a renewal under way has its deadline
	defer a.leave()
	if token != a.token {
		return a.token != ""
	}
	if token == "" || time.Since(a.got) < freshFor {
		return false
	}
	a.token, a.expires = "", time.Time{}
	return true
}

func (a *App) enter(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *App) leave() { <-a.turn }

// issue gets a new token.
func (a *App) issue(ctx context.Context, now time.Time) (string, time.Time, error) {
	token, expires, err := a.call(ctx, now)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("token of GitHub App %s: %w", a.c.ID, err)
	}
	if a.c.Issued != nil {
		a.c.Issued(token)
	}
	return token, expires, nil
}

func (a *App) call(ctx context.Context, now time.Time) (string, time.Time, error) {
	jwt, err := sign(a.key, a.c.ID, now)
	if err != nil {
		return "", time.Time{}, err
	}
	deadline, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	to := a.c.API + "/app/installations/" + a.c.Installation + "/access_tokens"
	req, err := http.NewRequestWithContext(deadline, http.MethodPost, to, nil)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("request: %w", town.ErrInvalid)
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("Authorization", "Bearer "+jwt)
	req.Header.Set("User-Agent", "townd")
	res, err := a.c.Client.Do(req)
	if err != nil && ctx.Err() != nil {
		return "", time.Time{}, context.Cause(ctx)
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("%s is not reached: %w", a.host, gitmgr.ErrNetwork) // the error may quote a proxy's password
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		return "", time.Time{}, statusError(res)
	}
	return readToken(io.LimitReader(res.Body, maxAnswer), now)
}

// readToken reads an answer. None of it gets into an error.
func readToken(body io.Reader, now time.Time) (string, time.Time, error) {
	var out struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	if err := json.NewDecoder(body).Decode(&out); err != nil || out.Token == "" || strings.ContainsAny(out.Token, " \t\r\n\x00") {
		return "", time.Time{}, fmt.Errorf("the answer holds no token: %w", gitmgr.ErrNetwork)
	}
	if !out.Expires.After(now) {
		return "", time.Time{}, fmt.Errorf("the token has expired already, by this machine's clock: %w", gitmgr.ErrAuth)
	}
	return out.Token, out.Expires, nil
}

func statusError(res *http.Response) error {
	kind, status := town.ErrGit, res.StatusCode
	limited := res.Header.Get("Retry-After") != "" || res.Header.Get("X-RateLimit-Remaining") == "0"
	switch {
	case status == http.StatusUnauthorized:
		kind = ErrKey
	case status == http.StatusNotFound:
		kind = ErrInstallation
	case status == http.StatusForbidden && !limited:
		kind = gitmgr.ErrDenied
	case limited, status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		kind = gitmgr.ErrNetwork
	}
	return fmt.Errorf("GitHub answered %d: %w", status, kind)
}
