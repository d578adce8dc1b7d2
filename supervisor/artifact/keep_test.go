package artifact_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"townd/supervisor/artifact"
	"townd/town"
)

// place is the directory of a run and the home of its agent.
type place struct {
	t         *testing.T
	run, home string
	max       int64
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, run: t.TempDir(), home: t.TempDir(), max: 1 << 20}
	must(t, os.Mkdir(p.in(""), 0o700))
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p *place) in(name string) string { return filepath.Join(p.home, "artifacts", name) }

func (p *place) write(name, text string) {
	p.t.Helper()
	must(p.t, os.WriteFile(p.in(name), []byte(text), 0o600))
}

func (p *place) from() artifact.From {
	return artifact.From{Dir: p.home, Name: "artifacts", UID: uint32(os.Geteuid()), MaxBytes: p.max}
}

func (p *place) keep(own ...artifact.Own) town.Artifacts {
	p.t.Helper()
	list, err := artifact.Keep(p.t.Context(), p.run, "run-1", own, p.from())
	must(p.t, err)
	return list
}

// holds checks what is kept: names and contents, and that no other file is there.
func (p *place) holds(want map[string]string) {
	p.t.Helper()
	list, err := artifact.List(p.run)
	must(p.t, err)
	files := map[string]bool{}
	for _, a := range list.Artifacts {
		f, opened, err := artifact.Open(p.run, a.Name)
		must(p.t, err)
		data, err := io.ReadAll(f)
		must(p.t, errors.Join(err, f.Close()))
		sum := sha256.Sum256(data)
		if text, ok := want[a.Name]; !ok || text != string(data) || a.Bytes != int64(len(data)) || a.SHA256 != hex.EncodeToString(sum[:]) || opened != a {
			p.t.Errorf("%q holds %.40q (%+v), want %.40q", a.Name, data, a, text)
		}
		files[a.SHA256] = true
	}
	if len(list.Artifacts) != len(want) {
		p.t.Errorf("kept are %+v, want %d", list.Artifacts, len(want))
	}
	entries, err := os.ReadDir(filepath.Join(p.run, "artifacts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Error(err)
	}
	for _, e := range entries {
		if !files[e.Name()] {
			p.t.Errorf("%s is left over", e.Name())
		}
	}
}

func why(list town.Artifacts) map[string]string {
	all := map[string]string{}
	for _, l := range list.LeftOut {
		all[l.Path] = l.Why
	}
	return all
}

// W10: what a run leaves is kept with its digest, and what comes later takes its place whole.
func TestWhatARunLeavesIsKept(t *testing.T) {
	p := newPlace(t)
	if list := p.keep(); list.TakenAt != nil {
		t.Errorf("Keep() of nothing = %+v", list)
	}
	if entries, _ := os.ReadDir(p.run); len(entries) > 0 {
		t.Errorf("a run that leaves nothing wrote %v", entries)
	}
	p.write("report.html", "<script>")
	p.write("Bericht für Ada.txt", "gut")
	p.write("empty", "")
	list := p.keep(artifact.Own{Name: "changes.patch", Kind: town.ArtifactDiff, Data: []byte("diff"), Truncated: true})
	p.holds(map[string]string{"changes.patch": "diff", "report.html": "<script>", "Bericht für Ada.txt": "gut", "empty": ""})
	if first := list.Artifacts[0]; first.Kind != town.ArtifactDiff || !first.Truncated || list.LeftOutCount != 0 || list.RunID != "run-1" || list.TakenAt == nil {
		t.Errorf("Keep() = %+v", list)
	}
	p.write("report.html", "<b>")
	must(t, os.Remove(p.in("empty")))
	p.keep()
	p.holds(map[string]string{"report.html": "<b>", "Bericht für Ada.txt": "gut"})
	must(t, os.RemoveAll(p.in("")))
	p.keep()
	p.holds(nil)
	if _, _, err := artifact.Open(p.run, "report.html"); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("Open() of what is gone = %v", err)
	}
}

