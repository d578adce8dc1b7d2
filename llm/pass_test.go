package llm

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"townd/llm/llmtest"
	"townd/town"
)

// The streams of each dialect as their providers write them, and what they use.
var streams = map[town.Dialect]struct {
	stream string
	want   town.UsageData
}{
	town.DialectAnthropic: {
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":7,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n" +
			"event: ping\ndata: {\"type\":\"ping\"}\n\n" +
			"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"usage\\\":{\\\"output_tokens\\\":999}\"}}\n\n" +
			"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n" +
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		town.UsageData{InputTokens: 25, OutputTokens: 15, CacheReadTokens: 5, CacheWriteTokens: 7},
	},
	town.DialectOpenAI: {
		": OPENROUTER PROCESSING\n\n" +
			"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\r\n\r\n" +
			"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":194,\"completion_tokens\":2,\"cost\":0.95,\"prompt_tokens_details\":{\"cached_tokens\":94,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\r\n\r\n" +
			"data: [DONE]\r\n\r\n",
		town.UsageData{InputTokens: 100, OutputTokens: 2, CacheReadTokens: 94, CostUSD: 0.95},
	},
	town.DialectResponses: {
		"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"error\":null,\"usage\":null}}\n\n" +
			"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"content\":[{\"text\":\"" + strings.Repeat("long", 50_000) + "\"}]}],\"usage\":{\"input_tokens\":328,\"input_tokens_details\":{\"cached_tokens\":28},\"output_tokens\":52,\"output_tokens_details\":{\"reasoning_tokens\":9}}}}\n\n",
		town.UsageData{InputTokens: 300, OutputTokens: 52, CacheReadTokens: 28},
	},
	town.DialectGemini: {
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}],\"usageMetadata\":{\"promptTokenCount\":40,\"totalTokenCount\":40}}\n\n" +
			"data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":40,\"candidatesTokenCount\":6,\"thoughtsTokenCount\":4,\"cachedContentTokenCount\":10,\"toolUsePromptTokenCount\":3}}\n\n",
		town.UsageData{InputTokens: 33, OutputTokens: 10, CacheReadTokens: 10},
	},
}

var providerOf = map[town.Dialect]string{
	town.DialectAnthropic: "claude", town.DialectOpenAI: "openai", town.DialectResponses: "openai", town.DialectGemini: "gemini",
}

// TestStreamsPassUntouchedAndAreCounted in every dialect, in pieces of any size.
func TestStreamsPassUntouchedAndAreCounted(t *testing.T) {
	for d, st := range streams {
		for _, size := range []int{1, 7, 1 << 20} {
			t.Run(fmt.Sprint(d, " by ", size), func(t *testing.T) {
				stream := st.stream
				if size == 1 {
					stream = strings.ReplaceAll(stream, strings.Repeat("long", 50_000), "long")
				}
				base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
					for rest := stream; rest != ""; {
						n := min(size, len(rest))
						io.WriteString(w, rest[:n])
						http.NewResponseController(w).Flush()
						rest = rest[n:]
					}
				})
				f := open(t, Provider{Name: providerOf[d], BaseURL: base})
				a := f.ask(t, "POST", path(providerOf[d], d), `{"model":"m","stream":true}`)
				if a.body != stream || a.status != 200 || a.err != nil || a.header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
					t.Errorf("%d %v, %d bytes, want %d", a.status, a.err, len(a.body), len(stream))
				}
				call := f.agents.called(t)
				if diff := cmp.Diff(st.want, call.Usage); diff != "" || call.Status != 200 || call.Kind != "" || call.Duration <= 0 {
					t.Errorf("call %+v (-want +got):\n%s", call, diff)
				}
			})
		}
	}
}

