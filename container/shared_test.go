package container_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhooyr.io/websocket"

	"townd/api"
	"townd/api/conformance"
	"townd/container"
	"townd/town"
)

// newSharingTown is a town that lets runs be shared for longest at most.
func newSharingTown(t testing.TB, longest time.Duration) *testTown {
	t.Helper()
	return newTownWith(t, func(c *container.Config) {
		shares, warning, err := container.OpenShares(filepath.Join(c.Home, "shares.json"), longest, c.Log)
		if err != nil || warning != "" {
			t.Fatalf("OpenShares() warns %q, %v", warning, err)
		}
		c.Shares, c.TownID = shares, "t1"
	})
}

// link is a shared link and what opens it.
type link struct {
	api.ShareMade
	bearer string // the value of the Authorization header
}

func (tt *testTown) share(id string, req api.ShareRequest) link {
	tt.t.Helper()
	made, err := tt.Share(tt.t.Context(), id, req)
	if err != nil {
		tt.t.Fatalf("Share(%s) = %v", id, err)
	}
	token, ok := strings.CutPrefix(made.URL, "/#/shared/")
	if !ok {
		tt.t.Fatalf("the link's URL is %q, want what opens it after #", made.URL)
	}
	return link{made, "Bearer " + token}
}

// watchShared opens a stream by a link.
func (tt *testTown) watchShared(l link, query string) (*websocket.Conn, api.Hello) {
	tt.t.Helper()
	var ticket api.TicketResponse
	got := tt.callAs(l.bearer, http.MethodPost, "/shared/stream-ticket", "")
	if err := json.Unmarshal(got.body, &ticket); err != nil || got.StatusCode != http.StatusOK {
		tt.t.Fatalf("POST /shared/stream-ticket answered %s %s", got.Status, got.body)
	}
	conn, _, err := dial(tt.t.Context(), tt.url+ticket.URL+query, &websocket.DialOptions{HTTPClient: tt.http})
	if err != nil {
		tt.t.Fatal(err)
	}
	tt.t.Cleanup(func() { conn.CloseNow() })
	ctx, cancel := context.WithTimeout(tt.t.Context(), 30*time.Second)
	defer cancel()
	_, data, err := conn.Read(ctx)
	var hello api.Hello
	if err != nil || json.Unmarshal(data, &hello) != nil {
		tt.t.Fatalf("the stream began with %q, %v", data, err)
	}
	return conn, hello
}

// untilText reads a stream until its bytes hold text, and returns the types of the frames
// that came.
func untilText(t testing.TB, conn *websocket.Conn, text string) map[string]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	types := make(map[string]bool)
	var all []byte
	for !bytes.Contains(all, []byte(text)) {
		typ, data, err := conn.Read(ctx)
		if err != nil {
			t.Fatalf("waiting for %q after %q: %v", text, all, err)
		}
		var frame struct{ Type, Data string }
		if typ == websocket.MessageBinary {
			all = append(all, data...)
		} else if json.Unmarshal(data, &frame) == nil {
			types[frame.Type] = true
			all = append(all, frame.Data...)
		}
	}
	return types
}

