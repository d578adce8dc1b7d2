package screen

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/supervisor/transcript"
)

var (
	update  = flag.Bool("update", false, "draw the goldens anew with @xterm/headless (npm ci in testdata/xterm first)")
	streams = flag.Int("streams", 0, "compare this many further random streams with @xterm/headless")
)

// job is a recording and where to look at it, as testdata/xterm/render.mjs reads it.
type job struct {
	Cols   int     `json:"cols"`
	Rows   int     `json:"rows"`
	Events []event `json:"events"`
	Cuts   []int   `json:"cuts"` // numbers of events
}

// event is one of an asciicast: output (text, or here bytes), or another size.
type event struct {
	text  string
	bytes []byte
	size  [2]int
}

func (e event) MarshalJSON() ([]byte, error) {
	switch {
	case e.size != [2]int{}:
		return json.Marshal([]any{0, "r", fmt.Sprintf("%dx%d", e.size[0], e.size[1])})
	case e.bytes != nil:
		return json.Marshal([]any{0, "b", e.bytes})
	}
	return json.Marshal([]any{0, "o", e.text})
}

// drawn is what xterm shows: a Screen, and how its columns look.
type drawn struct {
	Cols          int      `json:"cols"`
	Rows          int      `json:"rows"`
	Lines         []string `json:"lines"`
	Styles        []string `json:"styles"`
	CursorX       int      `json:"cursorX"`
	CursorY       int      `json:"cursorY"`
	CursorVisible bool     `json:"cursorVisible"`
	AltScreen     bool     `json:"altScreen"`
	Title         string   `json:"title"`
	Above         int      `json:"above"` // lines remembered above the normal screen
}

// readCast reads an asciicast and looks at it six times.
func readCast(t *testing.T, path string) job {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header, rest, _ := strings.Cut(string(data), "\n")
	var h struct{ Width, Height int }
	if err := json.Unmarshal([]byte(header), &h); err != nil {
		t.Fatal(err)
	}
	j := job{Cols: h.Width, Rows: h.Height}
	for l := range strings.Lines(rest) {
		var e [3]any
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatal(err)
		}
		ev := event{text: e[2].(string)}
		if e[1] == "r" {
			if _, err := fmt.Sscanf(ev.text, "%dx%d", &ev.size[0], &ev.size[1]); err != nil {
				t.Fatal(err)
			}
		}
		j.Events = append(j.Events, ev)
	}
	for i := 1; i <= 6; i++ {
		n := len(j.Events) * i / 6
		for n < len(j.Events) && j.Events[n].size != [2]int{} {
			n++ // a size told at the offset of a cut belongs to it
		}
		j.Cuts = append(j.Cuts, n)
	}
	j.Cuts = slices.Compact(j.Cuts)
	return j
}

