package agentcli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/supervisor/agentcli"
	"townd/town"
)

// exits is how the process of a recording ended, where not with 0.
var exits = map[string]int{
	"claude-unknown-session": 1, "opencode-unknown-session": 1,
	"gemini-auth": 145, "gemini-rate-limit": 173, "gemini-overloaded": 244, "gemini-malformed": 1, "gemini-unknown-session": 42,
}

// TestRecordingsDecodeToTheirGoldens needs no CLI: real_test.go recorded them.
func TestRecordingsDecodeToTheirGoldens(t *testing.T) {
	for name, output := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			for _, d := range decodeWhole(t, name, output) {
				fmt.Fprintf(&got, "%d %s\n", d.Offset, render(t, d))
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func recordings(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.out")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		output, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".out")] = output
	}
	return all
}

func newDecoder(t testing.TB, recording string) agentcli.Decoder {
	t.Helper()
	name, _, _ := strings.Cut(recording, "-")
	cli := lookup(t, name)
	return cli.NewDecoder()
}

func decodeWhole(t testing.TB, name string, output []byte) []agentcli.Decoded {
	t.Helper()
	var events []agentcli.Decoded
	emit := func(d agentcli.Decoded) { events = append(events, d) }
	d := newDecoder(t, name)
	d.Decode(output, 0, emit)
	d.Finish(exits[name], int64(len(output)), emit)
	return events
}

// hand gives the state of a decoder to a new one, as a server hands its to the next.
func hand(t testing.TB, name string, d agentcli.Decoder) agentcli.Decoder {
	t.Helper()
	state, err := d.State()
	if err != nil {
		t.Fatal(err)
	}
	next := newDecoder(t, name)
	if err := next.Restore(state); err != nil {
		t.Fatal(err)
	}
	return next
}

// openings are the lines with which a turn begins.
var openings = map[string]string{
	"claude":   `{"type":"system","subtype":"init","session_id":"s"}` + "\n",
	"codex":    codexOpened,
	"gemini":   `{"type":"init","session_id":"s"}` + "\n",
	"opencode": `{"id":"ses_1","slug":"s"}` + "\n" + `{"type":"session.status","properties":{"sessionID":"ses_1","status":{"type":"busy"}}}` + "\n",
}

// toolResults are the lines with what a tool printed, in the place of %.
var toolResults = map[string]string{
	"claude": `{"type":"user","message":{"role":"user","content":[{"tool_use_id":"t","type":"tool_result","content":%,"is_error":false}]},` +
		`"parent_tool_use_id":null,"session_id":"s","tool_use_result":{"stdout":%,"stderr":""}}` + "\n",
	"codex":  codexNote("item/completed", `"item":{"id":"t","type":"commandExecution","command":"make","cwd":"/w","status":"completed","exitCode":0,"aggregatedOutput":%}`),
	"gemini": `{"type":"tool_result","timestamp":"2026-01-01T00:00:00.000Z","tool_id":"t","status":"success","output":%}` + "\n",
	"opencode": `{"type":"message.part.updated","properties":{"sessionID":"ses_1","part":{"id":"p","type":"tool","sessionID":"ses_1","messageID":"m",` +
		`"callID":"t","tool":"bash","state":{"status":"completed","input":{"command":"make"},"output":%,"time":{"start":1,"end":2}}}}}` + "\n",
}

// TestAnySplitAndAnyRestartGiveTheSameEvents cuts each recording in two at many
// places, hands the state over there, and reads the bytes before the cut again.
func TestAnySplitAndAnyRestartGiveTheSameEvents(t *testing.T) {
	for name, output := range recordings(t) {
		want := decodeWhole(t, name, output)
		step := 1 + len(output)/200
		for at := 0; at <= len(output); at += step {
			var got []agentcli.Decoded
			emit := func(d agentcli.Decoded) { got = append(got, d) }
			d := newDecoder(t, name)
			d.Decode(output[:at], 0, emit)
			d = hand(t, name, d)
			again := max(0, at-700)
			d.Decode(output[again:], int64(again), emit)
			d.Finish(exits[name], int64(len(output)), emit)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s cut at %d (-want +got):\n%s", name, at, diff)
			}
		}
	}
}