func TestSharedLinkShowsOneRunLiveAndAfterwards(t *testing.T) {
	tt := newSharingTown(t, 24*time.Hour)
	tt.start("toast", "echo")
	person := tt.stream("toast", api.StreamOptions{Mode: town.TicketWrite})
	readUntil(t, person, holds("ready"))
	l := tt.share("toast", api.ShareRequest{Seconds: 3600})
	if life := time.Until(l.ExpiresAt); life < 59*time.Minute || life > time.Hour {
		t.Errorf("the link lives %v, want an hour", life)
	}
	info := tt.callAs(l.bearer, http.MethodGet, "/shared", "").object(t)
	for field, want := range map[string]any{"townId": "t1", "agentId": "toast", "name": "toast", "run": l.Run, "structured": false, "status": "running"} {
		if info[field] != want {
			t.Errorf("GET /shared has %s %v, want %v", field, info[field], want)
		}
	}

	conn, hello := tt.watchShared(l, "&after=screen&events=0")
	if hello.RunID != l.Run || hello.Mode != town.TicketRead || hello.Epoch != "" || hello.EventID != 0 {
		t.Errorf("hello = %+v, want the run, to read, and nothing of events", hello)
	}
	if err := person.Input(t.Context(), []byte("seen by all\n")); err != nil {
		t.Fatal(err)
	}
	if types := untilText(t, conn, "seen by all"); types["event"] || types["mode"] {
		t.Errorf("the stream of a terminal's link brought frames %v", types)
	}
	if err := conn.Write(t.Context(), websocket.MessageBinary, []byte("typed by a stranger\n")); err != nil {
		t.Fatal(err)
	}
	if err := drain(t, conn); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("typing ended the stream with %v, want 1008", err)
	}

	if _, err := tt.Stop(t.Context(), "toast", town.StopRequest{Signal: "SIGKILL"}); err != nil {
		t.Fatal(err)
	}
	second, err := tt.Start(t.Context(), tt.request("toast", "echo"))
	if err != nil || second.RunID == l.Run {
		t.Fatalf("the second run is %s, %v", second.RunID, err)
	}
	raw := tt.callAs(l.bearer, http.MethodGet, "/shared/transcript?run="+second.RunID, "")
	if raw.Header.Get(api.HeaderRunID) != l.Run || !bytes.Contains(raw.body, []byte("seen by all")) || bytes.Contains(raw.body, []byte("stranger")) {
		t.Errorf("GET /shared/transcript answered %s of run %s: %q", raw.Status, raw.Header.Get(api.HeaderRunID), raw.body)
	}
	part := tt.callAs(l.bearer, http.MethodGet, "/shared/transcript", "", "Range", "bytes=0-4")
	if part.StatusCode != http.StatusPartialContent || string(part.body) != "ready" {
		t.Errorf("its first bytes are %s %q", part.Status, part.body)
	}
	if cast := tt.callAs(l.bearer, http.MethodGet, "/shared/transcript?format=asciicast", ""); !bytes.HasPrefix(cast.body, []byte(`{"version":2`)) {
		t.Errorf("its recording is %s %.80q", cast.Status, cast.body)
	}
	if info := tt.callAs(l.bearer, http.MethodGet, "/shared", "").object(t); info["status"] != "exited" || info["run"] != l.Run {
		t.Errorf("GET /shared of an earlier run = %v", info)
	}
	over, hello := tt.watchShared(l, "")
	untilText(t, over, "seen by all")
	if err := drain(t, over); hello.RunID != l.Run || websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the stream of an earlier run was of %s and ended with %v", hello.RunID, err)
	}
	refused(t, tt.callAs(l.bearer, http.MethodGet, "/shared/events", ""), 409, "has a terminal")
	if logs := tt.logs.String(); strings.Contains(logs, strings.TrimPrefix(l.bearer, "Bearer "+l.ID+".")) || !strings.Contains(logs, `"share":"`+l.ID) {
		t.Errorf("the log holds what opens the link, or not the link:\n%s", logs)
	}
}

func TestSharedTicketOpensThatRunOnly(t *testing.T) {
	tt := newSharingTown(t, time.Hour)
	first := tt.start("toast", "exit", "0")
	tt.untilEnded("toast")
	second, err := tt.Start(t.Context(), tt.request("toast", "echo"))
	if err != nil {
		t.Fatal(err)
	}
	tt.start("other", "sleep")
	l := tt.share("toast", api.ShareRequest{})
	if l.Run != second.RunID || time.Until(l.ExpiresAt) < 59*time.Minute {
		t.Errorf("Share() without a word = %+v, want the newest run for as long as may be", l.ShareMade)
	}
	if earlier := tt.share("toast", api.ShareRequest{Run: first.RunID}); earlier.Run != first.RunID {
		t.Errorf("Share(%s) = %+v", first.RunID, earlier.ShareMade)
	}
	ticket := tt.callAs(l.bearer, http.MethodPost, "/shared/stream-ticket", `{"mode":"read"}`).object(t)
	value := fmt.Sprint(ticket["ticket"])
	shake := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	refused(t, tt.callAs("", http.MethodGet, "/agents/toast/stream?after="+first.RunID+":0&ticket="+value, "", shake...), 403, "another run")
	refused(t, tt.callAs("", http.MethodGet, "/agents/other/stream?ticket="+value, "", shake...), 403, "another agent")
	refused(t, tt.callAs(l.bearer, http.MethodPost, "/shared/stream-ticket", `{"mode":"write"}`), 403, "watching only")
	for range 49 {
		tt.callAs(l.bearer, http.MethodPost, "/shared/stream-ticket", "")
	}
	refused(t, tt.callAs(l.bearer, http.MethodPost, "/shared/stream-ticket", ""), 429, "tickets of this link")
	if _, err := tt.Ticket(t.Context(), "toast", town.TicketRead); err != nil {
		t.Errorf("a person gets no ticket any more: %v", err)
	}
}

