package main

import (
	"context"
	"strings"
	"testing"

	"townd/container"
	"townd/gitmgr"
	"townd/town"
)

func TestTokensAreReadByHostAndNeverShown(t *testing.T) {
	var all map[string]gitmgr.Credential
	v := tokens(&all)
	if err := v.Set("Git.Example.com:8443=s3cret, gitlab.com=me:pass:word"); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]gitmgr.Credential{
		"git.example.com:8443": {User: tokenUser, Secret: "s3cret"}, "gitlab.com": {User: "me", Secret: "pass:word"},
	} {
		if all[host] != want {
			t.Errorf("token for %s = %q, want %q", host, all[host], want)
		}
	}
	if got, want := v.String(), "git.example.com:8443,gitlab.com"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	for _, bad := range []string{"s3cret", "host=", "=s3cret", "https://host/x=s3cret", "h=:s3cret", "h=s3cret,h=s3cret", "h=s3 cret", "h=s3cret,"} {
		if err := v.Set(bad); err == nil || strings.Contains(err.Error(), "s3") {
			t.Errorf("Set(%q) = %v, want an error that does not quote it", bad, err)
		}
	}
}

func TestReposAreNamedByTheirRigs(t *testing.T) {
	var all map[string]string
	v := repos(&all)
	if err := v.Set("acme/site, https://git.example.com/x/app.git,r-1=acme/other,file=/srv/site.git"); err != nil {
		t.Fatal(err)
	}
	if got, want := v.String(), "app=https://git.example.com/x/app.git,file=/srv/site.git,r-1=https://github.com/acme/other,site=https://github.com/acme/site"; got != want {
		t.Errorf("repositories are %q, want %q", got, want)
	}
	for _, bad := range []string{"acme", "acme/site,beta/site", "https://token@github.com/a/b", "a b/c", "ext::sh", ","} {
		if err := v.Set(bad); err == nil {
			t.Errorf("Set(%q) is taken as %v", bad, all)
		}
	}
}

func TestTokenIsChangedInMemory(t *testing.T) {
	secrets := container.NewSecrets()
	tokens := newGitTokens(gitSettings{Token: "first-token", Tokens: map[string]gitmgr.Credential{"h": {User: "me", Secret: "host-token"}}}, secrets)
	if got := secrets.Mask("first-token and host-token"); strings.Contains(got, "first") || strings.Contains(got, "host-token") {
		t.Errorf("logs would show %q", got)
	}
	for _, host := range []string{"", "H", "new.example.com"} {
		if err := tokens.set(host, "second"); err != nil {
			t.Fatal(err)
		}
	}
	for host, want := range map[string]gitmgr.Credential{
		"github.com": {User: tokenUser, Secret: "second"}, "h": {User: "me", Secret: "second"}, "new.example.com": {User: tokenUser, Secret: "second"}, "other": {},
	} {
		if got, err := tokens.credential(context.Background(), "rig", host); got != want || err != nil {
			t.Errorf("credential for %s = %q, %v; want %q", host, got, err, want)
		}
	}
	for host, token := range map[string]string{"h": "", "a b": "x", "https://h": "x", "x": "a\nb"} {
		if err := tokens.set(host, token); err == nil {
			t.Errorf("set(%q, %q) is taken", host, token)
		}
	}
}

func TestCheckpointIsToldWithWhatItLeavesOut(t *testing.T) {
	left := []town.LeftOut{{Path: ".env", Why: "a file for secrets by its name"}}
	for want, d := range map[string]town.CheckpointData{
		"saved as refs/x": {Ref: "refs/x", Commit: "c"},
		"not saved: 2, as .env: a file for secrets by its name":                  {LeftOut: left, LeftOutCount: 2},
		"saved as refs/x; not saved: 1, as .env: a file for secrets by its name": {Ref: "refs/x", Commit: "c", LeftOut: left, LeftOutCount: 1},
	} {
		if got := checkpointText(d); got != want {
			t.Errorf("checkpointText(%+v) = %q, want %q", d, got, want)
		}
	}
}
