package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"townd/llm"
	"townd/town"
)

// measureModels compares calls of a model through the gateway with calls past
// it, in turns: the time to the first byte of a stream, and what passes when many
// streams run at once. Gateway, model and agents share this process.
func measureModels(ctx context.Context, s *server) (err error) {
	model := httptest.NewServer(http.HandlerFunc(streamModel))
	defer model.Close()
	mux := http.NewServeMux()
	face := httptest.NewServer(mux)
	defer face.Close()
	g, err := llm.New(llm.Config{
		Providers: []llm.Provider{{Name: "compatible", BaseURL: model.URL, Key: "sk-not-a-real-key"}}, URL: face.URL, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	mux.Handle("/llm/", g.Handler(everybody{}))
	at, ok := g.Endpoint([]town.Dialect{town.DialectAnthropic}, "m")
	if !ok {
		return errors.New("the gateway has no endpoint")
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}
	defer client.CloseIdleConnections()
	call := func(ctx context.Context, base string, body []byte) (first time.Duration, bytes int64, err error) {
		return callModel(ctx, client, base+"/v1/messages", body)
	}
	if err := measureFirstByte(ctx, s.b, call, at.BaseURL, model.URL); err != nil {
		return err
	}
	return measureStreams(ctx, s.b, call, at.BaseURL, model.URL)
}

// everybody may call, without limit.
type everybody struct{}

func (everybody) AdmitModelCall(string) (town.Agent, error) { return town.Agent{AgentID: "bench"}, nil }
func (everybody) ModelCalled(string, town.ModelCall)        {}

type modelCall func(ctx context.Context, base string, body []byte) (first time.Duration, bytes int64, err error)

// callModel asks for a stream, and returns how long its first byte took.
func callModel(ctx context.Context, client *http.Client, url string, body []byte) (first time.Duration, n int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("X-Api-Key", "capability")
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
		return 0, 0, err
	}
	first = time.Since(began)
	n, err = io.Copy(io.Discard, resp.Body)
	return first, n + 1, err
}

// events is how many a stream of the model has at least.
const events = 100

// streamModel reads a request and streams an answer: as many events as the
// request's max_tokens says.
func streamModel(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		MaxTokens int `json:"max_tokens"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for range max(asked.MaxTokens, events) {
		fmt.Fprintf(w, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"%s\"}}\n\n", "some words of an answer")
		if http.NewResponseController(w).Flush() != nil {
			return
		}
	}
}

func conversation(size, tokens int) ([]byte, error) {
	return json.Marshal(map[string]any{
		"model": "m", "stream": true, "max_tokens": tokens,
		"messages": []any{map[string]any{"role": "user", "content": strings.Repeat("a line of \"code\"\n", size/16)}},
	})
}

func measureFirstByte(ctx context.Context, b *bench, call modelCall, gateway, direct string) error {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"10 KB", 10_000}, {"1 MB", 1_000_000}} {
		body, err := conversation(size.bytes, events)
		if err != nil {
			return err
		}
		var through, past []float64
		for i := range pick(b, 1000, 200) {
			for turn := range 2 {
				base, out := gateway, &through
				if turn == i%2 {
					base, out = direct, &past
				}
				first, _, err := call(ctx, base, body)
				if err != nil {
					return err
				}
				*out = append(*out, millis(first))
			}
		}
		b.report(figure{
			name: "first byte of a model, " + size.name + " asked, p50", got: median(through), unit: "ms", bound: median(past) + 2,
			reference: "past the gateway", ref: median(past),
		})
		b.report(figure{
			name: "the same, p99", got: quantile(through, 0.99), unit: "ms", bound: unbounded,
			reference: "past the gateway", ref: quantile(past, 0.99),
		})
	}
	return nil
}

// measureStreams runs a hundred streams at once, through the gateway and past it.
func measureStreams(ctx context.Context, b *bench, call modelCall, gateway, direct string) error {
	body, err := conversation(10_000, pick(b, 2000, 300))
	if err != nil {
		return err
	}
	run := func(base string) (perSecond float64, err error) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var total int64
		began := time.Now()
		for range 100 {
			wg.Go(func() {
				_, n, failed := call(ctx, base, body)
				mu.Lock()
				total, err = total+n, errors.Join(err, failed)
				mu.Unlock()
			})
		}
		wg.Wait()
		return float64(total) / 1e6 / time.Since(began).Seconds(), err
	}
	var through, past []float64
	for range pick(b, 5, 1) {
		for _, way := range []struct {
			base string
			out  *[]float64
		}{{gateway, &through}, {direct, &past}} {
			mb, err := run(way.base)
			if err != nil {
				return err
			}
			*way.out = append(*way.out, mb)
		}
	}
	b.report(figure{
		name: "100 streams at once, events flushed one by one", got: median(through), unit: "MB/s", bound: -unbounded, atLeast: true,
		reference: "past the gateway", ref: median(past),
	})
	return nil
}