func TestSharedLinkThatIsTakenBackCutsWhoWatches(t *testing.T) {
	tt := newSharingTown(t, time.Hour)
	tt.start("toast", "sleep")
	kept, l := tt.share("toast", api.ShareRequest{}), tt.share("toast", api.ShareRequest{})
	conn, _ := tt.watchShared(l, "")
	other, _ := tt.watchShared(kept, "")
	ticket := tt.callAs(l.bearer, http.MethodPost, "/shared/stream-ticket", "").object(t)
	list, err := tt.Shares(t.Context())
	if err != nil || len(list.Shares) != 2 || list.Shares[1] != l.Share || list.LongestSeconds != 3600 {
		t.Errorf("Shares() = %+v, %v", list, err)
	}
	if text := tt.call(http.MethodGet, "/shares", "").body; bytes.Contains(text, []byte("sha256")) || bytes.Contains(text, []byte("url")) {
		t.Errorf("GET /shares tells %s", text)
	}
	if err := tt.Unshare(t.Context(), l.ID); err != nil {
		t.Fatal(err)
	}
	if err := drain(t, conn); websocket.CloseStatus(err) != websocket.StatusPolicyViolation || !strings.Contains(err.Error(), "link has ended") {
		t.Errorf("the stream ended with %v, want 1008 and why", err)
	}
	if _, status, err := dial(t.Context(), tt.url+fmt.Sprint(ticket["url"]), &websocket.DialOptions{HTTPClient: tt.http}); err == nil || status != http.StatusUnauthorized {
		t.Errorf("a ticket of before opened a stream: %d, %v", status, err)
	}
	for _, path := range []string{"/shared", "/shared/transcript", "/shared/events"} {
		refused(t, tt.callAs(l.bearer, http.MethodGet, path, ""), 401, "taken back")
	}
	untilText(t, other, "ready") // goes on
	if got := tt.callAs(kept.bearer, http.MethodGet, "/shared", ""); got.StatusCode != http.StatusOK {
		t.Errorf("the other link answers %s", got.Status)
	}
	if err := tt.Unshare(t.Context(), l.ID); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("Unshare() again = %v", err)
	}
}

func TestSharedLinkEndsAtItsTimeAndWithItsAgent(t *testing.T) {
	tt := newSharingTown(t, time.Hour)
	tt.start("toast", "sleep")
	short, long := tt.share("toast", api.ShareRequest{Seconds: 1}), tt.share("toast", api.ShareRequest{})
	conn, _ := tt.watchShared(long, "")
	if brief, status, err := dial(t.Context(), tt.url+fmt.Sprint(tt.callAs(short.bearer, http.MethodPost, "/shared/stream-ticket", "").object(t)["url"]), nil); err == nil {
		if err := drain(t, brief); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("the link's time ended the stream with %v, want 1008", err)
		}
	} else {
		t.Logf("a busy machine: it had ended before, %d", status)
	}
	refused(t, tt.callAs(short.bearer, http.MethodGet, "/shared", ""), 401, "expired")
	if _, err := tt.Stop(t.Context(), "toast", town.StopRequest{Signal: "SIGKILL"}); err != nil {
		t.Fatal(err)
	}
	if err := drain(t, conn); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the run's end ended the stream with %v", err)
	}
	if err := tt.Delete(t.Context(), "toast"); err != nil {
		t.Fatal(err)
	}
	tt.start("toast", "sleep") // another one under that name
	for _, path := range []string{"/shared", "/shared/transcript", "/shared/events"} {
		refused(t, tt.callAs(long.bearer, http.MethodGet, path, ""), 401, "shared link")
	}
	if list, err := tt.Shares(t.Context()); err != nil || len(list.Shares) != 0 {
		t.Errorf("Shares() = %+v, %v; want none", list, err)
	}
}