func FuzzDecodersGiveTheSameEventsForAnySplit(f *testing.F) {
	for _, seed := range openings { // recordings as seeds leave no time for anything else
		f.Add([]byte(seed), uint16(40), true)
	}
	f.Add([]byte("{\"type\":\"result\",\"is_error\":\"yes\"}\r\n{\x1b[0m\"type\":\"system\",\"subtype\":\"init\",\"session_id\":7}\n"), uint16(3), false)
	f.Add([]byte(`{"id":2,"result":{"thread":{"id":7}}}`+"\n"+`{"method":"turn/completed","params":{"turn":{"status":"failed","error":[]}}}`), uint16(3), true)
	f.Add([]byte("Error: {\"type\":\"message.part.updated\",\"properties\":{\"part\":{\"type\":\"tool\",\"state\":{\"status\":\"error\",\"error\":\"\\ud83d\"}}}}\x00\n{\"type\":\"session.error\",\"properties\":[]}"), uint16(1), true)
	f.Fuzz(func(t *testing.T, output []byte, size uint16, restart bool) {
		restart = restart && len(output)/(1+int(size)) < 100 // each costs a marshalling
		for _, name := range []string{"claude", "opencode", "codex", "gemini"} {
			want := decodeWhole(t, name, output)
			var got []agentcli.Decoded
			emit := func(d agentcli.Decoded) { got = append(got, d) }
			d := newDecoder(t, name)
			for at := 0; at < len(output); {
				end := min(len(output), at+1+int(size))
				d.Decode(output[at:end], int64(at), emit)
				at = end
				if restart {
					d = hand(t, name, d)
				}
			}
			d.Finish(0, int64(len(output)), emit)
			if !reflect.DeepEqual(want, got) {
				t.Errorf("%s in pieces of %d (-want +got):\n%s", name, 1+int(size), cmp.Diff(want, got))
			}
			for _, e := range want {
				if _, err := json.Marshal(e.Data); err != nil {
					t.Errorf("%s event %+v: %v", name, e, err)
				}
			}
		}
	})
}

// decode returns what a decoder tells of output, given in pieces of size.
func decode(t *testing.T, d agentcli.Decoder, output string, size int) []string {
	t.Helper()
	var lines []string
	for at := 0; at < len(output); at += size {
		d.Decode([]byte(output[at:min(len(output), at+size)]), int64(at), func(e agentcli.Decoded) { lines = append(lines, render(t, e)) })
	}
	return lines
}

func TestDecoderToleratesWhatSharesTheTerminal(t *testing.T) {
	const text = `{"type":"assistant","parent_tool_use_id":"x","message":{"content":[{"type":"text","text":"hi"}]}}`
	want := []string{`turn.started {}`, `text {"text":"hi"}`}
	for name, output := range map[string]string{
		"plain":             text + "\n",
		"CRLF":              text + "\r\n",
		"terminal codes":    "\x1b[?25h\x1b]0;title\x07" + text + "\x1b[0m\n",
		"code inside":       text[:20] + "\x1b[2K\x1b[1;31m" + text[20:] + "\n",
		"NUL":               "\x00\x00" + text + "\x00\n",
		"unfinished stderr": "warning: slow" + text + "\n",
		"noise before":      "not json\n{\"unknown\":1}\n{\"type\":\"from_tomorrow\",\"message\":3}\n[1,2]\n{\n" + text + "\n",
		"other types":       `{"type":"system","subtype":7,"error_status":"x"}` + "\n" + text + "\n",
		"not UTF-8":         "\xff\xfe\n" + text + "\n",
	} {
		for _, size := range []int{1, 7, 4096} {
			if diff := cmp.Diff(want, decode(t, newDecoder(t, "claude"), output, size)); diff != "" {
				t.Errorf("%s in pieces of %d (-want +got):\n%s", name, size, diff)
			}
		}
	}
}

