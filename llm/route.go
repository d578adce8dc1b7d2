package llm

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"townd/town"
)

// prefix is what the paths of all calls begin with; the provider, the dialect and
// the dialect's own path follow.
const prefix = "/llm/"

// operation is something that agents may ask of a provider. There is no other:
// our key also opens doors to billing and administration.
type operation struct {
	method string
	path   string // below the dialect's base URL; holds %s for the model where that is in the path
	model  string // from the path
	free   bool   // costs nothing, and is answered by the provider that is asked or not at all
}

// geminiModel finds model and method in the dialect's path.
var geminiModel = regexp.MustCompile(`^/v1beta/models/([A-Za-z0-9][A-Za-z0-9._-]*):(generateContent|streamGenerateContent|countTokens)$`)

// modelName is a model in the path of a question about it.
var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@-]*(/[A-Za-z0-9][A-Za-z0-9._:@-]*)?$`)

// dialectPaths are the operations of each dialect that have a fixed path.
var dialectPaths = map[town.Dialect][]operation{
	town.DialectAnthropic: {
		{method: http.MethodPost, path: "/v1/messages"},
		{method: http.MethodPost, path: "/v1/messages/count_tokens", free: true},
		{method: http.MethodGet, path: "/v1/models", free: true},
	},
	town.DialectOpenAI: {
		{method: http.MethodPost, path: "/chat/completions"},
		{method: http.MethodGet, path: "/models", free: true},
	},
	town.DialectResponses: {
		{method: http.MethodPost, path: "/responses"},
		{method: http.MethodGet, path: "/models", free: true},
	},
	town.DialectGemini: {
		{method: http.MethodGet, path: "/v1beta/models", free: true},
	},
}

// findOperation returns what a path asks for.
func findOperation(d town.Dialect, path string) (operation, bool) {
	if d == town.DialectGemini && strings.Contains(path, ":") { // a method of a model
		m := geminiModel.FindStringSubmatch(path)
		if m == nil {
			return operation{}, false
		}
		return operation{method: http.MethodPost, path: "/v1beta/models/%s:" + m[2], model: m[1], free: m[2] == "countTokens"}, true
	}
	for _, op := range dialectPaths[d] {
		if path == op.path {
			return op, true
		}
		if name, ok := strings.CutPrefix(path, op.path+"/"); ok && op.method == http.MethodGet && modelName.MatchString(name) {
			op.path = path
			return op, true
		}
	}
	return operation{}, false
}

// splitPath takes a call's path apart. One that was sent with anything escaped in
// it is none of ours, nor is one with a "..": no dialect needs them.
func splitPath(u *url.URL) (provider string, d town.Dialect, rest string) {
	path, ok := strings.CutPrefix(u.Path, prefix)
	if !ok || u.EscapedPath() != u.Path || strings.Contains(path, "..") {
		return "", "", ""
	}
	provider, path, _ = strings.Cut(path, "/")
	dialect, rest, _ := strings.Cut(path, "/")
	return provider, town.Dialect(dialect), "/" + rest
}

// url returns where an operation is asked of a provider.
func (op *operation) url(base *url.URL, model string, query url.Values) *url.URL {
	u := *base
	u.Path = strings.TrimRight(u.Path, "/") + strings.Replace(op.path, "%s", model, 1)
	u.RawQuery = query.Encode()
	return &u
}

// queries are the parameters that are passed on. Google's servers know others
// that change method and account.
var queries = []string{"alt", "beta", "after_id", "before_id", "limit", "pageSize", "pageToken", "client_version"}

func passedQuery(given url.Values) url.Values {
	passed := make(url.Values)
	for name, values := range given {
		if slices.Contains(queries, name) {
			passed[name] = values
		}
	}
	return passed
}

// capability returns what the agent sent in the place of a key.
func capability(r *http.Request) string {
	if token, ok := strings.CutPrefix(r.Header.Get(bearer), "Bearer "); ok {
		return token
	}
	for _, name := range []string{anthropicIn, geminiIn} {
		if key := r.Header.Get(name); key != "" {
			return key
		}
	}
	return r.URL.Query().Get("key")
}

// kept are the headers that are not passed on, in either direction: those of one
// connection (RFC 9110 section 7.6.1), credentials and cookies, what we say
// ourselves, and what speaks of other accounts, methods or senders.
var kept = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Host": true, "Content-Length": true, "Expect": true, "Accept-Encoding": true, "Content-Encoding": true,
	bearer: true, anthropicIn: true, geminiIn: true, "Cookie": true, "Set-Cookie": true, "Www-Authenticate": true,
	"Forwarded": true, "Via": true, "X-Real-Ip": true, "Origin": true, "Referer": true, "Location": true, "Alt-Svc": true,
	"Strict-Transport-Security": true, "X-Http-Method-Override": true, "X-Http-Method": true, "X-Method-Override": true,
	"X-Goog-User-Project": true, "Openai-Organization": true, "Openai-Project": true,
}

var keptPrefixes = []string{"Proxy-", "X-Forwarded-", "Cf-", "Sec-", "Access-Control-"}

// passHeader copies the headers that are passed on, each value as pass returns it.
func passHeader(to, from http.Header, pass func(string) string) {
	named := strings.Split(strings.Join(from["Connection"], ","), ",")
	for i := range named {
		named[i] = http.CanonicalHeaderKey(strings.TrimSpace(named[i]))
	}
	for name, values := range from {
		if kept[name] || slices.Contains(named, name) ||
			slices.ContainsFunc(keptPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		for _, v := range values {
			if v = pass(v); v != "" {
				to.Add(name, v)
			}
		}
	}
}
