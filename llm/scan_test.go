package llm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// scanned returns what a scanner tells of a document that comes in such pieces.
func scanned(doc []byte, pieces ...int) (told []string, done bool) {
	s := scanner{found: func(f *field) {
		value := string(doc[f.start:max(f.end, f.start)])
		told = append(told, fmt.Sprintf("%s %c %s %s", f.path, f.kind, f.text(), value))
	}}
	for _, n := range pieces {
		n = min(n, len(doc)-int(s.offset))
		s.feed(doc[s.offset : s.offset+int64(n)])
	}
	s.feed(doc[s.offset:])
	return told, s.done()
}

func TestScannerTellsFieldsWithTheirPlaces(t *testing.T) {
	doc := `{"model" : "a\"bé", "n":[{"x":1.5e3},{"x":null}], "m\u006fdel":true,"deep":{"e":[]}}`
	got, done := scanned([]byte(doc))
	want := []string{
		" {  ", `.model " a"bé "a\"bé"`, ".n [  ", ".n {  ", ".n.x 0 1.5e3 1.5e3", ".n {  ", ".n.x 0 null null",
		".model 0 true true", ".deep {  ", ".deep.e [  ",
	}
	if !slices.Equal(got, want) || !done {
		t.Errorf("done %v, told\n%s\nwant\n%s", done, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestScannerReadsTheSameHoweverItIsCut(t *testing.T) {
	doc := []byte(`{"a":"\\\"x\u00e9","b":{"c":[1,22,{"d":"` + strings.Repeat("long ", 300) + `"}]},"e":-1.25}`)
	whole, _ := scanned(doc)
	for i := range len(doc) {
		if cut, done := scanned(doc, i, 1); !slices.Equal(cut, whole) || !done {
			t.Fatalf("cut at %d: %q, want %q", i, cut, whole)
		}
	}
}

func TestScannerKeepsLittleOfWhatIsLong(t *testing.T) {
	var s scanner
	longest := 0
	s.found = func(f *field) { longest = max(longest, len(f.raw), len(f.path)) }
	s.feed([]byte(`{"` + strings.Repeat("k", 1<<20) + `":"`))
	for range 100 {
		s.feed(bytes.Repeat([]byte(`x\n`), 1<<16))
	}
	s.feed([]byte(`","n":` + strings.Repeat("[", 10_000)))
	if longest > keptTextBytes || cap(s.raw) > 2*keptTextBytes || cap(s.path) > 2*keptTextBytes || len(s.open) > maxNesting {
		t.Errorf("kept %d, %d and %d bytes at depth %d", longest, cap(s.raw), cap(s.path), len(s.open))
	}
}

// FuzzScanner: what encoding/json takes, a scanner finds the model of, however the
// bytes are cut.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m"}`, `{"a":[{"model":"no"}],"model":"yes\n","stream":true}`, `[1,{"x":"y"}]`, `{"model":1,"model":"a"}`, `{"`, `}{`, `[DONE]`,
		`{"model":"\ud83d\ude00","b":"\\"}`, ` {"stream_options":{"include_usage":false},"stream":true} `,
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, doc []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		var cuts []int
		for range 8 {
			cuts = append(cuts, r.IntN(len(doc)+1))
		}
		whole, done := scanned(doc)
		if cut, again := scanned(doc, cuts...); !slices.Equal(whole, cut) || done != again {
			t.Fatalf("cut %v: %q, want %q", cuts, cut, whole)
		}
		var want map[string]any
		if json.Unmarshal(doc, &want) != nil || want == nil || nesting(doc) > keptNesting {
			return
		}
		a, err := readAsk(doc)
		if err != nil {
			if a.models <= 1 && !strings.Contains(err.Error(), "times") {
				t.Fatalf("readAsk: %v", err)
			}
			return
		}
		if model, ok := want["model"].(string); ok && len(model) < 100 && a.model != model && !strings.ContainsRune(model, '\ufffd') {
			t.Errorf("model %q, want %q", a.model, model)
		}
		edits := []edit{}
		if a.modelSpan.end > 0 {
			edits = append(edits, a.setModel("other/model"))
		}
		if e, ok := a.wantUsage(); ok && len(want) > 0 {
			edits = append(edits, e)
		}
		var got map[string]any
		if err := json.Unmarshal(rewrite(doc, edits...), &got); err != nil {
			t.Fatalf("rewritten: %v", err)
		}
	})
}

func nesting(doc []byte) int { return bytes.Count(doc, []byte("{")) + bytes.Count(doc, []byte("[")) }

func TestAskSaysWhatIsAsked(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"model":"m","messages":[]}`, `{"model":"n","messages":[]}`},
		{`{"stream":true,"model":"m"}`, `{"stream_options":{"include_usage":true},"stream":true,"model":"n"}`},
		{`{"stream":true,"model":"m","stream_options":{}}`, `{"stream":true,"model":"n","stream_options":{"include_usage":true}}`},
		{`{"stream":true,"stream_options":{"x":1},"model":"m"}`, `{"stream":true,"stream_options":{"include_usage":true,"x":1},"model":"n"}`},
		{`{"stream":true,"stream_options":{"include_usage":false},"model":"m"}`, `{"stream":true,"stream_options":{"include_usage":true},"model":"n"}`},
		{`{"stream":true,"stream_options":{"include_usage":true},"model":"m"}`, `{"stream":true,"stream_options":{"include_usage":true},"model":"n"}`},
		{`{"tools":[{"model":"m"}], "model" : "m" }`, `{"tools":[{"model":"m"}], "model" : "n" }`},
	} {
		a, err := readAsk([]byte(tt.body))
		if err != nil || a.model != "m" {
			t.Errorf("readAsk(%s) = %+v, %v", tt.body, a, err)
			continue
		}
		edits := []edit{a.setModel("n")}
		if e, ok := a.wantUsage(); ok {
			edits = append(edits, e)
		}
		if got := string(rewrite([]byte(tt.body), edits...)); got != tt.want {
			t.Errorf("rewritten\n%s\nwant\n%s", got, tt.want)
		}
	}
	for _, body := range []string{"", "[]", "null", `"x"`, `{"a":`, `{"model":"a","model":"b"}`, `{"model":"a","\u006dodel":"b"}`, `{} {}`} {
		if a, err := readAsk([]byte(body)); err == nil {
			t.Errorf("readAsk(%s) = %+v", body, a)
		}
	}
}

func BenchmarkScanner(b *testing.B) {
	doc, err := json.Marshal(map[string]any{"model": "m", "messages": []any{map[string]any{"role": "user", "content": strings.Repeat("some \"code\"\n\tand text ", 50_000)}}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readAsk(doc); err != nil {
			b.Fatal(err)
		}
	}
}
