package container_test

import (
	"net/http"
	"strings"
	"testing"

	"townd/api"
	"townd/container"
	"townd/town"
)

func TestTokenOfAHostIsChangedAndNeverShown(t *testing.T) {
	const token = "very-new-token-417"
	set := map[string]string{}
	tt := newTownWith(t, func(c *container.Config) {
		c.SetGitToken = func(host, token string) error {
			if host == "bad host" {
				return &town.InvalidError{Issues: []town.Issue{{Path: "host", Message: "must be a name, not for " + token}}}
			}
			set[host] = token
			return nil
		}
	})
	for _, req := range []api.RefreshTokenRequest{{Token: token, TownID: "t"}, {Token: token, Host: "git.example.com"}} {
		if err := tt.RefreshToken(t.Context(), req); err != nil || set[req.Host] != token {
			t.Errorf("RefreshToken(%q) = %v, set %q", req.Host, err, set[req.Host])
		}
	}
	answer := tt.call(http.MethodPost, "/refresh-token", `{"token":"`+token+`","userId":"u"}`).object(t)
	if answer["refreshed"] != true || answer["agentsRestarted"] != 0.0 || answer["agentsFailed"] != 0.0 || len(asList(answer["results"])) != 0 ||
		len(asList(answer["ignored"])) != 1 {
		t.Errorf("refresh-token answered %v", answer)
	}
	refused(t, tt.call(http.MethodPost, "/refresh-token", `{"token":""}`), http.StatusBadRequest, "token")
	refused(t, tt.callAs("", http.MethodPost, "/refresh-token", `{"token":"x"}`), http.StatusUnauthorized, "token")
	bad := tt.call(http.MethodPost, "/refresh-token", `{"token":"`+token+`","host":"bad host"}`)
	refused(t, bad, http.StatusBadRequest, "host")
	if strings.Contains(string(bad.body)+tt.logs.String(), token) {
		t.Errorf("the token is shown: %s", bad.body)
	}
}

// An agent's git speaks to its proxy on the town's own address, without the town's token.
func TestGitProxyIsServedToCapabilitiesOnly(t *testing.T) {
	tt := newTown(t)
	for _, c := range []struct{ method, path string }{
		{http.MethodGet, "/git/rig/info/refs?service=git-upload-pack"}, {http.MethodPost, "/git/rig/git-receive-pack"},
	} {
		if got := tt.call(c.method, c.path, ""); got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s with the town's token answered %s, want 401", c.method, c.path, got.Status)
		}
	}
}