func TestWholeAnswersAreCounted(t *testing.T) {
	for d, body := range map[town.Dialect]string{
		town.DialectAnthropic: `{"type":"message","content":[{"text":"x"}],"usage":{"input_tokens":25,"cache_creation_input_tokens":7,"cache_read_input_tokens":5,"output_tokens":15}}`,
		town.DialectOpenAI:    "\n\n  " + `{"choices":[],"usage":{"prompt_tokens":194,"completion_tokens":2,"cost":0.95,"prompt_tokens_details":{"cached_tokens":94}}}`,
		town.DialectResponses: `{"id":"r","error":null,"usage":{"input_tokens":328,"input_tokens_details":{"cached_tokens":28},"output_tokens":52}}`,
		town.DialectGemini:    `[{"candidates":[]},{"usageMetadata":{"promptTokenCount":40,"candidatesTokenCount":6,"thoughtsTokenCount":4,"cachedContentTokenCount":10,"toolUsePromptTokenCount":3}}]`,
	} {
		base := upstream(t, says(200, nil, body))
		f := open(t, Provider{Name: providerOf[d], BaseURL: base})
		if a := f.ask(t, "POST", path(providerOf[d], d), `{"model":"m"}`); a.body != body || a.header.Get("Content-Length") != fmt.Sprint(len(body)) {
			t.Errorf("%s: %+v", d, a)
		}
		if diff := cmp.Diff(streams[d].want, f.agents.called(t).Usage); diff != "" {
			t.Errorf("%s: usage (-want +got):\n%s", d, diff)
		}
	}
}

func TestCostComesFromPricesWhereTheAnswerHasNone(t *testing.T) {
	base := upstream(t, says(200, nil, `{"usage":{"input_tokens":1000000,"cache_creation_input_tokens":1000000,"cache_read_input_tokens":1000000,"output_tokens":1000000}}`))
	f := openConfig(t, Config{
		Providers: []Provider{{Name: "claude", BaseURL: base, Models: map[string]string{Strong: "big"}}},
		Prices:    map[string]Price{"big": {Input: 3, Output: 15, CacheRead: 0.25}},
	})
	for model, want := range map[string]float64{"strong": 3 + 15 + 0.25 + 3, "big": 21.25, "unpriced": 0} {
		f.ask(t, "POST", messages, `{"model":"`+model+`"}`)
		if got := f.agents.called(t).Usage.CostUSD; got != want {
			t.Errorf("%s costs %v, want %v", model, got, want)
		}
	}
}

// TestAnAnswerThatBreaksOffBreaksOffForTheAgent, and what it told is counted.
func TestAnAnswerThatBreaksOffBreaksOffForTheAgent(t *testing.T) {
	half := streams[town.DialectAnthropic].stream[:300]
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, half)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	f := open(t, Provider{Name: "claude", BaseURL: base})
	if a := f.ask(t, "POST", messages, `{"model":"m","stream":true}`); a.body != half || a.err == nil {
		t.Errorf("%q, %v: the agent takes it for the end", a.body, a.err)
	}
	if call := f.agents.called(t); call.Kind != town.KindNetwork || call.Usage.InputTokens != 25 {
		t.Errorf("call %+v", call)
	}
}

