package container_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"townd/api"
	"townd/container"
	"townd/supervisor"
	"townd/supervisor/agenttest"
	"townd/town"
)

func (tt *testTown) untilEnded(id string) api.ExitFrame {
	tt.t.Helper()
	exit, err := tt.Follow(tt.t.Context(), id, api.StreamOptions{}, func(api.Message) error { return nil })
	if err != nil {
		tt.t.Fatalf("Follow(%s) = %v", id, err)
	}
	return exit
}

func TestTranscriptIsServedByOffset(t *testing.T) {
	tt := newTown(t)
	const total = 1<<20 + 500_000 // more than is kept
	a := tt.start("toast", "flood", fmt.Sprint(total), "0")
	tt.untilEnded("toast")
	whole, err := tt.Transcript(t.Context(), "toast", "", -1)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(whole.Body)
	whole.Body.Close()
	if err != nil || whole.RunID != a.RunID || whole.First == 0 || whole.First != whole.Start || whole.First+int64(len(data)) != total {
		t.Fatalf("Transcript() = %+v with %d bytes, %v", whole, len(data), err)
	}
	checkFlood(t, data, whole.First)
	tail, err := tt.Transcript(t.Context(), "toast", a.RunID, total-10)
	if err != nil {
		t.Fatal(err)
	}
	data, err = io.ReadAll(tail.Body)
	tail.Body.Close()
	if err != nil || tail.Start != total-10 || len(data) != 10 {
		t.Errorf("Transcript() of the last 10 bytes = %+v with %d bytes, %v", tail, len(data), err)
	}
	checkFlood(t, data, total-10)

	ranged := tt.call(http.MethodGet, "/agents/toast/transcript", "", "Range", fmt.Sprintf("bytes=%d-%d", whole.First, whole.First+4))
	if want := fmt.Sprintf("bytes %d-%d/%d", whole.First, whole.First+4, total); ranged.StatusCode != 206 || ranged.Header.Get("Content-Range") != want {
		t.Errorf("range answered %s, %q; want 206, %q", ranged.Status, ranged.Header.Get("Content-Range"), want)
	}
	checkFlood(t, ranged.body, whole.First)
	for _, header := range []string{"bytes=0-10", fmt.Sprintf("bytes=%d-", total), "bytes=5-1", "bytes=x", "lines=1-2", fmt.Sprintf("bytes=-%d", total)} {
		got := tt.call(http.MethodGet, "/agents/toast/transcript", "", "Range", header)
		refused(t, got, 416, fmt.Sprintf("held are the bytes from %d to %d", whole.First, total-1))
		if got.Header.Get(api.HeaderFirstOffset) != fmt.Sprint(whole.First) || got.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", total) {
			t.Errorf("416 has %v, want what is held", got.Header)
		}
	}
	if head := tt.call(http.MethodHead, "/agents/toast/transcript", ""); head.StatusCode != 200 || len(head.body) != 0 || head.ContentLength != total-whole.First {
		t.Errorf("HEAD answered %s with length %d, want %d", head.Status, head.ContentLength, total-whole.First)
	}
}

func TestRecordingHasHeaderTimesAndSizes(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "echo")
	s := tt.stream("toast", api.StreamOptions{Mode: town.TicketWrite})
	readUntil(t, s, holds("ready"))
	if err := tt.Resize(t.Context(), "toast", 90, 25); err != nil {
		t.Fatal(err)
	}
	if err := s.Input(t.Context(), []byte("é\n")); err != nil {
		t.Fatal(err)
	}
	readUntil(t, s, holds("é\r\né\r\n"))
	var out bytes.Buffer
	if err := tt.Recording(t.Context(), "toast", "", &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var header struct{ Version, Width, Height int }
	if err := json.Unmarshal([]byte(lines[0]), &header); err != nil || header.Version != 2 || header.Width != town.DefaultCols {
		t.Errorf("header = %s, %v", lines[0], err)
	}
	if text := out.String(); !strings.Contains(text, `"r","90x25"`) || !strings.Contains(text, `é`) {
		t.Errorf("recording = %s, want the resize and the text", text)
	}
}