// TestOverlongLinesLoseTextOnly: type, ids and what follows a text of megabytes
// are told, whole megabytes of it are never held.
func TestOverlongLinesLoseTextOnly(t *testing.T) {
	long := strings.Repeat(`ü\u00fc\n\"`, 1<<18)
	output := `{"type":"system","subtype":"init","session_id":"s"}` + "\n" +
		`{"message":{"content":[{"content":"` + long + `","tool_use_id":"t1","type":"tool_result","is_error":true}]},"type":"user"}` + "\n" +
		`{"result":"` + long + `","is_error":false,"type":"result"}` + "\n" +
		strings.Repeat("plain without an end ", 1<<18) + "\n" +
		`{"type":"assistant","message":{"content":[{"type":"text","text":"after"}]}}` + "\n"
	for _, size := range []int{1000, 32 << 10, len(output)} {
		var got []agentcli.Decoded
		d := newDecoder(t, "claude")
		for at := 0; at < len(output); at += size {
			d.Decode([]byte(output[at:min(len(output), at+size)]), int64(at), func(e agentcli.Decoded) { got = append(got, e) })
		}
		var kinds []town.EventType
		for _, e := range got {
			kinds = append(kinds, e.Event)
		}
		want := []town.EventType{
			town.EventSession, town.EventTurnStarted, town.EventToolResult, town.EventTurnEnded, town.EventTurnStarted, town.EventText,
		}
		if diff := cmp.Diff(want, kinds); diff != "" {
			t.Fatalf("in pieces of %d (-want +got):\n%s", size, diff)
		}
		r := got[2].Data.(town.ToolResultData)
		if r.ID != "t1" || r.OK || !strings.HasPrefix(r.Output, "üü\n\"üü") || !strings.HasSuffix(r.Output, "\n[cut]") || len(r.Output) > 65<<10 {
			t.Errorf("result %q %v, %d bytes, ends %q", r.ID, r.OK, len(r.Output), r.Output[max(0, len(r.Output)-20):])
		}
		if strings.ContainsRune(r.Output, '\uFFFD') {
			t.Error("a character was cut in two")
		}
	}
}