func TestSharesAreRefusedWithTheReason(t *testing.T) {
	tt := newSharingTown(t, time.Hour)
	tt.start("toast", "sleep")
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/agents/nobody/shares", "", 404, "nobody"},
		{"/agents/toast/shares", `{"run":"nonesuch"}`, 404, "is not held"},
		{"/agents/toast/shares", `{"run":"../toast"}`, 400, "no run's id"},
		{"/agents/toast/shares", `{"run":7}`, 400, "run"},
		{"/agents/toast/shares", `nonsense`, 400, "not JSON"},
		{"/agents/toast/shares", `{"seconds":3601}`, 400, "TOWND_SHARE_HOURS"},
		{"/agents/toast/shares", `{"seconds":0.5}`, 400, "must be 1 to 3600"},
		{"/agents/toast/shares", `{"seconds":-1}`, 400, "must be 1 to 3600"},
		{"/agents/toast/shares", `{"seconds":1e300}`, 400, "must be 1 to 3600"},
	} {
		refused(t, tt.call(http.MethodPost, c.path, c.body), c.status, c.want)
	}
	off := newTown(t)
	off.start("toast", "sleep")
	refused(t, off.call(http.MethodPost, "/agents/toast/shares", ""), 403, "TOWND_SHARE_HOURS")
	if list, err := off.Shares(t.Context()); err != nil || list.LongestSeconds != 0 {
		t.Errorf("Shares() = %+v, %v; want none for no time", list, err)
	}
	public := newTownWith(t, func(c *container.Config) {
		c.Shares, _, _ = container.OpenShares("", time.Hour, slog.New(slog.DiscardHandler))
		c.PublicURL = "https://town.example.com/below"
	})
	public.start("toast", "sleep")
	if made, err := public.Share(t.Context(), "toast", api.ShareRequest{}); err != nil || !strings.HasPrefix(made.URL, "https://town.example.com/below/#/shared/"+made.ID+".") {
		t.Errorf("Share() = %+v, %v; want the town's own address", made, err)
	}
}

// Z1: what is in a link opens the calls under /shared and nothing else, and nothing
// else opens those.
func TestSharedLinkOpensNothingElse(t *testing.T) {
	tt := newSharingTown(t, time.Hour)
	tt.start("toast", "sleep")
	l := tt.share("toast", api.ShareRequest{})
	token := strings.TrimPrefix(l.bearer, "Bearer ")
	doc, err := conformance.Document()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Security != nil && len(*op.Security) == 0 {
				continue // public
			}
			target := strings.NewReplacer("{id}", "toast", "{townId}", "t1").Replace(path)
			body := ""
			if method != http.MethodGet {
				body = "{}"
			}
			if strings.HasPrefix(path, "/shared") {
				for _, header := range []string{
					"", "Bearer", "Bearer ", "Bearer " + testToken, "Basic " + token, token, l.bearer + "A", l.bearer[:len(l.bearer)-1], "Bearer " + l.ID,
					"Bearer " + l.ID + ".", "Bearer " + l.ID + strings.Repeat("A", 43), "Bearer x" + token,
				} {
					got := tt.callAs(header, method, target, body)
					refused(t, got, 401, "shared link")
					if got.Header.Get("WWW-Authenticate") == "" {
						t.Errorf("%s %s: 401 without WWW-Authenticate", method, path)
					}
				}
				refused(t, tt.callAs("", method, target+"?token="+token+"&ticket="+token, body), 401, "shared link")
				continue
			}
			tried++
			shake := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
			for _, got := range []answer{
				tt.callAs(l.bearer, method, target, body),
				tt.callAs(l.bearer, method, target+"?ticket="+token+"&token="+token, body, shake...),
			} {
				// A coordinator elsewhere is no path here, and a stream wants a handshake before it looks at the ticket.
				elsewhere := strings.HasPrefix(path, "/api/towns/") && got.StatusCode == http.StatusNotFound
				plain := strings.HasSuffix(path, "/stream") && got.StatusCode == http.StatusUpgradeRequired
				if got.StatusCode != http.StatusUnauthorized && got.StatusCode != http.StatusForbidden && !elsewhere && !plain {
					t.Errorf("%s %s with a link answered %s %s, want 401 or 403", method, path, got.Status, got.body)
				}
			}
		}
	}
	if tried < 60 {
		t.Errorf("only %d calls were tried", tried)
	}
	for _, target := range []string{"/git/rig/info/refs?service=git-upload-pack", "/git/rig/repo.git/info/refs?service=git-receive-pack"} {
		if got := tt.callAs(l.bearer, http.MethodGet, target, ""); got.StatusCode < 400 {
			t.Errorf("GET %s with a link answered %s", target, got.Status)
		}
	}
	if a, err := tt.Agent(t.Context(), "toast"); err != nil || a.Status != town.StatusRunning {
		t.Errorf("after all that the agent is %+v, %v", a, err)
	}
	if list, err := tt.Shares(t.Context()); err != nil || len(list.Shares) != 1 {
		t.Errorf("after all that the links are %+v, %v", list, err)
	}
}
