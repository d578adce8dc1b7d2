package main

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"

	"townd/container"
	"townd/gitmgr"
	"townd/gitmgr/githubapp"
	"townd/town"
)

// gitTokens are the town's credentials for git remotes and their forges, in memory
// alone. Safe for concurrent use.
type gitTokens struct {
	app *githubapp.App // for its host, where there is no token; nil for none. Set before use

	mu     sync.RWMutex
	byHost map[string]gitmgr.Credential
}

func newGitTokens(g gitSettings, secrets *container.Secrets) *gitTokens {
	t := &gitTokens{byHost: maps.Clone(g.Tokens)}
	if t.byHost == nil {
		t.byHost = make(map[string]gitmgr.Credential)
	}
	if g.Token != "" {
		t.byHost[githubHost] = gitmgr.Credential{User: tokenUser, Secret: g.Token}
	}
	for _, c := range t.byHost {
		secrets.Add(c.Secret)
	}
	return t
}

// credential is a gitmgr.CredentialFunc.
func (t *gitTokens) credential(ctx context.Context, _, host string) (gitmgr.Credential, error) {
	host = strings.ToLower(host)
	t.mu.RLock()
	c, ok := t.byHost[host]
	t.mu.RUnlock()
	if ok || t.app == nil || host != t.app.Host() {
		return c, nil
	}
	token, err := t.app.Token(ctx)
	return gitmgr.Credential{User: tokenUser, Secret: token}, err
}

// refused is gitmgr.Config's Refused: of a token that people gave there is no other.
func (t *gitTokens) refused(host string, c gitmgr.Credential) bool {
	host = strings.ToLower(host)
	t.mu.RLock()
	_, given := t.byHost[host]
	t.mu.RUnlock()
	return !given && t.app != nil && host == t.app.Host() && t.app.Refused(c.Secret)
}

// set changes the token for a host, github.com when that is empty. Its user stays.
func (t *gitTokens) set(host, token string) error {
	if host = strings.ToLower(host); host == "" {
		host = githubHost
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.byHost[host]
	if c.Secret = token; c.User == "" {
		c.User = tokenUser
	}
	if err := checkToken(host, c); err != nil {
		field, message, _ := strings.Cut(err.Error(), " ")
		return &town.InvalidError{Issues: []town.Issue{{Path: field, Message: message}}}
	}
	t.byHost[host] = c
	return nil
}

// checkToken returns why c cannot be a credential for host, nil if it can.
func checkToken(host string, c gitmgr.Credential) error {
	switch {
	case host == "" || strings.ContainsAny(host, "/@ \t\r\n"):
		return errors.New("host must be a name, with its port if it has one")
	case c.User == "" || c.Secret == "" || strings.ContainsAny(c.User+c.Secret, " \t\r\n\x00"):
		return errors.New("token must not be empty or hold white space")
	}
	return nil
}
