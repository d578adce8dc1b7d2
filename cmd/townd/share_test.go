package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"townd/api"
)

func TestARunIsSharedAndTheLinkTakenBack(t *testing.T) {
	tt := startTown(t)
	tt.ok("run", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c", "echo for all to see")
	made := tt.townd("share", "toast", "--for", "30m")
	link := strings.TrimSpace(made.out)
	if m := regexp.MustCompile(`^http://[0-9.:]+/#/shared/([a-z0-9]{26})\.([A-Za-z0-9_-]{43})$`).FindStringSubmatch(link); made.code != 0 || m == nil {
		t.Fatalf("townd share = %+v, want a link alone on its output", made)
	}
	if !strings.Contains(made.err, "for 30m00s") {
		t.Errorf("it says %q, want how long it lives", made.err)
	}
	_, token, _ := strings.Cut(link, "#/shared/")
	status := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+tt.listen+"/shared/transcript", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := status(); got != http.StatusOK {
		t.Errorf("the link answers %d", got)
	}
	var list api.ShareList
	if err := json.Unmarshal([]byte(tt.ok("share", "ls", "--json")), &list); err != nil || len(list.Shares) != 1 || list.LongestSeconds != 24*3600 {
		t.Errorf("townd share ls --json = %+v, %v", list, err)
	}
	id := list.Shares[0].ID
	if table := tt.ok("share", "ls"); !strings.Contains(table, shortID(id)) || strings.Contains(table, token[27:]) {
		t.Errorf("townd share ls:\n%s", table)
	}
	tt.ok("share", "rm", shortID(id))
	if got := status(); got != http.StatusUnauthorized {
		t.Errorf("the link that was taken back answers %d", got)
	}
	if got := tt.townd("share", "toast", "--for", "25h"); got.code != exitFailure || !strings.Contains(got.err, "TOWND_SHARE_HOURS") {
		t.Errorf("for longer than may be: %+v", got)
	}
	if got := tt.townd("share", "rm", "nonesuch"); got.code != exitFailure || !strings.Contains(got.err, "not found") {
		t.Errorf("of a link that is none: %+v", got)
	}
}

func TestPublicURLBeginsLinks(t *testing.T) {
	set := func(text string) (string, error) {
		c, err := parseSettings(nil, map[string]string{"TOWND_HOME": "/srv/town", "TOWND_PUBLIC_URL": text})
		return c.PublicURL, err
	}
	for given, want := range map[string]string{
		"https://town.example.com": "https://town.example.com", "https://town.example.com/": "https://town.example.com", "http://host:8080/below/": "http://host:8080/below",
	} {
		if got, err := set(given); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", given, got, err, want)
		}
	}
	for _, bad := range []string{"town.example.com", "ftp://host", "https://", "https://user:s3cret@host", "https://host/?a=b", "https://host/#/x", "https://[::1"} {
		if _, err := set(bad); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q is taken, or shown: %v", bad, err)
		}
	}
}
