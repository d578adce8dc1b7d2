package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"townd/api"
	"townd/llm/llmtest"
	"townd/town"
)

// opened is what a shared link answers to a call under /shared.
type opened struct {
	status int
	body   string
}

// open calls as the holder of a link does.
func (tt *testTown) open(link api.ShareMade, method, path string) opened {
	tt.t.Helper()
	bt := &badTown{testTown: tt}
	_, token, _ := strings.Cut(link.URL, "#/shared/")
	resp, body := bt.send(raw{method: method, target: path, noAuth: true, header: []string{"Authorization: Bearer " + token}})
	if resp == nil {
		tt.t.Fatalf("%s %s is not answered: %s", method, path, body)
	}
	return opened{resp.StatusCode, body}
}

func (tt *testTown) share(id string, req api.ShareRequest) api.ShareMade {
	tt.t.Helper()
	made, err := tt.Share(tt.context(), id, req)
	if err != nil {
		tt.t.Fatalf("share %s: %v", id, err)
	}
	return made
}

// N4: links and what was taken back survive a crash of the server; a file of them that is garbage
// costs nothing else. What opens a link is in no log and no file.
func TestSharedLinksSurviveACrash(t *testing.T) {
	t.Parallel()
	tt := newTown(t, map[string]string{"LOG_LEVEL": "debug"})
	tt.start(tt.request("toast", tt.mode("sleep")...))
	tt.ready("toast")
	kept, gone := tt.share("toast", api.ShareRequest{}), tt.share("toast", api.ShareRequest{})
	if err := tt.Unshare(tt.context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	tt.restart()
	if got := tt.open(kept, "GET", "/shared/transcript"); got.status != http.StatusOK || !strings.Contains(got.body, "ready") {
		t.Errorf("after a crash the link answers %d %s", got.status, got.body)
	}
	if got := tt.open(gone, "GET", "/shared"); got.status != http.StatusUnauthorized {
		t.Errorf("after a crash the link that was taken back answers %d %s", got.status, got.body)
	}
	for method, paths := range map[string][]string{
		"GET": {
			"/agents", "/shares", "/metrics", "/api/towns/" + tt.townID() + "/status", "/api/towns/local/status", "/api/towns/local/events", "/llm/claude/v1/models",
			"/git/rig/info/refs?service=git-upload-pack", "/agents/toast/events", "/agents/toast/diff", "/agents/toast/transcript",
		},
		"POST":   {"/api/towns/local/mail", "/llm/claude/anthropic/v1/messages", "/agents/toast/message", "/agents/toast/stream-ticket", "/agents/toast/shares", "/drain"},
		"DELETE": {"/agents/toast", "/shares/" + kept.ID},
	} {
		for _, path := range paths {
			if got := tt.open(kept, method, path); got.status != http.StatusUnauthorized && got.status != http.StatusForbidden {
				t.Errorf("%s %s with a link answers %d %s", method, path, got.status, got.body)
			}
		}
	}
	_, secret, _ := strings.Cut(kept.URL, kept.ID+".")
	tt.holds(secret, false)
	tt.kill()
	file := filepath.Join(tt.home, "shares.json")
	if err := os.WriteFile(file, []byte("{garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	tt.serve()
	h, err := tt.Health(tt.context())
	if err != nil || !strings.Contains(strings.Join(h.Warnings, "; "), file) || h.Status != api.HealthOK {
		t.Errorf("with garbage for links health is %+v, %v", h, err)
	}
	if a := tt.status("toast"); a.Status != town.StatusRunning {
		t.Errorf("with garbage for links the agent is %+v", a)
	}
	if got := tt.open(tt.share("toast", api.ShareRequest{}), "GET", "/shared"); got.status != http.StatusOK {
		t.Errorf("a new link answers %d %s", got.status, got.body)
	}
	if data, err := os.ReadFile(file + ".broken"); err != nil || string(data) != "{garbage" {
		t.Errorf("what was there is %q, %v", data, err)
	}
}

// holds checks whether text is in the servers' log or any file of the town.
func (tt *testTown) holds(text string, want bool) {
	tt.t.Helper()
	found := strings.Contains(tt.log.String(), text)
	tt.eachFile(tt.home, func(_ string, data []byte) { found = found || strings.Contains(string(data), text) })
	if found != want {
		tt.t.Errorf("the town's log or files hold %.8q…: %v", text, found)
	}
}

// A link to a program without a terminal shows what was said and done in that run, and not its
// protocol.
func TestSharedConversationIsOfOneRun(t *testing.T) {
	t.Parallel()
	c := newClaudeTown(t, func(r *llmtest.Request) llmtest.Step { return llmtest.Step{Text: "I heard " + news(r)} })
	c.request.Prompt = "the first task"
	c.start(c.request)
	c.turns(1)
	l := c.share("toast", api.ShareRequest{})
	c.stop("toast", town.StopRequest{})
	again := c.request
	again.Prompt = "the second task"
	c.start(again)
	c.turns(2)
	after, page := int64(0), api.EventPage{}
	var texts []string
	for {
		got := c.open(l, "GET", fmt.Sprint("/shared/events?limit=3&after=", after))
		if err := json.Unmarshal([]byte(got.body), &page); err != nil {
			t.Fatalf("GET /shared/events answered %d %s", got.status, got.body)
		}
		if page.Next == after {
			break
		}
		after = page.Next
		for _, e := range page.Events {
			texts = append(texts, string(e.Event)+" "+string(e.Data))
		}
	}
	all := strings.Join(texts, "\n")
	if !strings.Contains(all, "the first task") || strings.Contains(all, "the second task") {
		t.Errorf("the link shows:\n%s\nwant the first run and nothing of the second", all)
	}
	for path, method := range map[string]string{"/shared/transcript": "GET", "/shared/stream-ticket": "POST"} {
		if got := c.open(l, method, path); got.status != http.StatusConflict || !strings.Contains(got.body, "/shared/events") {
			t.Errorf("%s %s answers %d %s", method, path, got.status, got.body)
		}
	}
	if err := c.Unshare(c.context(), l.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.Unshare(c.context(), l.ID); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("taking it back again: %v", err)
	}
}