// TestTheHeaderOfAStreamDoesNotWaitForItsFirstEvent: a model thinks, its client
// gives up sooner.
func TestTheHeaderOfAStreamDoesNotWaitForItsFirstEvent(t *testing.T) {
	think := make(chan struct{})
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).Flush()
		<-think
		io.WriteString(w, "data: {}\n\n")
	})
	f := open(t, Provider{Name: "claude", BaseURL: base})
	req, err := http.NewRequestWithContext(t.Context(), "POST", f.url+messages, strings.NewReader(`{"model":"m","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", ofAgent)
	resp, err := http.DefaultClient.Do(req) // hangs if it does
	close(think)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); string(b) != "data: {}\n\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestAProviderThatSaysNothingIsGivenUp(t *testing.T) {
	for _, begins := range []bool{false, true} {
		gone := make(chan struct{})
		base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			io.Copy(io.Discard, r.Body)
			if begins {
				io.WriteString(w, "data")
				http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		f := open(t, Provider{Name: "claude", BaseURL: base})
		f.stall = 50 * time.Millisecond
		a := f.ask(t, "POST", messages, `{"model":"m"}`)
		if begins && a.err == nil || !begins && a.status != 502 {
			t.Errorf("begins %v: %+v", begins, a)
		}
		if call := f.agents.called(t); call.Kind != town.KindNetwork || !strings.Contains(call.Message, "said nothing") {
			t.Errorf("call %+v", call)
		}
		<-gone
	}
}

// TestTheProviderIsLetGoWhenTheAgentLeaves, and what was told until then is counted.
func TestTheProviderIsLetGoWhenTheAgentLeaves(t *testing.T) {
	model, base := llmtest.Serve(t, llmtest.Steps(llmtest.Step{Text: "wait", Hang: true}))
	_ = model
	f := open(t, Provider{Name: "claude", BaseURL: base})
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", f.url+messages, strings.NewReader(`{"model":"m","stream":true,"tools":[{"name":"t"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", ofAgent)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line == "" {
		t.Fatal(line, err)
	}
	leave()
	if call := f.agents.called(t); call.Kind != "" || call.Status != 200 || call.Usage.InputTokens != 100 {
		t.Errorf("call %+v", call)
	}
	if r := f.Stats().Requests; len(r) != 1 || r[0].Status != "canceled" {
		t.Errorf("counted %+v", r)
	}
}

// TestCloseEndsCallsUnderWay, also that of a client that does not read.
func TestCloseEndsCallsUnderWay(t *testing.T) {
	filled := make(chan struct{})
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		piece := bytes.Repeat([]byte("x"), 1<<16)
		for i := 0; ; i++ {
			if _, err := w.Write(piece); err != nil {
				return
			}
			if i == 10 {
				close(filled)
			}
		}
	})
	f := open(t, Provider{Name: "claude", BaseURL: base})
	req, err := http.NewRequestWithContext(t.Context(), "POST", f.url+messages, strings.NewReader(`{"model":"m"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", ofAgent)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-filled
	f.Close()
	if call := f.agents.called(t); call.Message != "the town is ending" {
		t.Errorf("call %+v", call)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the agent takes it for the end")
	}
	if a := f.ask(t, "POST", messages, `{"model":"m"}`); a.status != 503 {
		t.Errorf("after Close: %+v", a)
	}
}

// TestNobodySeesTheKeyOfAProviderThatEchoesIt, in headers, errors or streams.
func TestNobodySeesTheKeyOfAProviderThatEchoesIt(t *testing.T) {
	for _, status := range []int{200, 400, 401, 402, 403, 404, 429, 500, 302} {
		for _, pieces := range []int{1, 3, 100_000} {
			base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
				dump, err := httputil.DumpRequest(r, true)
				if err != nil {
					t.Error(err)
				}
				body := fmt.Sprintf(`{"error":{"message":%q,"code":%q}}`, dump, r.Header.Get("X-Api-Key"))
				w.Header().Set("X-Echo", r.Header.Get("X-Api-Key"))
				w.Header().Set("Location", "/?key="+r.Header.Get("X-Api-Key"))
				w.Header().Set("Set-Cookie", "k="+r.Header.Get("X-Api-Key"))
				w.WriteHeader(status)
				for len(body) > 0 {
					n := min(pieces, len(body))
					io.WriteString(w, body[:n])
					http.NewResponseController(w).Flush()
					body = body[n:]
				}
			})
			f := open(t, Provider{Name: "claude", BaseURL: base})
			a := f.ask(t, "POST", messages, `{"model":"m"}`) // fails on the canary
			call := f.agents.called(t)
			if all := fmt.Sprintf("%+v %+v", call, f.Stats()); strings.Contains(all, canary) {
				t.Errorf("%d: the town sees the key: %s", status, all)
			}
			if a.header.Get("Set-Cookie") != "" || a.header.Get("Location") != "" {
				t.Errorf("%d: header %v", status, a.header)
			}
			if want := strings.Repeat("*", len(canary)); status == 200 && !strings.Contains(a.body, want) {
				t.Errorf("%d by %d: body %s", status, pieces, a.body)
			}
		}
	}
	for _, v := range []any{Secret(canary), &Provider{Key: canary}, Config{Providers: []Provider{{Key: canary, Token: canary}}}} {
		if s := fmt.Sprintf("%v %+v %#v", v, v, v); strings.Contains(s, canary) {
			t.Errorf("printed: %s", s)
		}
		if b, _ := json.Marshal(v); bytes.Contains(b, []byte(canary)) {
			t.Errorf("marshalled: %s", b)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	asked := atomic.Bool{}
	elsewhere := upstream(t, func(http.ResponseWriter, *http.Request) { asked.Store(true) })
	base := upstream(t, says(307, map[string]string{"Location": elsewhere + "/v1/messages"}, ""))
	f := open(t, Provider{Name: "claude", BaseURL: base})
	if a := f.ask(t, "POST", messages, `{"model":"m"}`); a.status != 502 || asked.Load() {
		t.Errorf("answer %+v, asked elsewhere: %v", a, asked.Load())
	}
}

func TestACompressedAnswerIsReadAllTheSame(t *testing.T) {
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if enc := r.Header.Get("Accept-Encoding"); enc != "" {
			t.Errorf("asked for %s", enc)
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, `{"usage":{"input_tokens":4}}`)
		z.Close()
	})
	f := open(t, Provider{Name: "claude", BaseURL: base})
	a := f.ask(t, "POST", messages, `{"model":"m"}`, "Accept-Encoding", "gzip")
	if call := f.agents.called(t); a.body != `{"usage":{"input_tokens":4}}` || call.Usage.InputTokens != 4 {
		t.Errorf("answer %+v, call %+v", a, call)
	}
}

// TestAHundredStreamsAtOnce are each their own.
func TestAHundredStreamsAtOnce(t *testing.T) {
	base := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Model string }
		json.NewDecoder(r.Body).Decode(&in)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 20 {
			fmt.Fprintf(w, "data: {\"model\":%q,\"usage\":{\"output_tokens\":%d}}\n\n", in.Model, i+1)
			http.NewResponseController(w).Flush()
		}
	})
	f := open(t, Provider{Name: "claude", BaseURL: base})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			model := fmt.Sprint("m", i)
			a := f.ask(t, "POST", messages, `{"stream":true,"model":"`+model+`"}`)
			if n := strings.Count(a.body, `"model":"`+model+`"`); n != 20 {
				t.Errorf("%s: %d events", model, n)
			}
		})
	}
	wg.Wait()
	var total int64
	for range 100 {
		total += f.agents.called(t).Usage.OutputTokens
	}
	if total != 2000 {
		t.Errorf("counted %d, want 2000", total)
	}
	st := f.Stats()
	if len(st.Requests) != 100 && len(st.Requests) != 101 {
		t.Errorf("%d models in the counters", len(st.Requests))
	}
	f.ask(t, "POST", messages, `{"model":"one too many"}`)
	f.agents.called(t)
	st = f.Stats()
	if last := st.Requests[len(st.Requests)-1]; last.Model != otherModel {
		t.Errorf("the last model is %q: names have no bound", last.Model)
	}
}

func TestBothWireProtocolsOfTheScriptedServer(t *testing.T) {
	model, base := llmtest.Serve(t, llmtest.Steps(
		llmtest.Step{Text: "hi", Usage: llmtest.Usage{Input: 10, Output: 2, CacheRead: 3, CacheWrite: 4}},
		llmtest.Step{Text: "hi", Usage: llmtest.Usage{Input: 10, Output: 2, CacheRead: 3}},
	))
	f := open(t, Provider{Name: "compatible", BaseURL: base, Models: map[string]string{Default: "house-model"}})
	for _, d := range []town.Dialect{town.DialectAnthropic, town.DialectOpenAI} {
		at, ok := f.Endpoint([]town.Dialect{town.DialectGemini, d}, "")
		if !ok || at.Model != "house-model" || at.Dialect != d {
			t.Fatalf("Endpoint(%s) = %+v, %v", d, at, ok)
		}
		u, err := url.Parse(at.BaseURL)
		if err != nil {
			t.Fatal(err)
		}
		f.ask(t, "POST", u.Path+callPaths[d], `{"model":"`+at.Model+`","stream":true,"tools":[{"name":"t","function":{"name":"t"}}],"messages":[]}`)
		if call := f.agents.called(t); call.Usage.InputTokens != 10 || call.Usage.CacheReadTokens != 3 || call.Usage.OutputTokens != 2 {
			t.Errorf("%s: call %+v", d, call)
		}
	}
	if body := string(model.Requests()[1].Body); !strings.Contains(body, `"include_usage":true`) {
		t.Errorf("usage was not asked for: %s", body)
	}
}
