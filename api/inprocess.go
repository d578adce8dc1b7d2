package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// HandlerTransport returns a RoundTripper that calls h in this process, without
// a listener. An answer may be read while it is written, as over a connection;
// closing its body ends the handler's context. A handler that panics is an error
// of the call.
func HandlerTransport(h http.Handler) http.RoundTripper { return handlerTransport{h} }

type handlerTransport struct{ handler http.Handler }

func (t handlerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	r := req.Clone(ctx)
	r.RequestURI = req.URL.RequestURI()
	r.Host = req.URL.Host
	r.URL.Scheme, r.URL.Host = "", ""
	r.RemoteAddr = "in-process"
	if r.Body == nil {
		r.Body = http.NoBody
	}
	in, out := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: out, began: make(chan struct{})}
	failed := make(chan error, 1) // the one panic of a handler that answered nothing
	go func() {                   // ends with the handler, which the context asks to
		defer cancel()
		defer r.Body.Close()
		err := serveRecovered(t.handler, w, r)
		if err != nil {
			failed <- err
		} else {
			w.WriteHeader(http.StatusOK)
		}
		_ = out.CloseWithError(err) // never fails
	}()
	select {
	case <-w.began:
		return w.response(req, &inProcessBody{in, cancel}), nil
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		cancel()
		return nil, context.Cause(req.Context())
	}
}

func serveRecovered(h http.Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("handler of %s %s panicked: %v", r.Method, r.URL.Path, v)
		}
	}()
	h.ServeHTTP(w, r)
	return nil
}

// pipeWriter hands an answer over as it is written.
type pipeWriter struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	began  chan struct{} // closed with the status and the header as they were then
	status int
	sent   http.Header
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.began)
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Flush does what a Write does not already do: it sends the header.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }

func (w *pipeWriter) response(req *http.Request, body io.ReadCloser) *http.Response {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.sent, Body: body, ContentLength: -1, Request: req,
	}
}

type inProcessBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close ends the handler's context: nobody reads on.
func (b *inProcessBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}
