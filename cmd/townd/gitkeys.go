package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"townd/gitmgr"
	"townd/gitmgr/forge"
	"townd/gitmgr/githubapp"
)

// secretText is a setting that is given as text or in a file, by two variables.
type secretText struct{ Text, File string }

// maxKeyBytes is far more than keys and lists of hosts have.
const maxKeyBytes = 1 << 20

// read returns the text, nil when there is none. A text on one line may have its line
// ends written as \n, as .env files want it.
func (s secretText) read() ([]byte, error) {
	switch {
	case s.Text != "" && s.File != "":
		return nil, errors.New("is given as text and as a file: unset one")
	case s.Text != "" && !strings.Contains(s.Text, "\n"):
		return []byte(strings.ReplaceAll(s.Text, `\n`, "\n") + "\n"), nil
	case s.Text != "":
		return []byte(s.Text + "\n"), nil
	case s.File == "":
		return nil, nil
	}
	f, err := os.Open(s.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyBytes))
}

// githubApp is the app by which the town gets its tokens for GitHub.
type githubApp struct {
	ID, Installation string
	Key              secretText
	API              string
}

func (a *githubApp) settings() []setting {
	return []setting{
		{"github-app-id", "GITHUB_APP_ID", "number or client id of the GitHub App whose installation tokens the town shows where there is no GH_TOKEN", text(&a.ID, "")},
		{"github-app-installation-id", "GITHUB_APP_INSTALLATION_ID", "number of that app's installation", text(&a.Installation, "")},
		{"", "GITHUB_APP_PRIVATE_KEY", "private key of that app, in PEM; its line ends may be written as \\n", text(&a.Key.Text, "")},
		{"github-app-private-key-file", "GITHUB_APP_PRIVATE_KEY_FILE", "file that holds it instead", text(&a.Key.File, "")},
		{"github-api-url", "GITHUB_API_URL", "base URL of GitHub's API; that of an Enterprise server is https://HOST/api/v3", text(&a.API, githubapp.PublicAPI)},
	}
}

// open returns nil when no app is set. It calls nobody.
func (a *githubApp) open(client *http.Client, issued func(token string)) (*githubapp.App, error) {
	if a.ID == "" && a.Installation == "" && a.Key == (secretText{}) {
		return nil, nil
	}
	key, err := a.Key.read()
	if err != nil {
		return nil, fmt.Errorf("GITHUB_APP_PRIVATE_KEY: %w", err)
	}
	app, err := githubapp.New(githubapp.Config{ID: a.ID, Installation: a.Installation, Key: key, API: a.API, Client: client, Issued: issued})
	if err != nil {
		return nil, fmt.Errorf("GITHUB_APP_ID, GITHUB_APP_INSTALLATION_ID, GITHUB_APP_PRIVATE_KEY: %w", err)
	}
	return app, nil
}

// sshSettings are the town's key for remotes that are reached by ssh.
type sshSettings struct{ Key, KnownHosts secretText }

func (s *sshSettings) settings() []setting {
	return []setting{
		{"", "GIT_SSH_KEY", "private key for remotes reached by ssh, without a passphrase; it stays in the server's memory, and agents never get it", text(&s.Key.Text, "")},
		{"git-ssh-key-file", "GIT_SSH_KEY_FILE", "file that holds it instead", text(&s.Key.File, "")},
		{"git-ssh-known-hosts", "GIT_SSH_KNOWN_HOSTS", "hosts that the key is used for, as lines of a known_hosts file", text(&s.KnownHosts.Text, "")},
		{"git-ssh-known-hosts-file", "GIT_SSH_KNOWN_HOSTS_FILE", "file that holds them instead", text(&s.KnownHosts.File, "")},
	}
}

// read returns the key and the hosts, neither when none is set.
func (s *sshSettings) read() (key, hosts []byte, err error) {
	if key, err = s.Key.read(); err != nil {
		return nil, nil, fmt.Errorf("GIT_SSH_KEY: %w", err)
	}
	if hosts, err = s.KnownHosts.read(); err != nil {
		return nil, nil, fmt.Errorf("GIT_SSH_KNOWN_HOSTS: %w", err)
	}
	if (key == nil) != (hosts == nil) {
		return nil, nil, errors.New("GIT_SSH_KEY, GIT_SSH_KNOWN_HOSTS: one needs the other")
	}
	if key != nil {
		if err := gitmgr.CheckSSHKey(key); err != nil {
			return nil, nil, fmt.Errorf("GIT_SSH_KEY: %w", err)
		}
	}
	return key, hosts, nil
}

// forges is a list of HOST=KIND.
func forges(p *map[string]forge.Kind) pflag.Value {
	return &value[map[string]forge.Kind]{
		p, "list",
		func(s string) (map[string]forge.Kind, error) {
			all := make(map[string]forge.Kind)
			for item := range strings.SplitSeq(s, ",") {
				host, kind, _ := strings.Cut(strings.TrimSpace(item), "=")
				k := forge.Kind(kind)
				if host == "" || strings.ContainsAny(host, "/@ ") || k != forge.KindGitHub && k != forge.KindForgejo {
					return nil, fmt.Errorf("%q must be HOST=github or HOST=forgejo", item)
				}
				all[strings.ToLower(host)] = k
			}
			return all, nil
		},
		func(all map[string]forge.Kind) string {
			var items []string
			for _, host := range slices.Sorted(maps.Keys(all)) {
				items = append(items, host+"="+string(all[host]))
			}
			return strings.Join(items, ",")
		},
	}
}

// author is Name <mail>.
func author(p *gitmgr.Identity) pflag.Value {
	return &value[gitmgr.Identity]{p, "text", gitmgr.ParseIdentity, gitmgr.Identity.String}
}

// allRigs stands for every rig in a list of rigs.
const allRigs = "all"

// byPullRequest reports whether a rig's merges are by pull request.
func (g *gitSettings) byPullRequest(rigID string) bool {
	return g.PullRequests[rigID] || g.PullRequests[allRigs]
}

// proposals are pull requests for the rigs of git.
func (g *gitSettings) proposals(c forge.ProposalsConfig, tokens *gitTokens) *forge.Proposals {
	c.Credential, c.Refused = tokens.credential, tokens.refused
	c.Kinds, c.APIs = maps.Clone(g.Forges), map[string]string{}
	if c.Kinds == nil {
		c.Kinds = make(map[string]forge.Kind)
	}
	if host, err := githubapp.GitHost(g.App.API); err == nil {
		c.Kinds[host] = cmp.Or(c.Kinds[host], forge.KindGitHub)
		c.APIs[host] = strings.TrimRight(g.App.API, "/")
	}
	return forge.NewProposals(c)
}