// write makes a transcript of the recording. It returns the offset of each cut.
func (j job) write(t *testing.T, dir string) []int64 {
	t.Helper()
	w, err := transcript.Open(dir, transcript.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Mark(transcript.MarkStart, uint16(j.Cols), uint16(j.Rows)); err != nil {
		t.Fatal(err)
	}
	var offsets []int64
	for n := 0; ; n++ {
		if slices.Contains(j.Cuts, n) {
			offsets = append(offsets, w.Size())
		}
		if n == len(j.Events) {
			return offsets
		}
		e := j.Events[n]
		if e.size != [2]int{} {
			err = w.Mark(transcript.MarkResize, uint16(e.size[0]), uint16(e.size[1]))
		} else {
			_, err = w.Write(append([]byte(e.text), e.bytes...))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// draw draws the recording at its cuts, each from where the last one ended.
func (j job) draw(t *testing.T) []drawn {
	t.Helper()
	dir := t.TempDir()
	offsets := j.write(t, dir)
	r := transcript.NewReader(dir)
	defer r.Close()
	d := NewDrawer(1, 1)
	var all []drawn
	for _, off := range offsets {
		s, err := d.Draw(t.Context(), r, off)
		if err != nil {
			t.Fatal(err)
		}
		if !s.Exact || s.Offset > off {
			t.Errorf("Draw(%d) is at %d, exact %v", off, s.Offset, s.Exact)
		}
		all = append(all, drawn{
			Cols: s.Cols, Rows: s.Rows, Lines: s.Lines, Styles: styles(d.term), CursorX: s.CursorX, CursorY: s.CursorY,
			CursorVisible: s.CursorVisible, AltScreen: s.AltScreen, Title: s.Title, Above: d.term.normal.base,
		})
	}
	return all
}

// styles writes how the columns of t look in the form of render.mjs.
func styles(t *terminal) []string {
	var all []string
	for y := range t.rows {
		var runs []string
		n := 0
		var last string
		for _, c := range append(slices.Clone(t.buf.row(y).cells[:t.cols]), cell{attr: 1 << 15}) {
			s := c.fg.golden() + "/" + c.bg.golden() + "/"
			for i, flag := range "bdiukrhso" {
				if c.attr&(1<<i) != 0 {
					s += string(flag)
				}
			}
			if c.attr&(1<<15) != 0 {
				s = ""
			}
			if n > 0 && s != last {
				runs = append(runs, fmt.Sprintf("%d:%s", n, last))
				n = 0
			}
			last = s
			n++
		}
		all = append(all, strings.Join(runs, " "))
	}
	return all
}

func (c color) golden() string {
	switch {
	case c&palette != 0:
		return fmt.Sprint(uint32(c & colorOf))
	case c&rgb != 0:
		return fmt.Sprintf("#%06x", uint32(c&colorOf))
	}
	return "-"
}

// xterm has @xterm/headless draw the jobs.
func xterm(t *testing.T, jobs []job) [][]drawn {
	t.Helper()
	var in bytes.Buffer
	for _, j := range jobs {
		if err := json.NewEncoder(&in).Encode(j); err != nil {
			t.Fatal(err)
		}
	}
	sc := bufio.NewScanner(bytes.NewReader(node(t, in.Bytes())))
	sc.Buffer(nil, 64<<20)
	var all [][]drawn
	for sc.Scan() {
		var screens []drawn
		if err := json.Unmarshal(sc.Bytes(), &screens); err != nil {
			t.Fatal(err)
		}
		all = append(all, screens)
	}
	if len(all) != len(jobs) {
		t.Fatalf("node render.mjs drew %d of %d jobs", len(all), len(jobs))
	}
	return all
}

// node runs testdata/xterm/render.mjs.
func node(t *testing.T, in []byte) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "render.mjs")
	cmd.Dir = filepath.Join("testdata", "xterm")
	cmd.Stdin = bytes.NewReader(in)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node render.mjs: %v", err)
	}
	return out
}

// golden returns what xterm drew of the jobs, from the file of that name.
func golden(t *testing.T, name string, jobs []job) [][]drawn {
	t.Helper()
	return goldenOf(t, name, func() [][]drawn { return xterm(t, jobs) })
}

// goldenOf returns what is in the file of that name, after -update what get returns.
func goldenOf[T any](t *testing.T, name string, get func() T) T {
	t.Helper()
	path := filepath.Join("testdata", "golden", name+".json")
	if *update {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(get()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all T
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// The screens of recorded sessions are what xterm.js shows.
func TestScreensAreThoseOfXterm(t *testing.T) {
	casts, err := filepath.Glob(filepath.Join("testdata", "casts", "*.cast"))
	if err != nil || len(casts) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, path := range casts {
		name := strings.TrimSuffix(filepath.Base(path), ".cast")
		t.Run(name, func(t *testing.T) {
			j := readCast(t, path)
			want := golden(t, name, []job{j})[0]
			for i, got := range j.draw(t) {
				if diff := cmp.Diff(want[i], got); diff != "" {
					t.Errorf("after %d of %d events (-xterm +ours):\n%s", j.Cuts[i], len(j.Events), diff)
				}
			}
		})
	}
}

// Characters are as wide as in xterm.js with Unicode 11. Known differences: what
// is narrow there and became wide or combining in a later Unicode, and three more.
func TestWidths(t *testing.T) {
	runs := goldenOf(t, "widths", func() (runs [][2]rune) {
		if err := json.Unmarshal(node(t, []byte("widths\n")), &runs); err != nil {
			t.Fatal(err)
		}
		return runs
	})
	known := map[rune]uint8{0x1734: 1, 0x1f93b: 1, 0x1f946: 1}
	later := 0
	for i, run := range runs {
		end := rune(0x110000)
		if i+1 < len(runs) {
			end = runs[i+1][0]
		}
		for r := run[0]; r < end; r++ {
			got, want := runeWidth(r), uint8(run[1])
			switch {
			case got == want, known[r] == got && got > 0:
			case want == 1:
				later++
			default:
				t.Errorf("%U is %d wide, %d in xterm.js", r, got, want)
			}
		}
	}
	if later == 0 || later > 1200 {
		t.Errorf("%d characters are narrow in xterm.js only", later)
	}
}
