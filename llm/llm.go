// Package llm is the gateway between agents and model providers. An agent's CLI
// asks it as it would ask a provider, with the agent's capability in the place of
// a key; the gateway asks whose it is and whether a budget is left, puts the real
// key in its place, and passes the answer through as it comes, counting what it
// cost. When a provider cannot answer it asks the next one.
//
// It knows models, keys and money. It knows no agent's life: whose call it is,
// it asks by an interface of its own, and what a budget is, it never learns.
package llm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"townd/town"
)

// Agents knows the agents that call. It must be safe for concurrent use.
type Agents interface {
	// AdmitModelCall returns whose capability it is. It returns ErrUnauthorized for
	// that of no live agent, and ErrBudget when a budget of the agent is used up; the
	// error's text, which the agent reads, says which.
	AdmitModelCall(capability string) (town.Agent, error)
	// ModelCalled tells what a call used, or why it failed. It is called once for
	// every admitted request of a model, when its answer has ended.
	ModelCalled(agentID string, call town.ModelCall)
}

// Config is what a Gateway works with. Its zero value is a gateway without
// providers, which refuses everything.
type Config struct {
	Providers []Provider       // in the order in which they stand in for each other, the preferred one first
	URL       string           // where agents reach us, as http://127.0.0.1:8080
	Prices    map[string]Price // by model, for answers that do not tell what they cost
	HTTPHosts []string         // that keys may be sent to without TLS; this machine always
	Log       *slog.Logger     // required
}

// Secrets returns every credential in c, for whoever keeps logs clean of them.
func (c *Config) Secrets() []string {
	var all []string
	for _, p := range c.Providers {
		for _, s := range []Secret{p.Key, p.Token} {
			if s != "" {
				all = append(all, string(s))
			}
		}
	}
	return all
}

// Validate returns everything that is wrong with the providers.
func (c *Config) Validate() error {
	_, err := c.providers()
	return err
}

func (c *Config) providers() ([]*provider, error) {
	var all []*provider
	var errs []error
	for _, p := range c.Providers {
		set, err := p.set(c.HTTPHosts)
		switch {
		case err != nil:
			errs = append(errs, err)
		case slices.ContainsFunc(all, func(other *provider) bool { return other.name == p.Name }):
			errs = append(errs, fmt.Errorf("provider %s: is named twice: %w", p.Name, town.ErrInvalid))
		default:
			all = append(all, set)
		}
	}
	return all, errors.Join(errs...)
}

// Gateway passes calls of agents on to providers. Make it with New; it is safe
// for concurrent use.
type Gateway struct {
	log       *slog.Logger
	url       string
	providers []*provider
	prices    map[string]Price
	transport http.RoundTripper
	stall     time.Duration // after which a provider that says nothing is given up
	mask      masker
	quota     *quota
	counters  *counters

	ctx  context.Context // of every call; ends with Close
	stop context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

// stallAfter is as long as the clients of the providers wait themselves.
const stallAfter = 10 * time.Minute

// New returns a gateway, which Close ends. It returns ErrInvalid, with all that
// is wrong, for a Config that Validate refuses.
func New(c Config) (*Gateway, error) {
	providers, err := c.providers()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(context.Background())
	g := &Gateway{
		log: c.Log, url: strings.TrimRight(c.URL, "/"), providers: providers, prices: c.Prices, stall: stallAfter,
		mask: newMasker(c.Secrets()), quota: newQuota(c.Log), counters: newCounters(providers, c.Prices), ctx: ctx, stop: stop,
		transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment, // by CONNECT: the key stays inside TLS
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
			// A connection that died in silence is noticed long before stallAfter.
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
			MaxResponseHeaderBytes: 256 << 10,
			MaxIdleConnsPerHost:    64,
			IdleConnTimeout:        90 * time.Second,
			DisableCompression:     true, // usage is read from what passes by
			ExpectContinueTimeout:  time.Second,
			WriteBufferSize:        64 << 10, // a conversation is long
			ReadBufferSize:         32 << 10,
		},
	}
	return g, nil
}

// errClosed ends the calls under way.
var errClosed = fmt.Errorf("the gateway is closed: %w", town.ErrUnavailable)

// Close ends every call under way, tells what each has used, and waits for that.
// Later calls are refused.
func (g *Gateway) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.stop(errClosed)
	g.calls.Wait()
	if t, ok := g.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
	return nil
}

// begin counts a call, unless the gateway is closed.
func (g *Gateway) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.calls.Add(1)
	}
	return !g.closed
}

// Endpoint returns where a CLI that speaks those dialects, the best first, finds
// its model: at the first provider that speaks one of them. model may be empty or
// Default for the provider's default, or one of Tiers; the answer's Model is
// empty when nobody has said which that is, and the CLI's own default applies. It
// is false when no provider fits.
func (g *Gateway) Endpoint(dialects []town.Dialect, model string) (town.ModelEndpoint, bool) {
	if model == "" {
		model = Default
	}
	for _, p := range g.providers {
		for _, d := range dialects {
			if at, ok := p.dialects[d]; ok {
				return town.ModelEndpoint{Dialect: d, BaseURL: g.url + prefix + p.name + "/" + string(d), Model: at.model(model)}, true
			}
		}
	}
	return town.ModelEndpoint{}, false
}

func (g *Gateway) provider(name string) *provider {
	for _, p := range g.providers {
		if p.name == name {
			return p
		}
	}
	return nil
}
