package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"townd/gitmgr"
	"townd/gitmgr/forge"
	"townd/gitmgr/githubapp"
	"townd/town"
)

// gitSettings is what people say of git remotes.
type gitSettings struct {
	Token  string                       // for github.com
	Tokens map[string]gitmgr.Credential // by host, with its port if it has one
	Push   bool                         // checkpoints to the rig's remote
	Pool   int                          // worktrees kept ready for the next starts, per rig
	Repos  map[string]string            // URLs of those to have before anyone asks, by rig
	App    githubApp
	SSH    sshSettings
	Author gitmgr.Identity // of what agents commit and the town merges; the zero value for themselves

	PullRequests map[string]bool       // rigs whose merges are by pull request
	Forges       map[string]forge.Kind // by host

	PublicOnly bool     // remotes at addresses that are not public are refused,
	AllowHosts []string // but for these
}

func (g *gitSettings) settings() []setting {
	all := []setting{
		{"", "GH_TOKEN", "token for repositories on github.com; agents never get it, the town shows it to the remote for them", text(&g.Token, "")},
		{"", "GIT_TOKENS", "tokens for repositories on other hosts, as HOST=TOKEN or HOST=USER:TOKEN, several with commas", tokens(&g.Tokens)},
		{"push-checkpoints", "TOWND_PUSH_CHECKPOINTS", "bring what agents have not committed to their remote too, to refs/town/checkpoints, for a town whose disk may be lost", yes(&g.Push)},
		{"pool-size", "TOWND_POOL_SIZE", "worktrees that are kept ready for the next starts, in each rig; 0 makes each when it is needed", whole(&g.Pool, 2)},
		{"preclone-repos", "GH_PRECLONE_REPOS", "repositories to clone when the server starts: OWNER/NAME on github.com or URL, or RIG=one of these, several with commas", repos(&g.Repos)},
		{"git-author", "TOWND_GIT_AUTHOR", "author of what agents commit and the town merges, as Name <mail>: agents are then its committers, and named in trailers of merges", author(&g.Author)},
		{"pull-requests", "TOWND_PULL_REQUESTS", "rigs whose merges are by pull request where a request names no mode, several with commas, or all", set(&g.PullRequests)},
		{"git-forges", "GIT_FORGES", "what a host's forge is, where it is not GitHub for github.com and the host of GITHUB_API_URL and Forgejo elsewhere: HOST=github or HOST=forgejo, several with commas", forges(&g.Forges)},
		{"git-public-only", "TOWND_GIT_PUBLIC_ONLY", "refuse repositories at addresses that are not public: private, loopback, link-local", yes(&g.PublicOnly)},
		{"git-allow-hosts", "TOWND_GIT_ALLOW_HOSTS", "hosts that may be anywhere with TOWND_GIT_PUBLIC_ONLY", list(&g.AllowHosts, "")},
	}
	return append(append(all, g.App.settings()...), g.SSH.settings()...)
}

// check returns what is wrong with settings that have to be looked at together.
func (g *gitSettings) check() error {
	_, appErr := g.App.open(nil, nil)
	_, _, sshErr := g.SSH.read()
	_, hostErr := githubapp.GitHost(g.App.API)
	if hostErr != nil {
		hostErr = fmt.Errorf("GITHUB_API_URL: %w", hostErr)
	}
	return errors.Join(appErr, sshErr, hostErr)
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
