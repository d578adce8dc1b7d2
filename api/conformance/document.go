package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"townd/api"
)

// Document is api/openapi.yaml.
var Document = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		return nil, err
	}
	openapi3filter.RegisterBodyDecoder("text/x-diff", openapi3filter.FileBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/x-asciicast", openapi3filter.FileBodyDecoder)
	openapi3filter.RegisterBodyDecoder("multipart/byteranges", openapi3filter.FileBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/openmetrics-text", openapi3filter.FileBodyDecoder)
	return doc, nil
})

var documentRouter = sync.OnceValues(func() (routers.Router, error) {
	doc, err := Document()
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
})

// Checked returns a RoundTripper that holds every call against api/openapi.yaml: what
// a server takes must be a request of the document, and what it answers, a refusal
// included, an answer of it. What is not is told to report.
func Checked(next http.RoundTripper, report func(error)) http.RoundTripper {
	return &contract{next: next, report: report}
}

type contract struct {
	next   http.RoundTripper
	report func(error)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the connections.
func (c *contract) CloseIdleConnections() {
	if next, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

func (c *contract) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := c.check(req, body, resp); err != nil {
		c.report(fmt.Errorf("contract: %s %s, answered %s: %w", req.Method, req.URL, resp.Status, err))
	}
	return resp, nil
}

func (c *contract) check(req *http.Request, body []byte, resp *http.Response) error {
	router, err := documentRouter()
	if err != nil {
		return err
	}
	asked := req.Clone(req.Context())
	if asked.Method == http.MethodHead {
		asked.Method = http.MethodGet
	}
	asked.URL.Scheme, asked.URL.Host, asked.Host = "", "", ""
	asked.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) > 0 && asked.Header.Get("Content-Type") == "" {
		asked.Header.Set("Content-Type", "application/json")
	}
	route, pathParams, err := router.FindRoute(asked)
	if errors.Is(err, routers.ErrPathNotFound) || errors.Is(err, routers.ErrMethodNotAllowed) || resp.StatusCode == http.StatusBadRequest && err != nil {
		if resp.StatusCode < 400 {
			return fmt.Errorf("not in the document: %w", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	in := &openapi3filter.RequestValidationInput{
		Request: asked, PathParams: pathParams, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true,
			RejectWhenRequestBodyNotSpecified: len(body) > 0,
		},
	}
	if resp.StatusCode < 300 && !lenient(req, body) {
		if err := openapi3filter.ValidateRequest(req.Context(), in); err != nil {
			return fmt.Errorf("taken, but the document does not allow it: %w", err)
		}
	}
	return checkAnswer(in, asked, resp)
}

// lenient reports whether the town takes more than the document allows: a stop
// whose body is no JSON, null for absent.
func lenient(req *http.Request, body []byte) bool {
	return strings.HasSuffix(req.URL.Path, "/stop") && !json.Valid(body) || bytes.Contains(body, []byte("null"))
}

func checkAnswer(in *openapi3filter.RequestValidationInput, asked *http.Request, resp *http.Response) error {
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: in.Options}
	if resp.StatusCode == http.StatusSwitchingProtocols || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") ||
		strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; version") {
		out.Options = &openapi3filter.Options{ExcludeResponseBody: true, IncludeResponseStatus: true}
		out.Body = http.NoBody
	} else {
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(data))
		if err != nil {
			return err
		}
		out.Body = io.NopCloser(bytes.NewReader(data))
	}
	return openapi3filter.ValidateResponse(asked.Context(), out)
}