// W10, W11: whatever an agent puts there, nothing but its own plain files is read, nobody waits, and
// what is not taken is named.
func TestTricksAreNotTaken(t *testing.T) {
	p := newPlace(t)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("canary"), 0o600))
	must(t, os.Symlink(secret, p.in("link")))
	must(t, os.Symlink("/dev/zero", p.in("endless")))
	must(t, os.Symlink(filepath.Dir(secret), p.in("dirlink")))
	must(t, unix.Mkfifo(p.in("fifo"), 0o600))
	must(t, os.Mkdir(p.in("dir"), 0o700))
	must(t, os.WriteFile(p.in("dir/inner"), []byte("x"), 0o600))
	t.Chdir(p.in("")) // a socket's path must be short
	l, err := net.Listen("unix", "socket")
	must(t, err)
	defer l.Close()
	sparse, err := os.Create(p.in("sparse"))
	must(t, err)
	must(t, errors.Join(sparse.Truncate(1<<40), sparse.Close()))
	want := map[string]string{
		"link": "regular", "endless": "regular", "dirlink": "regular", "fifo": "regular", "dir": "directory", "socket": "regular",
		"sparse": "bytes", "changes.patch": "of the town",
		"two\uFFFDlines": "printable", "\uFFFD[2Jcls": "printable", "evil\uFFFDgnp.exe": "printable", "bad\uFFFDutf8": "printable",
	}
	for _, name := range []string{"two\nlines", "\x1b[2Jcls", "evil\u202egnp.exe", "bad\xffutf8", "changes.patch"} {
		p.write(name, "x")
	}
	good := map[string]string{"-rf": "a", "..\\up": "b", `"quoted"`: "c", "%2e%2e": "d", " ": "e", strings.Repeat("n", 255): "f", "...": "g", "changes.patch": "own"}
	for name, text := range good {
		if name != "changes.patch" {
			p.write(name, text)
		}
	}
	if os.Geteuid() == 0 {
		must(t, unix.Mknod(p.in("device"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 250))))
		must(t, os.Link(secret, p.in("hard"))) // another user's
		must(t, os.Chown(secret, 12345, 12345))
		want["device"], want["hard"] = "regular", "not the agent's own"
	}
	list := p.keep(artifact.Own{Name: "changes.patch", Kind: town.ArtifactDiff, Data: []byte("own")})
	p.holds(good)
	got := why(list)
	for name, text := range want {
		if !strings.Contains(got[name], text) {
			t.Errorf("%q left out because it %q, want %q", name, got[name], text)
		}
	}
	if len(got) != len(want) || list.LeftOutCount != len(want) {
		t.Errorf("left out are %d, %v; want %d", list.LeftOutCount, got, len(want))
	}
	for _, name := range []string{"../artifacts.json", "..", "", ".", list.Artifacts[0].SHA256, "link"} {
		if f, _, err := artifact.Open(p.run, name); err == nil {
			f.Close()
			t.Errorf("Open(%q) opened something", name)
		}
	}
}

func TestDirectoryThatIsALinkIsNone(t *testing.T) {
	p := newPlace(t)
	other := t.TempDir()
	must(t, os.WriteFile(filepath.Join(other, "secret"), []byte("canary"), 0o600))
	must(t, errors.Join(os.Remove(p.in("")), os.Symlink(other, strings.TrimSuffix(p.in(""), "/"))))
	p.keep()
	p.holds(nil)
	must(t, errors.Join(os.Remove(strings.TrimSuffix(p.in(""), "/")), os.WriteFile(p.in(""), nil, 0o600)))
	p.keep()
	p.holds(nil)
}

func TestBoundsHold(t *testing.T) {
	p := newPlace(t)
	p.max = 100
	p.write("a", strings.Repeat("a", 60))
	p.write("b", strings.Repeat("b", 50))
	p.write("c", strings.Repeat("c", 40))
	list := p.keep()
	p.holds(map[string]string{"a": strings.Repeat("a", 60), "c": strings.Repeat("c", 40)})
	if got := why(list)["b"]; got != "has 50 bytes, and 40 may be kept yet" {
		t.Errorf("b is left out because it %s", got)
	}
	for i := range 400 {
		p.write(fmt.Sprintf("z%03d", i), "")
	}
	list = p.keep()
	if len(list.Artifacts) != 100 || list.LeftOutCount != 303 || len(list.LeftOut) != 200 || list.Artifacts[99].Name != "z097" {
		t.Errorf("of 403 files %d are kept, %d left out, %d named, the last kept is %s", len(list.Artifacts), list.LeftOutCount, len(list.LeftOut), list.Artifacts[99].Name)
	}
	if err := os.Chmod(p.in("a"), 0); err != nil || os.Geteuid() == 0 {
		return
	}
	if got := why(p.keep())["a"]; got != "cannot be read" {
		t.Errorf("a closed file is left out because it %q", got)
	}
}

