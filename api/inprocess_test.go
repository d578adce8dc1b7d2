package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"townd/api"
)

func inProcess(h http.HandlerFunc) *http.Client {
	return &http.Client{Transport: api.HandlerTransport(h)}
}

func TestHandlerInProcessSeesTheRequestAsServed(t *testing.T) {
	hc := inProcess(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", fmt.Sprintf("%s %s %s %s %v", r.Method, r.Host, r.RequestURI, body, err))
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "short and stout")
		w.Header().Set("X-Late", "1")
	})
	for _, c := range []struct{ method, body, want string }{
		{"GET", "", "GET town /a%2Fb?q=1  <nil>"},
		{"POST", "text", "POST town /a%2Fb?q=1 text <nil>"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://town/a%2Fb?q=1", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusTeapot || string(body) != "short and stout" || err != nil || resp.Header.Get("X-Seen") != c.want || resp.Header.Get("X-Late") != "" {
			t.Errorf("%s is answered %s %q %v with %v", c.method, resp.Status, body, err, resp.Header)
		}
	}
}

func TestHandlerInProcessStreamsAndEndsWithItsReader(t *testing.T) {
	ended := make(chan error, 1)
	hc := inProcess(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; r.Context().Err() == nil; i++ {
			fmt.Fprintf(w, "line %d\n", i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("Flush() = %v", err)
			}
		}
		ended <- r.Context().Err()
	})
	resp, err := hc.Get("http://town/")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	for range 3 {
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
	}
	resp.Body.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v", err)
	}
}

func TestHandlerInProcessThatPanicsIsAnError(t *testing.T) {
	resp, err := inProcess(func(http.ResponseWriter, *http.Request) { panic("oh") }).Get("http://town/")
	if err == nil {
		resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "panicked: oh") {
		t.Errorf("the call of a handler that panics returns %v", err)
	}
	resp, err = inProcess(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		panic("oh")
	}).Get("http://town/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("half an answer is read as %q without an error", body)
	}
}

func TestHandlerInProcessThatDoesNotAnswerIsLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	defer close(left)
	hc := inProcess(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-left
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://town/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := hc.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the call returns %v, want canceled", err)
	}
}
