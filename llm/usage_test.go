package llm

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"townd/town"
)

// metered returns what a meter makes of an answer that comes in such pieces.
func metered(d town.Dialect, events bool, answer []byte, cuts ...int) *meter {
	m := newMeter(d, events)
	for _, n := range cuts {
		n = min(n, len(answer))
		m.feed(answer[:n])
		answer = answer[n:]
	}
	m.feed(answer)
	return m
}

// FuzzMeter: whatever a provider sends, counts are none that could not be, memory
// is bounded, and where it is cut changes nothing.
func FuzzMeter(f *testing.F) {
	for _, st := range streams {
		stream := strings.ReplaceAll(st.stream, strings.Repeat("long", 50_000), "long")
		f.Add([]byte(stream), uint64(1))
		f.Add([]byte(strings.ReplaceAll(stream, "\n", "\r\n")), uint64(2))
		f.Add([]byte(strings.ReplaceAll(stream, "\n\n", "\n")), uint64(3))
	}
	f.Add([]byte(`{"usage":{"input_tokens":-5,"output_tokens":1e300,"cost":-1}}`), uint64(4))
	f.Add([]byte(`{"error":{"type":"x","code":429,"message":"m","details":[{"retryDelay":"1s"}]}}`), uint64(5))
	f.Fuzz(func(t *testing.T, answer []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		d := []town.Dialect{town.DialectAnthropic, town.DialectOpenAI, town.DialectResponses, town.DialectGemini}[r.IntN(4)]
		for _, events := range []bool{false, true} {
			var cuts []int
			for range 8 {
				cuts = append(cuts, r.IntN(len(answer)+1))
			}
			whole, cut := metered(d, events, answer), metered(d, events, answer, cuts...)
			price := Price{Input: 1, Output: 2}
			u := whole.usage(price)
			if u != cut.usage(price) || whole.fault != cut.fault {
				t.Fatalf("cut at %v: %+v %+v, want %+v %+v", cuts, cut.usage(price), cut.fault, u, whole.fault)
			}
			for _, n := range []int64{u.InputTokens, u.OutputTokens, u.CacheReadTokens, u.CacheWriteTokens} {
				if n < 0 || n > 2*maxCount {
					t.Errorf("usage %+v", u)
				}
			}
			if !(u.CostUSD >= 0 && u.CostUSD < 1e8) {
				t.Errorf("cost %v", u.CostUSD)
			}
			kindOf(200, &whole.fault)
			if n := cap(whole.scan.raw) + cap(whole.scan.path) + len(whole.line) + len(whole.fault.message); n > 8<<10 {
				t.Errorf("%d bytes are kept", n)
			}
		}
	})
}

func TestAMeterForgetsALongAnswer(t *testing.T) {
	m := newMeter(town.DialectOpenAI, true)
	piece := bytes.Repeat([]byte(`x`), 1<<20)
	m.feed([]byte(`data: {"choices":[{"delta":{"content":"`))
	for range 64 {
		m.feed(piece)
	}
	m.feed([]byte("\"}}],\"usage\":{\"completion_tokens\":7}}\n\n"))
	if got := m.usage(Price{}).OutputTokens; got != 7 || cap(m.scan.raw) > 4<<10 {
		t.Errorf("counted %d, kept %d bytes", got, cap(m.scan.raw))
	}
}

func BenchmarkMeter(b *testing.B) {
	stream := []byte(strings.Repeat("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"some words of an answer\"}}\n\n", 1000))
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	m := newMeter(town.DialectAnthropic, true)
	for b.Loop() {
		m.feed(stream)
	}
}
