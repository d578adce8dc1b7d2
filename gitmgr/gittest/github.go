package gittest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// GitHub is a host with one repository, o/r, and as much of GitHub's API beside it as
// one pull request needs, number 7.
type GitHub struct {
	URL string // of the host
	r   *Remote

	mu     sync.Mutex
	pull   map[string]any // nil for none
	issued int
}

// Repo returns the URL of the repository.
func (g *GitHub) Repo() string { return g.URL + "/o/r.git" }

// API returns the base URL of the API.
func (g *GitHub) API() string { return g.URL + "/api/v3" }

// Issued returns how many installation tokens were given.
func (g *GitHub) Issued() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.issued
}

// Merged makes the pull request a merged one, by the commit that is returned.
func (g *GitHub) Merged() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	commit := strings.Repeat("e", 40)
	g.pull["state"], g.pull["merged_at"], g.pull["merge_commit_sha"] = "closed", "2026-01-02T03:04:05Z", commit
	return commit
}

// ServeGitHub serves r, whose path ends in r.git, until the test ends: to anyone, or only
// to who shows token when that is not empty. Installation 42 of the app 7 with the key
// app, if that is not nil, gets token as its own.
func (r *Remote) ServeGitHub(token string, app *rsa.PublicKey) *GitHub {
	r.t.Helper()
	g := &GitHub{r: r}
	user := "x-access-token"
	if token == "" {
		user = ""
	}
	m := http.NewServeMux()
	m.Handle("/o/", http.StripPrefix("/o", r.ServeHTTP(user, token).Handler()))
	m.HandleFunc("POST /api/v3/app/installations/42/access_tokens", func(w http.ResponseWriter, req *http.Request) {
		claims, err := VerifyJWT(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), app)
		if err != nil || claims.Issuer != "7" {
			r.t.Errorf("JWT of %q: %v", claims.Issuer, err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		g.mu.Lock()
		g.issued++
		g.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		writeJSON(w, map[string]any{"token": token, "expires_at": time.Now().Add(time.Hour)})
	})
	const repo = "/api/v3/repos/o/r"
	for pattern, answer := range map[string]func(*http.Request) any{
		"GET " + repo:                               func(*http.Request) any { return map[string]any{"default_branch": r.Branch} },
		"GET " + repo + "/pulls":                    g.list,
		"POST " + repo + "/pulls":                   g.open,
		"GET " + repo + "/pulls/7":                  func(*http.Request) any { return g.pull },
		"GET " + repo + "/pulls/7/reviews":          func(*http.Request) any { return []any{} },
		"GET " + repo + "/pulls/7/comments":         comments,
		"GET " + repo + "/commits/{sha}/check-runs": checkRuns,
		"GET " + repo + "/commits/{sha}/status":     func(*http.Request) any { return map[string]any{} },
	} {
		m.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			if token != "" && req.Header.Get("Authorization") != "Bearer "+token {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			writeJSON(w, answer(req))
		})
	}
	server := httptest.NewServer(m)
	r.t.Cleanup(server.Close)
	g.URL = server.URL
	return g
}

func writeJSON(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) } // the client may be gone

func (g *GitHub) list(req *http.Request) any {
	if g.pull == nil || g.pull["state"] != req.URL.Query().Get("state") {
		return []any{}
	}
	return []any{g.pull}
}

func (g *GitHub) open(req *http.Request) any {
	var in struct{ Title, Body, Head, Base string }
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		g.r.t.Errorf("pull request: %v", err)
	}
	head := g.r.Git("rev-parse", "refs/heads/"+in.Head)
	g.pull = map[string]any{
		"number": 7, "html_url": g.URL + "/o/r/pull/7", "title": in.Title, "body": in.Body, "state": "open", "mergeable": true,
		"head": map[string]any{"ref": in.Head, "sha": head}, "base": map[string]any{"ref": in.Base},
	}
	return g.pull
}

func comments(*http.Request) any {
	return []any{map[string]any{"user": map[string]any{"login": "ada"}, "body": "Why?", "path": "work.txt", "line": 1, "created_at": "2026-01-02T03:04:05Z"}}
}

func checkRuns(*http.Request) any {
	return map[string]any{"check_runs": []any{map[string]any{"name": "test", "status": "in_progress"}}}
}

// Claims are those of a GitHub App's JWT.
type Claims struct {
	Issuer  string `json:"iss"`
	Issued  int64  `json:"iat"` // in seconds of the epoch
	Expires int64  `json:"exp"`
}

// VerifyJWT returns the claims of a JWT that was signed with key, by RS256, and is good
// now as GitHub sees it.
func VerifyJWT(jwt string, key *rsa.PublicKey) (claims Claims, err error) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 || key == nil {
		return claims, errors.New("is no JWT, or there is no key")
	}
	var decoded [3][]byte
	for i, p := range parts {
		if decoded[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			return claims, err
		}
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], decoded[2]); err != nil {
		return claims, err
	}
	var head struct{ Alg string }
	if err := errors.Join(json.Unmarshal(decoded[0], &head), json.Unmarshal(decoded[1], &claims)); err != nil {
		return claims, err
	}
	if now := time.Now().Unix(); head.Alg != "RS256" || claims.Issued > now || claims.Expires > now+600 || claims.Expires <= now {
		return claims, fmt.Errorf("says %+v %+v at %d", head, claims, now)
	}
	return claims, nil
}