// TestDecoderMemoryIsBoundedOnALineOfAGigabyte proves the figure of a 1 GB line,
// for one long string and for what no cutting of strings makes shorter.
func TestDecoderMemoryIsBoundedOnALineOfAGigabyte(t *testing.T) {
	const size, held, allocated = 1 << 30, 4 << 20, 16 << 20
	for head, piece := range map[string]string{
		`{"type":"user","message":"`: strings.Repeat(`a line of output, with \"quotes\" and ü\n`, 1500),
		`[`:                          strings.Repeat("[1],", 16<<10),
		`{"type":"user","message":[`: strings.Repeat(`"short",`, 8<<10),
	} {
		d := newDecoder(t, "claude")
		emit := func(agentcli.Decoded) { t.Error("an event of nothing") }
		d.Decode([]byte(head), 0, emit)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		off := int64(len(head))
		for p := []byte(piece); off < size; off += int64(len(p)) {
			d.Decode(p, off, emit)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > held {
			t.Errorf("after %d MiB of %q the decoder holds %d KiB", off>>20, head, grown>>10)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > allocated {
			t.Errorf("%d MiB of %q take %d KiB", off>>20, head, used>>10)
		}
		if state, err := d.State(); err != nil || len(state) > 2<<20 {
			t.Errorf("state of %d bytes, %v", len(state), err)
		}
		runtime.KeepAlive(d)
	}
}

// TestDecoderSkipsTheLineThatAGapCut: what follows a gap begins inside a line,
// whose rest may look like one.
func TestDecoderSkipsTheLineThatAGapCut(t *testing.T) {
	var got []string
	emit := func(e agentcli.Decoded) { got = append(got, render(t, e)) }
	d := newDecoder(t, "claude")
	d.Decode([]byte(`{"type":"assistant","message":{"content":[{"type":"text","text":"lost`), 0, emit)
	rest := `{"type":"result","result":"forged"}` + "\n" + `{"type":"assistant","message":{"content":[{"type":"text","text":"seen"}]}}` + "\n"
	d.Decode([]byte(rest), 5000, emit)
	if diff := cmp.Diff([]string{`turn.started {}`, `text {"text":"seen"}`}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestErrorsAreNeverReadFromWhatToolsPrint: a tool may print anything.
func TestErrorsAreNeverReadFromWhatToolsPrint(t *testing.T) {
	printed, err := json.Marshal("API Error: 401 authentication_failed\n" + `{"type":"result","is_error":true,"api_error_status":429}` + "\n" +
		codexNote("error", `"error":{"codexErrorInfo":"unauthorized"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, result := range toolResults {
		got := decode(t, newDecoder(t, name), openings[name]+strings.ReplaceAll(result, "%", string(printed)), 5)
		for _, line := range got {
			if strings.HasPrefix(line, "error ") || strings.HasPrefix(line, "retry ") || strings.HasPrefix(line, "turn.ended ") {
				t.Errorf("%s tells %s", name, line)
			}
		}
		if !strings.HasPrefix(got[len(got)-1], `tool.result {"id":"t","ok":true,"output":"API Error: 401`) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestUsageAddsUpToWhatTheResultTells(t *testing.T) {
	output := `{"type":"system","subtype":"init","session_id":"s"}
{"type":"assistant","message":{"id":"m1","usage":{"input_tokens":10,"output_tokens":1,"cache_read_input_tokens":5},"content":[]}}
{"type":"assistant","message":{"id":"m1","usage":{"input_tokens":10,"output_tokens":1,"cache_read_input_tokens":5},"content":[]}}
{"type":"assistant","parent_tool_use_id":"t","message":{"id":"sub","usage":{"input_tokens":1000},"content":[]}}
{"type":"result","total_cost_usd":0.5,"model_usage_since_last_result":{"a":{"inputTokens":10,"outputTokens":40,"cacheReadInputTokens":5,"costUSD":0.25},"b":{"inputTokens":1000,"outputTokens":7,"cacheCreationInputTokens":3,"costUSD":0.25}}}
{"type":"system","subtype":"init","session_id":"s"}
{"type":"result","total_cost_usd":0.75,"usage":{"input_tokens":2,"output_tokens":3}}
`
	var sum town.UsageData
	newDecoder(t, "claude").Decode([]byte(output), 0, func(e agentcli.Decoded) {
		if u, ok := e.Data.(town.UsageData); ok {
			sum.InputTokens += u.InputTokens
			sum.OutputTokens += u.OutputTokens
			sum.CacheReadTokens += u.CacheReadTokens
			sum.CacheWriteTokens += u.CacheWriteTokens
			sum.CostUSD += u.CostUSD
		}
	})
	want := town.UsageData{InputTokens: 1012, OutputTokens: 50, CacheReadTokens: 5, CacheWriteTokens: 3, CostUSD: 0.75}
	if sum != want {
		t.Errorf("usage %+v, want %+v", sum, want)
	}
}

func TestFinishEndsAnOpenTurn(t *testing.T) {
	const claude = `{"type":"system","subtype":"init","session_id":"s"}` + "\nout of memory\n"
	const kilo = `{"id":"ses_1","slug":"s"}` + "\n" + `{"type":"session.status","properties":{"sessionID":"ses_1","status":{"type":"busy"}}}` + "\n"
	const fault = `{"townd":"fault","kind":"crashed","message":"it died"}` + "\n"
	for _, c := range []struct {
		name, output string
		code         int
		want         []string // after session and turn.started
	}{
		{"claude", claude, 137, []string{`error {"kind":"crashed","message":"out of memory"}`, `turn.ended {"ok":false,"text":""}`}},
		{"claude", claude, 0, []string{`turn.ended {"ok":false,"text":""}`}},
		{"claude", claude + `{"type":"result","result":"ok"}` + "\n", 1, []string{`turn.ended {"ok":true,"text":"ok"}`}},
		{"claude", claude + `{"type":"result","result":"no newline"}`, 0, []string{`turn.ended {"ok":true,"text":"no newline"}`}},
		{"kilo", kilo, 0, []string{`turn.ended {"ok":false,"text":""}`}},
		{"kilo", kilo, 139, []string{`error {"kind":"crashed","message":"exited with code 139"}`, `turn.ended {"ok":false,"text":""}`}},
		{"kilo", kilo + fault, 139, []string{`error {"kind":"crashed","message":"it died"}`, `turn.ended {"ok":false,"text":""}`}},
	} {
		var got []string
		emit := func(e agentcli.Decoded) {
			if e.Event != town.EventSession && e.Event != town.EventTurnStarted && e.Event != town.EventUsage {
				got = append(got, render(t, e))
			}
		}
		d := newDecoder(t, c.name)
		d.Decode([]byte(c.output), 0, emit)
		d.Finish(c.code, int64(len(c.output)), emit)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s, code %d after %q (-want +got):\n%s", c.name, c.code, c.output, diff)
		}
	}
}

func TestStateOfAnotherVersionIsRefused(t *testing.T) {
	if err := newDecoder(t, "claude").Restore([]byte(`{"Next":"x"}`)); err == nil {
		t.Error("restored from nonsense")
	}
}

// BenchmarkDecode is of what makes transcripts long, for each CLI. Each case is beside
// json.Valid over the same bytes, by which machines compare.
func BenchmarkDecode(b *testing.B) {
	for _, name := range slices.Sorted(maps.Keys(toolResults)) {
		for _, kib := range []int{4, 27, 64, 1 << 10} {
			benchmark(b, name, fmt.Sprintf("result of %d KiB", kib), toolResult(b, name, kib<<10))
		}
		benchmark(b, name, "small lines", smallLines(b, name))
	}
}

func benchmark(b *testing.B, name, what string, output []byte) {
	b.Run(name+"/"+what, func(b *testing.B) {
		d := newDecoder(b, name)
		off := int64(len(openings[name]))
		d.Decode([]byte(openings[name]), 0, func(agentcli.Decoded) {})
		b.SetBytes(int64(len(output)))
		b.ReportAllocs()
		for b.Loop() {
			for p := range slices.Chunk(output, 64<<10) { // as the transcript is read
				d.Decode(p, off, func(agentcli.Decoded) {})
				off += int64(len(p))
			}
		}
	})
	b.Run(name+"/"+what+", json.Valid", func(b *testing.B) {
		lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
		b.SetBytes(int64(len(output)))
		for b.Loop() {
			for _, line := range lines {
				json.Valid(line)
			}
		}
	})
}

// toolResult is a line of size with what a tool printed.
func toolResult(t testing.TB, name string, size int) []byte {
	t.Helper()
	const row = "a line of a compiler's output, with \"quotes\", paths/of/files.go:12:3 and so on\n"
	line := toolResults[name]
	text, err := json.Marshal(strings.Repeat(row, 1+size/strings.Count(line, "%")/len(row)))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.ReplaceAll(line, "%", string(text)))
}

// smallLines are a CLI's recordings, many times.
func smallLines(t testing.TB, name string) []byte {
	t.Helper()
	var output []byte
	for recording, p := range recordings(t) {
		if strings.HasPrefix(recording, name+"-") {
			output = append(output, bytes.ReplaceAll(p, []byte("\x1b[?25h"), nil)...)
		}
	}
	return bytes.Repeat(output, 1+(1<<20)/len(output))
}
