package llm

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"townd/town"
)

// Secret is a credential. It does not print.
type Secret string

func (Secret) String() string   { return "[redacted]" }
func (Secret) GoString() string { return "[redacted]" }

// LogValue is part of slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is part of encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// The names that models have in every provider: agents may ask for them instead
// of a model's own.
const (
	Default  = "default"
	Fast     = "fast"
	Standard = "standard"
	Strong   = "strong"
)

// Tiers is every such name.
func Tiers() []string { return []string{Default, Fast, Standard, Strong} }

// Provider is a model provider and our credential there.
type Provider struct {
	Name     string            // one of Known()
	Key      Secret            // required, but of "compatible" and of an "ai-gateway" that has a Token
	Token    Secret            // of "ai-gateway" only: opens the gateway itself
	BaseURL  string            // the known one when empty; required of "compatible" and "ai-gateway"
	Models   map[string]string // by tier; what is missing is Default's, and that the known one
	Dialects []town.Dialect    // what it speaks, when not all of the known ones
}

// kind is what we know of a provider by its name.
type kind struct {
	base     string         // without the ending
	ending   *regexp.Regexp // what people write at the end of base, or leave out
	dialects []dialectAt
	keyless  bool // it may need no key
}

var (
	versions = regexp.MustCompile(`/v\d+[a-z]*$`)
	rooms    = regexp.MustCompile(`/(anthropic|openai|compat|google-ai-studio)$`)
)

// dialectAt says where a provider speaks a dialect: what its base URL is
// followed by, the headers that carry the key, and the documented default model.
type dialectAt struct {
	town.Dialect
	below   string
	headers []string
	model   string
}

// The headers that carry a key.
const (
	bearer      = "Authorization"
	anthropicIn = "X-Api-Key"
	geminiIn    = "X-Goog-Api-Key"
	gatewayIn   = "Cf-Aig-Authorization" // of Cloudflare's gateway itself
)

// kinds is every provider that we know. Base URLs differ by dialect, since
// clients of Anthropic's add /v1 and others do not.
var kinds = map[string]*kind{
	"openrouter": {base: "https://openrouter.ai/api", ending: versions, dialects: []dialectAt{
		{town.DialectAnthropic, "", []string{bearer}, "anthropic/claude-sonnet-4"},
		{town.DialectOpenAI, "/v1", []string{bearer}, "anthropic/claude-sonnet-4"},
		{town.DialectResponses, "/v1", []string{bearer}, "anthropic/claude-sonnet-4"},
	}},
	"ai-gateway": {ending: rooms, dialects: []dialectAt{
		{town.DialectAnthropic, "/anthropic", []string{anthropicIn}, "claude-sonnet-4"},
		{town.DialectOpenAI, "/compat", []string{bearer}, "anthropic/claude-sonnet-4"},
		{town.DialectResponses, "/openai", []string{bearer}, ""},
		{town.DialectGemini, "/google-ai-studio", []string{geminiIn}, ""},
	}},
	"claude": {base: "https://api.anthropic.com", ending: versions, dialects: []dialectAt{
		{town.DialectAnthropic, "", []string{anthropicIn}, "claude-sonnet-4-20250514"},
	}},
	"openai": {base: "https://api.openai.com", ending: versions, dialects: []dialectAt{
		{town.DialectOpenAI, "/v1", []string{bearer}, ""},
		{town.DialectResponses, "/v1", []string{bearer}, ""},
	}},
	"gemini": {base: "https://generativelanguage.googleapis.com", ending: versions, dialects: []dialectAt{
		{town.DialectGemini, "", []string{geminiIn}, ""},
	}},
	"compatible": {ending: versions, keyless: true, dialects: []dialectAt{
		{town.DialectAnthropic, "", []string{anthropicIn, bearer}, ""},
		{town.DialectOpenAI, "/v1", []string{bearer}, ""},
		{town.DialectResponses, "/v1", []string{bearer}, ""},
	}},
}

// Known returns the names of the providers that there are.
func Known() []string {
	return []string{"openrouter", "ai-gateway", "claude", "openai", "gemini", "compatible"}
}

// provider is one that is set up.
type provider struct {
	name     string
	dialects map[town.Dialect]*dialectOf
	secrets  []Secret
}

