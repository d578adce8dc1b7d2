package gitmgr

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"townd/town"
)

// Caller is an agent at the git proxy.
type Caller struct {
	RigID  string // the only rig it reaches
	Branch string // the only branch it may push
}

// Proxy lets agents reach the remotes of their rigs with no credential of their own,
// by git's smart HTTP protocol below /git/<rig id>. Who calls is told by the
// capability that it shows, as a bearer token or as the password. It may fetch
// everything, and push its own branch, new commits or a rewritten history, not
// delete it; what else it pushes is refused in git's own words. Bodies are streamed.
type Proxy struct {
	m         *Manager
	authorize func(ctx context.Context, capability string) (Caller, error)
	tickets   lfsTickets
	moved     sync.Map // rig id -> base URL that its remote redirected to, on the same host
}

const (
	proxyIdle = 2 * time.Minute // that a remote may be silent in the middle of an answer
	proxyWait = 6 * time.Minute // that it may take until its answer begins, while a push is still on its way
)

// maxRefusedBytes is how much of a refused push is read, so that git gets to read why.
const maxRefusedBytes = 256 << 20

// NewProxy returns the proxy of m's rigs. authorize says whose a capability is; its
// error is an ErrUnauthorized for one of nobody. The caller closes m, which ends
// what the proxy is at.
func NewProxy(m *Manager, authorize func(ctx context.Context, capability string) (Caller, error)) *Proxy {
	return &Proxy{m: m, authorize: authorize}
}

// exchange is one request of an agent's git.
type exchange struct {
	*Proxy
	caller  Caller
	rig     *rig
	remote  string // URL
	service string // git-upload-pack or git-receive-pack
	advert  bool   // asks for the refs
	lfs     string // what is asked of Git LFS, "" for nothing
	w       http.ResponseWriter
	req     *http.Request
}

