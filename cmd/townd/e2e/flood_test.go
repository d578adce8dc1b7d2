package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"townd/api"
	"townd/supervisor/agenttest"
	"townd/town"
)

// The flood: how much is printed, how fast, in segments of what size.
const (
	floodBytes   = 50 << 20
	floodRate    = 8 << 20 // bytes a second, so that it lasts while the viewer comes and goes
	floodCuts    = 200
	segmentBytes = 4 << 20 // transcript's default
)

// A viewer that is cut off at 200 offsets while its agent prints 50 MB of all
// byte values, also beside the ends of segments and once by kill -9 of the
// server, has exactly what was printed, each byte once.
func TestViewerCutOffAnywhereHasEveryByteOnce(t *testing.T) {
	t.Parallel()
	tt := newTown(t, map[string]string{"TOWND_TRANSCRIPT_BYTES": fmt.Sprint(2 * floodBytes)})
	gate := newGate(t)
	a := tt.start(tt.request("toast", tt.mode("flood", fmt.Sprint(floodBytes), fmt.Sprint(floodRate), gate)...))
	v := &viewer{t: t, tt: tt, id: "toast", run: a.RunID}
	cuts := cutOffsets()
	for i, cut := range cuts {
		v.watchTo(cut)
		if i == len(cuts)/2 {
			if status := tt.status("toast").Status; status != town.StatusRunning {
				t.Errorf("the flood is %s before the server is killed; it should be in the middle", status)
			}
			tt.restart()
			openGate(t, gate)
		}
	}
	exit := v.watchTo(-1)
	if v.pos != floodBytes || exit.Offset != floodBytes || exit.Reason != town.ReasonExited {
		t.Errorf("viewer has %d bytes, the run ended at %d (%s); want %d (exited)", v.pos, exit.Offset, exit.Reason, floodBytes)
	}
	checkSegments(t, filepath.Join(tt.home, "runs", a.RunID))
}

// newGate returns a named pipe that every user may wait at.
func newGate(t *testing.T) string {
	t.Helper()
	path := filepath.Join(agenttest.Home(t), "gate")
	if err := unix.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

// openGate lets through who waits at a gate, now or later in the test.
func openGate(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0) // for reading as well: for writing alone waits for a reader
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
}

// cutOffsets returns where to cut: at the end of every segment, within 100 bytes
// of it, and anywhere.
func cutOffsets() []int64 {
	cuts := make(map[int64]bool)
	for end := int64(segmentBytes); end < floodBytes; end += segmentBytes {
		cuts[end] = true
		for range 4 {
			cuts[end-100+rand.Int64N(201)] = true
		}
	}
	for len(cuts) < floodCuts {
		cuts[1+rand.Int64N(floodBytes-1)] = true
	}
	return slices.Sorted(maps.Keys(cuts))
}

// viewer is a viewer of one run whose connection breaks often.
type viewer struct {
	t   *testing.T
	tt  *testTown
	id  string
	run string
	pos int64 // the next byte it wants
}

// watchTo watches up to an offset, reconnecting when it must, and then breaks
// its connection. With -1 it watches to the end of the run.
func (v *viewer) watchTo(cut int64) api.ExitFrame {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	for {
		exit, done := v.watch(ctx, cut)
		if done {
			return exit
		}
		if ctx.Err() != nil {
			v.t.Fatalf("viewer is at %d and does not get to %d", v.pos, cut)
		}
	}
}

// watch watches over one connection; done is false when that broke before.
func (v *viewer) watch(ctx context.Context, cut int64) (exit api.ExitFrame, done bool) {
	v.t.Helper()
	if v.pos == cut {
		return exit, true
	}
	line := newLine()
	client := api.New("http://"+v.tt.address, v.tt.token, line.client)
	s, err := client.Stream(ctx, v.id, api.StreamOptions{After: fmt.Sprintf("%s:%d", v.run, v.pos)})
	if err != nil {
		return exit, false
	}
	defer func() {
		line.cut()
		_ = s.Close() // tells nobody any more: it ends what serves the stream here
	}()
	if s.Hello.RunID != v.run || s.Hello.Offset != v.pos {
		v.t.Fatalf("asked for %s:%d, hello is at %s:%d", v.run, v.pos, s.Hello.RunID, s.Hello.Offset)
	}
	for {
		m, err := s.Next(ctx)
		if err != nil {
			return exit, false
		}
		switch frame := m.Frame.(type) {
		case api.GapFrame:
			v.t.Fatalf("gap from %d to %d: nothing was to be dropped", frame.From, frame.To)
		case api.ExitFrame:
			return frame, cut < 0
		}
		for _, b := range m.Data {
			if want := agenttest.Byte(v.pos); b != want {
				v.t.Fatalf("byte %d is %#x, want %#x", v.pos, b, want)
			}
			if v.pos++; v.pos == cut {
				return exit, true
			}
		}
	}
}

// line is a viewer's way to the town, which can be cut.
type line struct {
	client *http.Client
	mu     sync.Mutex
	conns  []net.Conn
}

func newLine() *line {
	l := &line{}
	l.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, network, address)
			if err == nil {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.conns = append(l.conns, conn)
			}
			return conn, err
		},
	}}
	return l
}

// cut breaks the connections, half of the times with a reset.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		if rand.N(2) == 0 {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
		_ = conn.Close()
	}
}

// checkSegments compares the files of the transcript with what was printed.
func checkSegments(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(files) < 3 {
		t.Fatalf("segments: %q, %v; want at least 3", files, err)
	}
	slices.Sort(files)
	pos := int64(0)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range data {
			if want := agenttest.Byte(pos); b != want {
				t.Fatalf("%s: byte %d of the run is %#x, want %#x", filepath.Base(file), pos, b, want)
			}
			pos++
		}
	}
	if pos != floodBytes {
		t.Errorf("segments hold %d bytes, want %d", pos, floodBytes)
	}
}