func TestEventsArePagedAndFollowed(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "echo")
	page, err := tt.Events(t.Context(), "toast", "", 1)
	if err != nil || page.Epoch == "" || len(page.Events) != 1 || page.Next != page.Events[0].ID {
		t.Fatalf("Events() = %+v, %v; want the first event", page, err)
	}
	rest, err := tt.Events(t.Context(), "toast", page.Cursor(), 0)
	if err != nil || len(rest.Events) == 0 || rest.Events[0].ID != page.Next+1 {
		t.Errorf("Events() after %s = %+v, %v; want what follows", page.Cursor(), rest, err)
	}
	other, err := tt.Events(t.Context(), "toast", "another-epoch:99", 0)
	if err != nil || len(other.Events) == 0 || other.Events[0].ID != page.Events[0].ID {
		t.Errorf("Events() after a cursor of another epoch = %+v, %v; want all", other, err)
	}
	future, err := tt.Events(t.Context(), "toast", "999999", 0)
	if err != nil || len(future.Events) != 0 || future.Next != rest.Next {
		t.Errorf("Events() after the future = %+v, %v; want none and the newest", future, err)
	}

	// While they are followed the agent ends.
	stopped := false
	var ids []int64
	for e, err := range tt.FollowEvents(t.Context(), "toast", "") {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
		if want := api.EventCursor(page.Epoch, e.ID); e.Cursor != want {
			t.Errorf("cursor = %q, want %q", e.Cursor, want)
		}
		if !stopped {
			stopped = true
			if _, err := tt.Stop(t.Context(), "toast", town.StopRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		var state town.StateData
		if e.Event.Event == town.EventState && json.Unmarshal(e.Data, &state) == nil && state.Status == town.StatusExited {
			break
		}
	}
	for i, id := range ids {
		if id != int64(i)+page.Events[0].ID {
			t.Fatalf("ids are %d, want one after another", ids)
		}
	}
}

func TestEventStreamGoesOnFromLastEventID(t *testing.T) {
	tt := newTown(t)
	tt.start("toast", "echo")
	page, err := tt.Events(t.Context(), "toast", "", 1)
	if err != nil {
		t.Fatal(err)
	}
	stream := tt.openEvents("/agents/toast/events?after=0", "Last-Event-ID", page.Cursor())
	line, err := bufio.NewReader(stream).ReadString('\n')
	if want := "id: " + api.EventCursor(page.Epoch, page.Next+1) + "\n"; err != nil || line != want {
		t.Errorf("first line = %q, %v; want %q", line, err, want)
	}
	tt.endsCleanly(stream)
}

func TestDiffIsServedAsJSONAndAsAPatch(t *testing.T) {
	tt := newTown(t)
	a := tt.start("toast", "echo")
	if err := os.WriteFile(filepath.Join(a.Workdir, "new.txt"), []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := tt.Diff(t.Context(), "toast", 0)
	if err != nil || len(d.Files) != 1 || d.Files[0].Path != "new.txt" || d.Files[0].Added != 1 || d.Files[0].Status != "A" || d.Truncated || !strings.Contains(d.Patch, "+hello") {
		t.Errorf("Diff() = %+v, %v; want new.txt", d, err)
	}
	var patch bytes.Buffer
	truncated, err := tt.Patch(t.Context(), "toast", 0, &patch)
	if err != nil || truncated || patch.String() != d.Patch {
		t.Errorf("Patch() = %q, %v, %v; want the same patch", patch.String(), truncated, err)
	}
	patch.Reset()
	truncated, err = tt.Patch(t.Context(), "toast", 10, &patch)
	if err != nil || !truncated || patch.Len() > 10 {
		t.Errorf("Patch() of 10 bytes = %q, %v, %v; want it cut", patch.String(), truncated, err)
	}
}

// W10: an artifact is listed with its digest, comes whole or by range, and is never a page.
func TestArtifactsAreServedForKeeping(t *testing.T) {
	tt := newTownOf(t, func(c *supervisor.Config) { c.ArtifactBytes = 1 << 20 }, func(*container.Config) {})
	req := tt.request("toast", "echo")
	const page = "<script>alert(1)</script>"
	req.Command = []string{"sh", "-c", `printf '%s' '` + page + `' >"$TOWND_ARTIFACTS/ü \"%2F; x.html"; printf '\33[2J' >"$TOWND_ARTIFACTS/..html"`}
	if _, err := tt.Start(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	const name = `ü "%2F; x.html`
	tt.untilEnded("toast")
	list, err := tt.Artifacts(t.Context(), "toast", "")
	if err != nil || len(list.Artifacts) != 2 || list.Artifacts[1].Name != name || list.Artifacts[1].Bytes != int64(len(page)) {
		t.Fatalf("Artifacts() = %+v", list)
	}
	var got bytes.Buffer
	if err := tt.Artifact(t.Context(), "toast", list.RunID, name, &got); err != nil || got.String() != page {
		t.Errorf("Artifact() = %q, %v", got.String(), err)
	}
	path := "/agents/toast/artifacts/" + url.PathEscape(name)
	a := tt.call(http.MethodGet, path, "", "Range", "bytes=1-6", "Accept", "text/html")
	if a.StatusCode != http.StatusPartialContent || string(a.body) != "script" {
		t.Errorf("a range = %s %q", a.Status, a.body)
	}
	for header, want := range map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "ETag": `"` + list.Artifacts[1].SHA256 + `"`,
		"Content-Disposition": "attachment; filename*=utf-8''%C3%BC%20%22%252F%3B%20x.html", "Content-Security-Policy": "sandbox; default-src 'none'",
	} {
		if a.Header.Get(header) != want {
			t.Errorf("%s = %q, want %q", header, a.Header.Get(header), want)
		}
	}
	refused(t, tt.callAs("", http.MethodGet, path, ""), http.StatusUnauthorized, "")
	for _, name := range []string{"nope", "..%2Fartifacts.json", "..%2f..%2f..%2Fetc%2Fpasswd", "%00", list.Artifacts[0].SHA256} {
		refused(t, tt.call(http.MethodGet, "/agents/toast/artifacts/"+name, ""), http.StatusNotFound, "")
	}
	refused(t, tt.call(http.MethodGet, path+"?run=../x", ""), http.StatusBadRequest, "run")
	refused(t, tt.call(http.MethodGet, "/agents/toast/artifacts?run=other", ""), http.StatusNotFound, "")
	refused(t, tt.call(http.MethodGet, "/agents/nobody/artifacts", ""), http.StatusNotFound, "")
}

func TestScreenIsWhatAPersonWouldSee(t *testing.T) {
	tt := newTown(t)
	a := tt.start("toast", "echo")
	w := tt.stream("toast", api.StreamOptions{Mode: town.TicketWrite})
	readUntil(t, w, holds("ready"))
	// The program echoes: what is typed draws.
	if err := w.Input(t.Context(), []byte("\x1b[31mred\x1b[0m \x1b[2Cend\n")); err != nil {
		t.Fatal(err)
	}
	readUntil(t, w, holds("\x1b[2Cend\r\n"))
	got, err := tt.Screen(t.Context(), "toast")
	if err != nil || got.RunID != a.RunID || got.Cols != town.DefaultCols || got.Rows != town.DefaultRows || !got.Exact || got.AltScreen {
		t.Fatalf("Screen() = %+v, %v", got, err)
	}
	if !strings.HasPrefix(got.Text, "ready\n") || !strings.HasSuffix(got.Text, "\nred   end") || got.Cursor.Col != 0 || got.Cursor.Row != 3 {
		t.Errorf("text = %q, cursor %+v; want what was drawn", got.Text, got.Cursor)
	}
	plain := tt.call(http.MethodGet, "/agents/toast/screen", "", "Accept", "text/plain")
	if string(plain.body) != got.Text+"\n" || !strings.HasPrefix(plain.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("as text = %q %q, want the same", plain.Header.Get("Content-Type"), plain.body)
	}

	// A viewer that begins with the screen goes on exactly behind it.
	late := tt.stream("toast", api.StreamOptions{After: "screen"})
	if late.Hello.Offset != got.Offset || late.Hello.Cols != town.DefaultCols {
		t.Errorf("hello = %+v, want offset %d", late.Hello, got.Offset)
	}
	if f := nextFrame[api.ScreenFrame](t, late); f.Data != got.ANSI || !strings.Contains(f.Data, "red") {
		t.Errorf("screen frame = %q, want %q", f.Data, got.ANSI)
	}
	if err := w.Input(t.Context(), []byte("more\n")); err != nil {
		t.Fatal(err)
	}
	if got := readUntil(t, late, holds("more\r\nmore\r\n")); string(got) != "more\r\nmore\r\n" {
		t.Errorf("behind the screen came %q, want what was typed since", got)
	}
	refused(t, tt.call(http.MethodGet, "/agents/toast/screen?run=nonesuch", ""), 404, "is not held")
}

// Who opens an agent with a long history must not wait until it is drawn; a short
// one is drawn when it is asked for, and holds no terminal until then.
func TestLongScreensAreDrawnBeforeTheyAreAskedFor(t *testing.T) {
	tt := newTown(t)
	start := func(id, script string) (town.Agent, int64) {
		req := tt.request(id, "")
		req.Command = []string{"sh", "-c", script + "; echo ready; exec sleep 600"}
		started, err := tt.Start(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		printed := readUntil(t, tt.stream(id, api.StreamOptions{}), holds("ready"))
		return started.Agent, int64(len(printed))
	}
	long, size := start("toast", "yes a line of it | head -c 9000000")
	for tt.server.PaintMore("toast") {
	}
	if drawn := tt.server.Drawn(long.RunID); drawn < size-(4<<20) {
		t.Errorf("of %d bytes %d are drawn, want all but 4 MiB", size, drawn)
	}
	if got, err := tt.Screen(t.Context(), "toast"); err != nil || !strings.HasSuffix(got.Text, "ready") {
		t.Errorf("Screen() = %q, %v; want the end", got.Text, err)
	}
	shown, err := tt.Screen(t.Context(), "toast")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tt.Stop(t.Context(), "toast", town.StopRequest{}); err != nil {
		t.Fatal(err)
	}
	for tt.server.PaintMore("toast") {
	}
	tt.server.DropScreens()
	again, err := tt.Screen(t.Context(), "toast")
	if err != nil || again.ANSI != shown.ANSI || again.Text != shown.Text || again.Offset != shown.Offset {
		t.Errorf("Screen() of the run that is over = %q at %d, %v; want what it showed last, %q at %d", again.Text, again.Offset, err, shown.Text, shown.Offset)
	}
	if drawn := tt.server.Drawn(long.RunID); drawn != 0 {
		t.Errorf("%d bytes of the run that is over were drawn again", drawn)
	}
	short, _ := start("rye", "echo a line")
	if tt.server.PaintMore("rye") || tt.server.Drawn(short.RunID) != 0 {
		t.Error("a short run is drawn though nobody asked")
	}
}

// A long run that was over before the server began is not drawn again.
func TestLastScreenOfALongRunOutlivesTheServer(t *testing.T) {
	home := agenttest.Home(t)
	house := func(c *supervisor.Config) {
		c.Home, c.KeeperArgv = home, []string{c.Townd, "keeper", filepath.Join(home, "keeper")}
	}
	nothing := func(*container.Config) {}
	var shown api.Screen
	t.Run("before", func(t *testing.T) {
		tt := newTownOf(t, house, nothing)
		req := tt.request("toast", "")
		req.Command = []string{"sh", "-c", "yes a line of it | head -c 9000000; echo ready"}
		if _, err := tt.Start(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		readUntil(t, tt.stream("toast", api.StreamOptions{}), holds("ready"))
		if _, err := tt.Stop(t.Context(), "toast", town.StopRequest{}); err != nil {
			t.Fatal(err)
		}
		var err error
		if shown, err = tt.Screen(t.Context(), "toast"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("after", func(t *testing.T) {
		tt := newTownOf(t, house, nothing)
		again, err := tt.Screen(t.Context(), "toast")
		if err != nil || !strings.HasSuffix(again.Text, "ready") || again != shown {
			t.Errorf("Screen() = %q at %d, %v; want as before, %q at %d", again.Text, again.Offset, err, shown.Text, shown.Offset)
		}
		if drawn := tt.server.Drawn(shown.RunID); drawn != 0 {
			t.Errorf("%d bytes were drawn again", drawn)
		}
	})
}
