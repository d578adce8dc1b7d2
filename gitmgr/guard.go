package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"townd/town"
)

// hostGuard keeps remotes to public addresses. A name is resolved by us, once per
// command, and the program that calls the remote is told the address: what the name
// leads to later, or on the way of a redirect, does not matter. It is nil when off.
type hostGuard struct {
	allowed []string // hosts that may be anywhere
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	public  func(netip.Addr) bool
}

func newGuard(c Config) *hostGuard {
	if !c.PublicOnly {
		return nil
	}
	g := &hostGuard{allowed: c.AllowHosts, public: isPublic}
	g.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	return g
}

// notPublic are ranges that netip has no word for: of this network, of carriers,
// of protocols, of tests, to come, and forms of IPv6 that hold an IPv4 address.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// resolve returns the addresses of a host that may be called, none for one that is
// not looked at. It returns ErrInvalid when one of them is not public.
func (g *hostGuard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	host = strings.Trim(host, "[]")
	if slices.ContainsFunc(g.allowed, func(h string) bool { return strings.EqualFold(h, host) }) {
		return nil, nil
	}
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = g.lookup(ctx, host); err != nil || len(addrs) == 0 {
		return nil, fmt.Errorf("remote host %q: has no address: %w", host, ErrNetwork)
	}
	for _, a := range addrs {
		if !g.public(a) {
			return nil, fmt.Errorf("remote host %q: its address %s is not public: %w", host, a.Unmap(), town.ErrInvalid)
		}
	}
	return addrs, nil
}

// apply makes c call no address but those of its remote.
func (g *hostGuard) apply(ctx context.Context, c command) (command, error) {
	if g == nil || c.url == "" || !c.remote && !c.network {
		return c, nil
	}
	c.settings = append(c.settings, [2]string{"http.followRedirects", "false"})
	if host, args, _, ok := sshTarget(c.url); ok {
		pin, err := g.sshPin(ctx, host, args)
		c.ssh = pin
		return c, err
	}
	u, err := url.Parse(c.url)
	if err != nil || u.Host == "" {
		return c, nil // a path
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return c, fmt.Errorf("protocol %s: its host cannot be guarded: %w", u.Scheme, town.ErrInvalid)
	}
	addrs, err := g.resolve(ctx, u.Hostname())
	if proxied(u) && errors.Is(err, ErrNetwork) {
		return c, nil // only the proxy knows the name
	}
	if err != nil || len(addrs) == 0 || proxied(u) {
		return c, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
		if a.Is6() {
			texts[i] = "[" + a.WithZone("").String() + "]"
		}
	}
	c.settings = append(c.settings, [2]string{"http.curloptResolve", u.Hostname() + ":" + port + ":" + strings.Join(texts, ",")})
	return c, nil
}

// sshPin returns options with which ssh calls an address of host and still knows the
// host by its name.
func (g *hostGuard) sshPin(ctx context.Context, host string, args []string) ([]string, error) {
	_, name, ok := strings.Cut(host, "@")
	if !ok {
		name = host
	}
	addrs, err := g.resolve(ctx, name)
	if err != nil || len(addrs) == 0 {
		return nil, err
	}
	alias := name
	if len(args) == 2 && args[1] != "22" { // -p
		alias = "[" + name + "]:" + args[1]
	}
	return []string{"-o", "HostName=" + addrs[0].String(), "-o", "HostKeyAlias=" + alias}, nil
}

// proxied reports whether a URL is called through a proxy, whose address is not the
// remote's.
func proxied(u *url.URL) bool {
	p, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	return err == nil && p != nil
}

// transport is that of HTTP calls from here; a nil guard lets them go anywhere. An
// address is looked at when it is connected to.
func (g *hostGuard) transport() *http.Transport {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
		ResponseHeaderTimeout: 5 * time.Minute, DisableCompression: true,
	}
	if g == nil {
		return t
	}
	plain := &net.Dialer{Timeout: 30 * time.Second}
	guarded := &net.Dialer{Timeout: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !g.public(a.Addr()) {
			return fmt.Errorf("address %s is not public: %w", address, town.ErrInvalid)
		}
		return nil
	}}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if isProxy(address) {
			return plain.DialContext(ctx, network, address)
		}
		addrs, err := g.resolve(ctx, host)
		if err != nil {
			return nil, err
		}
		if len(addrs) == 0 {
			return plain.DialContext(ctx, network, address)
		}
		return guarded.DialContext(ctx, network, net.JoinHostPort(addrs[0].String(), port))
	}
	return t
}

// HTTPClient returns the client by which this process itself calls remotes and the
// services beside them: it heeds Config.PublicOnly and follows redirects on one host
// only. It has no deadline of its own.
func (m *Manager) HTTPClient() *http.Client { return m.client }

// isProxy reports whether an address is that of a proxy of the environment.
func isProxy(address string) bool {
	for _, scheme := range []string{"https", "http"} {
		p, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: scheme, Host: "remote.invalid"}})
		if err == nil && p != nil && (p.Host == address || net.JoinHostPort(p.Hostname(), map[string]string{"https": "443", "http": "80"}[p.Scheme]) == address) {
			return true
		}
	}
	return false
}

// sameHost follows a remote that has moved on its host, and to no other: a credential
// is for one host.
func sameHost(req *http.Request, via []*http.Request) error {
	if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme || len(via) > 3 || req.Method != http.MethodGet {
		return http.ErrUseLastResponse
	}
	return nil
}

var redirected = regexp.MustCompile(`returned error: 30[1278]`)

// moved returns where the remote of a guarded command that failed has moved to on its
// host, "" if it did not.
func (m *Manager) moved(ctx context.Context, c command, err error) string {
	e, ok := errors.AsType[*runError](err)
	if m.guard == nil || !ok || !redirected.MatchString(e.stderr) {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	const tail = "/info/refs"
	base := strings.TrimRight(c.url, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+tail+"?service=git-upload-pack", nil)
	if err != nil || m.authorize(ctx, c.rigID, req) != nil {
		return ""
	}
	res, err := m.client.Do(req)
	if err != nil {
		return ""
	}
	_ = res.Body.Close() // only where it is matters
	to := *res.Request.URL
	to.RawQuery = ""
	if moved, ok := strings.CutSuffix(to.String(), tail); ok && moved != base && res.StatusCode == http.StatusOK {
		return moved
	}
	return ""
}

// authorize adds the credential of a rig's remote to a request to it.
func (m *Manager) authorize(ctx context.Context, rigID string, req *http.Request) error {
	if m.c.Credential == nil {
		return nil
	}
	host := req.URL.Host
	cred, err := m.c.Credential(ctx, rigID, host)
	if err == nil {
		cred, err = checkCredential(cred)
	}
	if err != nil {
		return CredentialError(host, err)
	}
	if cred.Secret != "" {
		req.SetBasicAuth(cred.User, cred.Secret)
	}
	return nil
}
