package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"townd/container"
	"townd/gitmgr"
	"townd/town"
)

// gitSettings is what people say of git remotes.
type gitSettings struct {
	Token  string                       // for github.com
	Tokens map[string]gitmgr.Credential // by host, with its port if it has one
	Push   bool                         // checkpoints to the rig's remote
	Repos  map[string]string            // URLs of those to have before anyone asks, by rig

	PublicOnly bool     // remotes at addresses that are not public are refused,
	AllowHosts []string // but for these
}

func (g *gitSettings) settings() []setting {
	return []setting{
		{"", "GH_TOKEN", "token for repositories on github.com; agents never get it, the town shows it to the remote for them", text(&g.Token, "")},
		{"", "GIT_TOKENS", "tokens for repositories on other hosts, as HOST=TOKEN or HOST=USER:TOKEN, several with commas", tokens(&g.Tokens)},
		{"push-checkpoints", "TOWND_PUSH_CHECKPOINTS", "bring what agents have not committed to their remote too, to refs/town/checkpoints, for a town whose disk may be lost", yes(&g.Push)},
		{"preclone-repos", "GH_PRECLONE_REPOS", "repositories to clone when the server starts: OWNER/NAME on github.com or URL, or RIG=one of these, several with commas", repos(&g.Repos)},
		{"git-public-only", "TOWND_GIT_PUBLIC_ONLY", "refuse repositories at addresses that are not public: private, loopback, link-local", yes(&g.PublicOnly)},
		{"git-allow-hosts", "TOWND_GIT_ALLOW_HOSTS", "hosts that may be anywhere with TOWND_GIT_PUBLIC_ONLY", list(&g.AllowHosts, "")},
	}
}

const githubHost = "github.com"

// tokenUser is the name that goes with a token: git hosts look at the token alone.
const tokenUser = "x-access-token"

// tokens is a list of HOST=TOKEN and HOST=USER:TOKEN. No error quotes it.
func tokens(p *map[string]gitmgr.Credential) pflag.Value {
	return &value[map[string]gitmgr.Credential]{
		p, "tokens",
		func(s string) (map[string]gitmgr.Credential, error) {
			all := make(map[string]gitmgr.Credential)
			for i, item := range strings.Split(s, ",") {
				host, token, _ := strings.Cut(strings.TrimSpace(item), "=")
				c := gitmgr.Credential{User: tokenUser, Secret: token}
				if user, secret, ok := strings.Cut(token, ":"); ok {
					c = gitmgr.Credential{User: user, Secret: secret}
				}
				host = strings.ToLower(host)
				if _, twice := all[host]; twice || checkToken(host, c) != nil {
					return nil, fmt.Errorf("item %d must be HOST=TOKEN or HOST=USER:TOKEN, each host once", i+1)
				}
				all[host] = c
			}
			return all, nil
		},
		func(all map[string]gitmgr.Credential) string { return strings.Join(slices.Sorted(maps.Keys(all)), ",") },
	}
}

var githubRepo = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)

// repos is a list of OWNER/NAME, URL and RIG= either of these. A rig without a name
// has the one that townd start gives it. No error quotes what may hold a credential.
func repos(p *map[string]string) pflag.Value {
	return &value[map[string]string]{
		p, "list",
		func(s string) (map[string]string, error) {
			all := make(map[string]string)
			for i, item := range strings.Split(s, ",") {
				repo := strings.TrimSpace(item)
				rig, rest, ok := strings.Cut(repo, "=")
				if ok && town.CheckID(rig) == nil {
					repo = rest
				} else {
					rig = rigOf(repo)
				}
				if githubRepo.MatchString(repo) {
					repo = "https://" + githubHost + "/" + repo
				}
				if town.CheckID(rig) != nil || gitmgr.CheckURL(repo, allProtocols) != nil {
					return nil, fmt.Errorf("item %d must be OWNER/NAME, a URL without credentials, or RIG=one of these", i+1)
				}
				if _, twice := all[rig]; twice {
					return nil, fmt.Errorf("two repositories are named %s: write RIG=%s for one", rig, repo)
				}
				all[rig] = repo
			}
			return all, nil
		},
		func(all map[string]string) string {
			var items []string
			for _, rig := range slices.Sorted(maps.Keys(all)) {
				items = append(items, rig+"="+all[rig])
			}
			return strings.Join(items, ",")
		},
	}
}

// allProtocols are those that TOWND_GIT_PROTOCOLS may name.
var allProtocols = []string{"https", "ssh", "http", "git", "file"}

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

// gitTokens are the town's credentials for git remotes, in memory alone. Safe for
// concurrent use.
type gitTokens struct {
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
func (t *gitTokens) credential(_ context.Context, _, host string) (gitmgr.Credential, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byHost[strings.ToLower(host)], nil
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