// dialectOf is how a provider is reached in one dialect.
type dialectOf struct {
	base   *url.URL
	auth   http.Header       // what carries our credential
	models map[string]string // by tier
}

// set makes a provider of its settings, or says all that is wrong with them.
func (p *Provider) set(httpHosts []string) (*provider, error) {
	k, ok := kinds[p.Name]
	if !ok {
		return nil, fmt.Errorf("there is no provider %q: it must be one of %s: %w", p.Name, strings.Join(Known(), ", "), town.ErrInvalid)
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("provider %s: "+format+": %w", append(append([]any{p.Name}, args...), town.ErrInvalid)...))
	}
	if p.Key == "" && p.Token == "" && !k.keyless {
		bad("has no key")
	}
	if strings.ContainsFunc(string(p.Key+p.Token), func(r rune) bool { return r <= ' ' || r > '~' }) {
		bad("its key must be of printable characters without spaces: it travels in an HTTP header")
	}
	base, version, err := k.baseURL(p.BaseURL, httpHosts)
	if err != nil {
		bad("%v", err)
	}
	for _, d := range p.Dialects {
		if !slices.ContainsFunc(k.dialects, func(at dialectAt) bool { return at.Dialect == d }) {
			bad("speaks no dialect %q", string(d))
		}
	}
	for tier := range p.Models {
		if !slices.Contains(Tiers(), tier) {
			bad("there is no tier %q", tier)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	set := &provider{name: p.Name, dialects: make(map[town.Dialect]*dialectOf)}
	for _, s := range []Secret{p.Key, p.Token} {
		if s != "" {
			set.secrets = append(set.secrets, s)
		}
	}
	for _, at := range k.dialects {
		if len(p.Dialects) == 0 || slices.Contains(p.Dialects, at.Dialect) {
			if at.below == "/v1" && version != "" {
				at.below = version // some are at /v4
			}
			set.dialects[at.Dialect] = &dialectOf{base: base.JoinPath(at.below), auth: p.auth(at), models: p.models(at)}
		}
	}
	return set, nil
}

func (p *Provider) auth(at dialectAt) http.Header {
	h := make(http.Header)
	for _, name := range at.headers {
		if p.Key == "" {
			continue
		}
		if h[name] = []string{string(p.Key)}; name == bearer {
			h[name] = []string{"Bearer " + string(p.Key)}
		}
	}
	if p.Token != "" {
		h.Set(gatewayIn, "Bearer "+string(p.Token))
	}
	return h
}

func (p *Provider) models(at dialectAt) map[string]string {
	models := make(map[string]string)
	for _, tier := range Tiers() { // Default is the first
		model := p.Models[tier]
		if model == "" {
			model = models[Default]
		}
		if model == "" {
			model = at.model
		}
		models[tier] = model
	}
	return models
}

// baseURL returns the base of every dialect: what people gave, without the ending
// that their other tools need there, else the known one. A key goes over TLS, to
// this machine, or where it was said that it may go otherwise.
func (k *kind) baseURL(given string, httpHosts []string) (base *url.URL, ending string, err error) {
	if given == "" {
		given = k.base
	}
	if given == "" {
		return nil, "", errors.New("has no base URL")
	}
	u, err := url.Parse(given)
	if err != nil {
		return nil, "", errors.New("its base URL cannot be parsed") // the error would show it, password and all
	}
	switch {
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, "", errors.New("its base URL must begin with https://")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, "", errors.New("its base URL must have no user, query or fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()) && !slices.Contains(httpHosts, u.Hostname()):
		return nil, "", fmt.Errorf("its base URL would send the key to %s without TLS: use https, or name the host as one that may be reached by http", u.Hostname())
	}
	path := strings.TrimRight(u.Path, "/")
	ending = k.ending.FindString(path)
	u.Path, u.RawPath = strings.TrimSuffix(path, ending), ""
	return u, ending, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// model returns what a model is called here: a tier's own, else name itself.
func (d *dialectOf) model(name string) string {
	if own, ok := d.models[name]; ok {
		return own
	}
	return name
}

// standIn returns the model that does here what name does at another provider,
// whose models are those of other: that of the same tier, else our default.
func (d *dialectOf) standIn(name string, other *dialectOf) string {
	for _, tier := range Tiers() {
		if name == tier || name == other.models[tier] {
			return d.models[tier]
		}
	}
	return d.models[Default]
}