// ServeHTTP is http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, done, err := p.m.begin(req.Context())
	if err == nil {
		defer done()
		x := &exchange{Proxy: p, w: w, req: req.WithContext(ctx)}
		if err = x.open(); err == nil {
			err = x.serve()
		}
	}
	if err == nil {
		return
	}
	status := town.HTTPStatus(err)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="town"`)
	}
	p.m.c.Log.Warn("git proxy", "path", req.URL.Path, "err", err)
	text := err.Error()
	if status == http.StatusInternalServerError {
		text = "internal error"
	}
	http.Error(w, text, status) // git shows plain text to its user
}

// open finds out who calls and what is asked.
func (x *exchange) open() error {
	capability := capabilityOf(x.req)
	if capability == "" {
		return fmt.Errorf("no capability: %w", town.ErrUnauthorized)
	}
	var err error
	if x.caller, err = x.authorize(x.req.Context(), capability); err != nil {
		return fmt.Errorf("capability: %w", err)
	}
	rest, _ := strings.CutPrefix(x.req.URL.Path, "/git/")
	id, op, _ := strings.Cut(rest, "/")
	if id != x.caller.RigID && id != x.caller.RigID+".git" {
		return fmt.Errorf("this repository is not of your rig: %w", town.ErrNotFound)
	}
	switch method := x.req.Method; {
	case strings.HasPrefix(op, "info/lfs/"):
		x.lfs = strings.TrimPrefix(op, "info/lfs/")
	case method == http.MethodGet && op == "info/refs":
		x.service, x.advert = x.req.URL.Query().Get("service"), true
	case method == http.MethodPost:
		x.service = op
	}
	if x.lfs == "" && x.service != "git-upload-pack" && x.service != "git-receive-pack" {
		return fmt.Errorf("no such request of git's smart protocol: %w", town.ErrNotFound)
	}
	if x.rig, err = x.m.existing(x.caller.RigID); err != nil {
		return err
	}
	if x.remote, err = x.rig.remoteURL(); err != nil {
		return err
	}
	return x.m.CheckURL(x.remote)
}

func capabilityOf(req *http.Request) string {
	if c, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); ok {
		return c
	}
	_, password, _ := req.BasicAuth()
	return password
}

func (x *exchange) serve() error {
	if x.lfs != "" {
		return x.serveLFS()
	}
	if x.advert {
		if x.service == "git-upload-pack" {
			x.freshen()
		}
		return x.forward(nil, 0)
	}
	if kind := x.req.Header.Get("Content-Type"); kind != "application/x-"+x.service+"-request" {
		return fmt.Errorf("content type %q is not git's: %w", kind, town.ErrInvalid)
	}
	if x.service == "git-upload-pack" {
		return x.fetch()
	}
	return x.push()
}

// freshen fetches into the rig before an agent does. They share one repository, in
// which refs of the remote are ours to write: what the agent asks for is then there.
func (x *exchange) freshen() {
	ctx, cancel := context.WithTimeout(x.req.Context(), fetchPatience)
	defer cancel()
	asked := time.Now()
	l, release, err := x.rig.acquire(ctx)
	if err == nil {
		err = x.rig.fetchSince(ctx, l, asked)
		release()
	}
	if err != nil {
		x.rig.log.Warn("fetch before an agent's failed", "err", err)
	}
}

// push lets updates of the caller's own branch through.
func (x *exchange) push() error {
	body, length := io.Reader(x.req.Body), x.req.ContentLength
	if x.req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return fmt.Errorf("push: %v: %w", err, town.ErrInvalid)
		}
		body, length = z, -1
		x.req.Header.Del("Content-Encoding")
	}
	head, err := readPushHead(body)
	if err != nil {
		return fmt.Errorf("%w: %w", err, town.ErrInvalid)
	}
	refused := len(head.updates) == 0
	for _, u := range head.updates {
		if why := x.whyRefused(u); why != "" {
			refused = true
			x.rig.log.Warn("push refused", "branch", x.caller.Branch, "ref", u.ref, "why", why)
		}
	}
	why := x.whyRefused
	if !refused {
		err := x.forward(io.MultiReader(bytes.NewReader(head.raw), body), length)
		if err == nil && x.m.c.GIDBase != 0 {
			x.freshen() // the agent's git leaves it to us, and goes on when we return
		}
		if !errors.Is(err, town.ErrGit) {
			return err
		}
		x.rig.log.Warn("push failed", "branch", x.caller.Branch, "err", err)
		why = func(refUpdate) string { return oneLine(err) }
	}
	_, _ = io.CopyN(io.Discard, body, maxRefusedBytes) // git reads the answer when it has written all
	x.answers("result")
	if len(head.updates) > 0 {
		_, err = x.w.Write(head.refusal(why))
	}
	return gone(err)
}

// fetch passes on what the remote sends, or in git's own words why it does not.
func (x *exchange) fetch() error {
	err := x.forward(x.req.Body, x.req.ContentLength)
	if !errors.Is(err, town.ErrGit) {
		return err
	}
	x.rig.log.Warn("fetch failed", "branch", x.caller.Branch, "err", err)
	x.answers("result")
	_, err = x.w.Write(appendPkt(nil, "ERR "+oneLine(err)))
	return gone(err)
}

// answers says of what kind the answer is: advertisement or result.
func (x *exchange) answers(kind string) {
	x.w.Header().Set("Content-Type", "application/x-"+x.service+"-"+kind)
	x.w.Header().Set("Cache-Control", "no-cache")
}

// oneLine is an error's text as a packet may hold it.
func oneLine(err error) string {
	text := strings.NewReplacer("\n", "; ", "\r", "").Replace(err.Error())
	return text[:min(len(text), 1000)]
}

// whyRefused says why an update is not the caller's to make, "" when it is.
func (x *exchange) whyRefused(u refUpdate) string {
	switch {
	case u.ref != headsPrefix+x.caller.Branch || x.caller.Branch == "":
		return "you may push your own branch only, " + x.caller.Branch
	case strings.Trim(u.new, "0") == "":
		return "you may not delete your branch"
	}
	return ""
}

// forward asks the remote and passes its answer on.
func (x *exchange) forward(body io.Reader, length int64) error {
	if body != nil {
		// A remote may answer before it has read all; not every writer can do this.
		_ = http.NewResponseController(x.w).EnableFullDuplex()
	}
	u, err := url.Parse(x.remote)
	if err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		return x.forwardHTTP(u, body, length)
	}
	return x.forwardPipe(body)
}

// gone takes an error of writing to a client for what it is: the client has gone.
func gone(err error) error {
	if err != nil {
		return fmt.Errorf("answer not delivered: %w", town.ErrUnavailable)
	}
	return nil
}

// errUpstream is the answer to an agent whose remote failed the town.
func errUpstream(status int) error {
	kind := town.ErrGit
	switch {
	case status == http.StatusUnauthorized:
		kind = ErrAuth
	case status == http.StatusForbidden:
		kind = ErrDenied
	case status == http.StatusNotFound:
		kind = ErrRepository
	case status >= 500 || status == http.StatusTooManyRequests:
		kind = ErrNetwork
	}
	return fmt.Errorf("the remote answered %d: %w", status, kind)
}

var errIdle = errors.New("the remote fell silent")

// AgentConfig returns the settings of git with which an agent's commands reach its
// rig's remote through the proxy at base (http://127.0.0.1:port) and nothing else
// does. The capability is in the agent's environment alone, with all its powers.
func AgentConfig(base, rigID, remote, capability string) [][2]string {
	base = strings.TrimRight(base, "/")
	to := base + "/git/" + rigID
	return [][2]string{
		{"url." + to + ".insteadOf", strings.TrimSuffix(strings.TrimRight(remote, "/"), ".git")},
		{"http." + base + "/.extraHeader", "Authorization: Bearer " + capability},
		{"http." + base + "/.proxy", ""},
		{"credential.helper", ""},
		{"protocol.version", "2"},
	}
}

// ConfigEnv puts settings of git in its environment, as GIT_CONFIG_COUNT and its
// companions; there can be one set of them.
func ConfigEnv(settings [][2]string) []string { return settingsEnv(settings) }