// A Keep that fails, or was killed, leaves what was there, and the next one clears away after it.
func TestKeepThatFailsChangesNothing(t *testing.T) {
	p := newPlace(t)
	p.write("a", "one")
	p.keep()
	must(t, os.WriteFile(filepath.Join(p.run, "artifacts/.new-123"), []byte("half"), 0o600))
	must(t, os.WriteFile(filepath.Join(p.run, "artifacts.json.new"), []byte(`{"run`), 0o600))
	p.write("b", "two")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := artifact.Keep(ctx, p.run, "run-1", nil, p.from()); !errors.Is(err, context.Canceled) {
		t.Errorf("Keep() = %v", err)
	}
	p.holds(map[string]string{"a": "one"})
	must(t, os.WriteFile(filepath.Join(p.run, "artifacts.json"), []byte("garbage"), 0o600))
	if _, err := artifact.List(p.run); err == nil {
		t.Error("List() of garbage succeeded")
	}
	p.keep()
	p.holds(map[string]string{"a": "one", "b": "two"})
	must(t, os.RemoveAll(p.run))
	if _, err := artifact.Keep(t.Context(), p.run, "run-1", nil, p.from()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Keep() of a run that is deleted = %v", err)
	}
	if _, err := os.Lstat(p.run); err == nil {
		t.Error("the directory of a deleted run was made again")
	}
}

// On a full disk what was there before stays, and nothing half done.
func TestKeepOnAFullDisk(t *testing.T) {
	p := newPlace(t)
	if err := unix.Mount("tmpfs", p.run, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("needs to mount a small disk:", err)
	}
	defer func() { must(t, unix.Unmount(p.run, 0)) }()
	p.max = 8 << 20
	p.write("a", "one")
	p.keep()
	p.write("b", strings.Repeat("b", 2<<20))
	if _, err := artifact.Keep(t.Context(), p.run, "run-1", nil, p.from()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Keep() = %v", err)
	}
	p.holds(map[string]string{"a": "one"})
	must(t, os.Remove(p.in("b")))
	p.write("c", strings.Repeat("c", 512<<10))
	p.keep()
	p.holds(map[string]string{"a": "one", "c": strings.Repeat("c", 512<<10)})
}

// An agent that goes on may change its files while they are copied: what is kept is what its
// digest says, and no more than may be.
func TestFilesThatChangeMeanwhile(t *testing.T) {
	p := newPlace(t)
	p.max = 64 << 10
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := p.in("f")
			switch i % 4 {
			case 0:
				_ = os.WriteFile(name, bytes.Repeat([]byte{'x'}, 60<<10), 0o600)
			case 1:
				_ = os.WriteFile(name, bytes.Repeat([]byte{'y'}, 70<<10), 0o600)
			case 2:
				_ = os.Remove(name)
			case 3:
				_ = os.Remove(name)
				_ = os.Symlink("/etc/passwd", name)
				_ = os.Remove(name)
			}
		}
	}()
	for range 300 {
		list := p.keep()
		for _, a := range list.Artifacts {
			f, _, err := artifact.Open(p.run, a.Name)
			must(t, err)
			data, err := io.ReadAll(f)
			must(t, errors.Join(err, f.Close()))
			sum := sha256.Sum256(data)
			if hex.EncodeToString(sum[:]) != a.SHA256 || a.Bytes > p.max || slices.ContainsFunc(data, func(b byte) bool { return b != 'x' && b != 'y' }) {
				t.Fatalf("%+v holds %.40q", a, data)
			}
		}
	}
	close(stop)
	<-done
}
