package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"townd/api"
	"townd/container"
	"townd/gitmgr"
	"townd/gitmgr/gittest"
)

// appKey makes the key of a GitHub App, and its text.
func appKey(t *testing.T) (*rsa.PrivateKey, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// W19, X21, C44, K2: an agent's work goes from its worktree to a pull request at GitHub, by
// a GitHub App's token that it never sees, in its owner's name.
func TestWorkOfAnAgentBecomesAPullRequest(t *testing.T) {
	key, text := appKey(t)
	token := "ghs" + "_" + strings.ToLower(rand.Text())
	remote := gittest.NewAt(t, filepath.Join(t.TempDir(), "r.git"), gittest.Options{})
	hub := remote.ServeGitHub(token, &key.PublicKey)
	tt := startTownWith(t, map[string]string{
		"TOWND_GIT_PROTOCOLS": "http", "GITHUB_API_URL": hub.API(), "GITHUB_APP_ID": "7", "GITHUB_APP_INSTALLATION_ID": "42",
		"GITHUB_APP_PRIVATE_KEY": strings.ReplaceAll(text, "\n", `\n`),
		"TOWND_GIT_AUTHOR":       "Ada Lovelace <ada@example.com>", "TOWND_PULL_REQUESTS": "all",
	})
	work := tt.ok("run", "--repo", hub.Repo(), "--rig", "r", "--name", "toast", "--", "sh", "-c",
		"echo work >work.txt && git add -A && git commit -qm 'Toast the bread' && git push origin HEAD && env")
	if strings.Contains(work, token) || strings.Contains(work, "PRIVATE KEY") || strings.Contains(work, "SSH_AUTH_SOCK") {
		t.Errorf("the agent has a credential of the town: %s", work)
	}
	branch := strings.TrimSpace(remote.Git("for-each-ref", "--format=%(refname:short)", "refs/heads/polecat"))
	if got := remote.Git("show", "-s", "--format=%an %ae, %cn", branch); got != "Ada Lovelace ada@example.com, toast" {
		t.Errorf("the commit is by %s", got)
	}
	control, err := os.ReadFile(filepath.Join(tt.home, "token"))
	if err != nil {
		t.Fatal(err)
	}
	client := api.New("http://"+tt.listen, strings.TrimSpace(string(control)), nil)
	res, err := client.Merge(t.Context(), api.MergeRequest{RigID: "r", Branch: branch})
	if err != nil || res.Status != "pull_request" || res.PullRequest.Title != "Toast the bread" || res.PullRequest.Checked != "pending" {
		t.Errorf("Merge() = %+v, %v", res, err)
	}
	got, err := client.PullRequest(t.Context(), "r", branch, "main")
	if err != nil || len(got.Comments) != 1 || got.Comments[0].Author != "ada" {
		t.Errorf("PullRequest() = %+v, %v", got, err)
	}
	commit := hub.Merged()
	if res, err = client.Merge(t.Context(), api.MergeRequest{RigID: "r", Branch: branch}); err != nil || res.Status != "merged" || res.Commit != commit {
		t.Errorf("Merge() after the merge = %+v, %v", res, err)
	}
	res, err = client.Merge(t.Context(), api.MergeRequest{RigID: "r", Branch: branch, Mode: "merge", Strategy: "squash"})
	if err != nil || res.Status != "merged" {
		t.Errorf("Merge() by the town = %+v, %v", res, err)
	}
	wantContains(t, "squash", remote.Git("show", "-s", "--format=%an, %cn%n%B", "main"), "Ada Lovelace, townd\n", "\nCo-authored-by: toast <toast@")
	if hub.Issued() != 1 {
		t.Errorf("%d tokens were issued, want 1", hub.Issued())
	}
	if log := tt.log.String(); strings.Contains(log, token) || strings.Contains(log, "PRIVATE KEY") {
		t.Error("the log holds a credential")
	}
}

// Z6, W17: an agent pushes its branch to a remote that is reached by ssh, with no key of
// its own, and nothing but its branch.
func TestAgentPushesToAnSSHRemoteWithoutAKey(t *testing.T) {
	remote := gittest.New(t, gittest.Options{})
	ssh := remote.ServeSSH()
	known := filepath.Join(t.TempDir(), "known")
	if err := os.WriteFile(known, ssh.KnownHosts, 0o600); err != nil {
		t.Fatal(err)
	}
	tt := startTownWith(t, map[string]string{
		"TOWND_GIT_PROTOCOLS": "ssh", "GIT_SSH_KEY": strings.ReplaceAll(string(ssh.Key), "\n", `\n`), "GIT_SSH_KNOWN_HOSTS_FILE": known,
	})
	out := tt.ok("run", "--repo", ssh.URL, "--rig", "r", "--name", "toast", "--", "sh", "-c",
		"git commit -qm work --allow-empty && git push -q origin HEAD && echo pushed; git push origin HEAD:main || echo refused; env")
	wantContains(t, "output", out, "pushed", "you may push your own branch only", "refused")
	if strings.Contains(out, "SSH_AUTH_SOCK") || strings.Contains(out, "PRIVATE KEY") {
		t.Errorf("the agent has a way to the key: %s", out)
	}
	if got := remote.Git("for-each-ref", "--format=%(subject)", "refs/heads/polecat", "refs/heads/main"); got != "commit 0\nwork" {
		t.Errorf("the remote has %q", got)
	}
}

func TestGitSettingsAreCheckedBeforeAnythingStarts(t *testing.T) {
	_, key := appKey(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	app := map[string]string{"TOWND_HOME": "/h", "GITHUB_APP_ID": "7", "GITHUB_APP_INSTALLATION_ID": "42"}
	with := func(more ...string) map[string]string {
		env := maps.Clone(app)
		for i := 0; i < len(more); i += 2 {
			env[more[i]] = more[i+1]
		}
		return env
	}
	for _, good := range []map[string]string{
		with("GITHUB_APP_PRIVATE_KEY_FILE", file), with("GITHUB_APP_PRIVATE_KEY", key), with("GITHUB_APP_PRIVATE_KEY", strings.ReplaceAll(key, "\n", `\n`)),
		{"TOWND_HOME": "/h", "TOWND_GIT_AUTHOR": "Ada <ada@example.com>", "GIT_FORGES": "Git.Example.com=github, x:1=forgejo"},
	} {
		if _, err := parseSettings(nil, good); err != nil {
			t.Errorf("refused: %v", err)
		}
	}
	for want, bad := range map[string]map[string]string{
		"GITHUB_APP_PRIVATE_KEY":                    app,
		"GITHUB_APP_PRIVATE_KEY: is given as text":  with("GITHUB_APP_PRIVATE_KEY", key, "GITHUB_APP_PRIVATE_KEY_FILE", file),
		"GITHUB_APP_PRIVATE_KEY: open":              with("GITHUB_APP_PRIVATE_KEY_FILE", filepath.Join(dir, "none")),
		"GITHUB_APP_ID":                             with("GITHUB_APP_ID", "a b", "GITHUB_APP_PRIVATE_KEY", key),
		"GITHUB_API_URL":                            {"TOWND_HOME": "/h", "GITHUB_API_URL": "github"},
		"TOWND_GIT_AUTHOR":                          {"TOWND_HOME": "/h", "TOWND_GIT_AUTHOR": "Ada"},
		"GIT_FORGES":                                {"TOWND_HOME": "/h", "GIT_FORGES": "gitlab.com=gitlab"},
		"GIT_SSH_KEY, GIT_SSH_KNOWN_HOSTS: one":     {"TOWND_HOME": "/h", "GIT_SSH_KEY": key},
		"GIT_SSH_KEY: is not PEM":                   {"TOWND_HOME": "/h", "GIT_SSH_KEY": "s3cret", "GIT_SSH_KNOWN_HOSTS": "h ssh-ed25519 x"},
		"GIT_SSH_KNOWN_HOSTS: open":                 {"TOWND_HOME": "/h", "GIT_SSH_KEY": key, "GIT_SSH_KNOWN_HOSTS_FILE": filepath.Join(dir, "none")},
		"GITHUB_APP_PRIVATE_KEY: private key: is n": with("GITHUB_APP_PRIVATE_KEY", "s3cret"),
	} {
		_, err := parseSettings(nil, bad)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "BEGIN RSA PRIVATE KEY-----\n") {
			t.Errorf("%v, want %s named", err, want)
		}
	}
}

// A token that people gave wins over the app's, and there is no other when it is refused.
func TestTokensComeBeforeTheApp(t *testing.T) {
	key, text := appKey(t)
	const token = "ghs" + "_from-the-app"
	remote := gittest.NewAt(t, filepath.Join(t.TempDir(), "r.git"), gittest.Options{})
	hub := remote.ServeGitHub(token, &key.PublicKey)
	secrets := container.NewSecrets()
	g := gitSettings{App: githubApp{ID: "7", Installation: "42", Key: secretText{Text: text}, API: hub.API()}}
	git, err := gitmgr.New(gitmgr.Config{Home: filepath.Join(t.TempDir(), "rigs")})
	if err != nil {
		t.Fatal(err)
	}
	tokens := newGitTokens(g, secrets)
	tokens.app, err = g.App.open(git.HTTPClient(), func(token string) { secrets.Add(token) })
	if err = errors.Join(err, git.Close()); err != nil {
		t.Fatal(err)
	}
	host := tokens.app.Host()
	for range 2 {
		if got, err := tokens.credential(t.Context(), "r", strings.ToUpper(host)); err != nil || got != (gitmgr.Credential{User: tokenUser, Secret: token}) {
			t.Errorf("credential() = %q, %v", got, err)
		}
	}
	if got := secrets.Mask("it is " + token); strings.Contains(got, token) {
		t.Errorf("logs would show %q", got)
	}
	if got, err := tokens.credential(t.Context(), "r", githubHost); err != nil || got.Secret != "" {
		t.Errorf("credential() of another host = %q, %v", got, err)
	}
	if !tokens.refused(host, gitmgr.Credential{Secret: "old"}) || tokens.refused("elsewhere", gitmgr.Credential{Secret: "old"}) {
		t.Error("of a refused token it is not told right whether there is another")
	}
	if err := tokens.set(host, "by-hand"); err != nil {
		t.Fatal(err)
	}
	if got, err := tokens.credential(t.Context(), "r", host); err != nil || got.Secret != "by-hand" {
		t.Errorf("credential() with a token by hand = %q, %v", got, err)
	}
	if tokens.refused(host, gitmgr.Credential{Secret: "by-hand"}) {
		t.Error("there is another for a token by hand")
	}
}
