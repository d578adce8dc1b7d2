package githubapp

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"townd/gitmgr"
	"townd/gitmgr/gittest"
	"townd/town"
)

// appKey is the key of the tests' app; making one takes a while.
var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func keyText() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(appKey())})
}

// github is the part of GitHub's API that gives tokens, over pipes, so that time in it is
// the test's.
type github struct {
	t     *testing.T
	conns chan net.Conn
	done  chan struct{}

	mu     sync.Mutex
	calls  int
	status int           // what it answers instead, 0 for a token
	body   string        // likewise
	header http.Header   // likewise
	delay  time.Duration // before an answer
}

func (g *github) Accept() (net.Conn, error) {
	select {
	case c := <-g.conns:
		return c, nil
	case <-g.done:
		return nil, net.ErrClosed
	}
}
func (g *github) Close() error   { return nil }
func (g *github) Addr() net.Addr { return &net.TCPAddr{} }

func (g *github) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	g.mu.Lock()
	g.calls++
	n, status, body, header, delay := g.calls, g.status, g.body, g.header, g.delay
	g.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-req.Context().Done():
		return
	}
	if req.Method != http.MethodPost || req.URL.Path != "/api/v3/app/installations/42/access_tokens" {
		g.t.Errorf("called with %s %s", req.Method, req.URL)
	}
	claims, err := gittest.VerifyJWT(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), &appKey().PublicKey)
	if now := time.Now().Unix(); err != nil || claims.Issuer != "7" || claims.Issued > now-60 || claims.Expires < now+60 {
		g.t.Errorf("the JWT at %d: %+v, %v", now, claims, err)
	}
	maps.Copy(w.Header(), header)
	if status != 0 {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
		return
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"token":"ghs_%d","expires_at":%q,"permissions":{"contents":"write"}}`, n, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// inTown runs test in a bubble of time, with an app at a GitHub.
func inTown(t *testing.T, test func(t *testing.T, g *github, a *App)) {
	appKey() // outside: it takes no time there
	synctest.Test(t, func(t *testing.T) {
		g := &github{t: t, conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: g}
		var wg sync.WaitGroup
		wg.Go(func() { _ = server.Serve(g) }) // ends with the test
		transport := &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			if address == "down.example:80" {
				return nil, errors.New("http://user:proxy-password@proxy refused")
			}
			here, there := net.Pipe()
			g.conns <- there
			return here, nil
		}}
		defer func() {
			transport.CloseIdleConnections()
			close(g.done)
			_ = server.Close()
			wg.Wait()
		}()
		a, err := New(Config{ID: "7", Installation: "42", Key: keyText(), API: "http://ghe.example/api/v3/", Client: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		test(t, g, a)
	})
}

func wantToken(t *testing.T, a *App, want string) {
	t.Helper()
	if got, err := a.Token(t.Context()); got != want || err != nil {
		t.Errorf("Token() = %q, %v; want %s", got, err, want)
	}
}

// X21: a token is renewed before it ends, and none is asked for that is not needed.
func TestTokenIsRenewedBeforeItEnds(t *testing.T) {
	inTown(t, func(t *testing.T, g *github, a *App) {
		var issued []string
		a.c.Issued = func(token string) { issued = append(issued, token) }
		wantToken(t, a, "ghs_1")
		time.Sleep(time.Hour - renewBefore - time.Second)
		wantToken(t, a, "ghs_1")
		time.Sleep(time.Second)
		wantToken(t, a, "ghs_2")
		wantToken(t, a, "ghs_2")
		if g.calls != 2 || strings.Join(issued, " ") != "ghs_1 ghs_2" {
			t.Errorf("asked %d times, told of %v", g.calls, issued)
		}
	})
}

func TestThoseWhoAskAtOnceShareOneCall(t *testing.T) {
	inTown(t, func(t *testing.T, g *github, a *App) {
		g.delay = time.Second
		for round, want := range []string{"ghs_1", ""} {
			g.mu.Lock()
			g.status = []int{0, 500}[round]
			g.mu.Unlock()
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if got, err := a.Token(t.Context()); got != want || (err == nil) != (want != "") {
						t.Errorf("Token() = %q, %v; want %q", got, err, want)
					}
				})
			}
			wg.Wait()
			if g.calls != round+1 {
				t.Errorf("%d calls in %d rounds", g.calls, round+1)
			}
			time.Sleep(2 * time.Hour)
		}
	})
}

func TestOldTokenServesWhileItCannotBeRenewed(t *testing.T) {
	inTown(t, func(t *testing.T, g *github, a *App) {
		wantToken(t, a, "ghs_1")
		time.Sleep(time.Hour - renewBefore)
		g.status = http.StatusBadGateway
		wantToken(t, a, "ghs_1")
		wantToken(t, a, "ghs_1")
		if g.calls != 2 {
			t.Errorf("tried %d times at once, want 2", g.calls)
		}
		time.Sleep(retryAfter)
		wantToken(t, a, "ghs_1")
		if g.calls != 3 {
			t.Errorf("tried %d times, want 3", g.calls)
		}
		time.Sleep(renewBefore - retryAfter)
		if got, err := a.Token(t.Context()); got != "" || !errors.Is(err, gitmgr.ErrNetwork) {
			t.Errorf("Token() at its end = %q, %v", got, err)
		}
		g.status = 0
		wantToken(t, a, "ghs_5")
	})
}

func TestRefusedTokenIsGivenUpOnce(t *testing.T) {
	inTown(t, func(t *testing.T, g *github, a *App) {
		if a.Refused("ghs_0") || a.Refused("") {
			t.Error("there is another where there is none")
		}
		wantToken(t, a, "ghs_1")
		if a.Refused("ghs_1") {
			t.Error("a token that is new is given up: whoever has no rights would get tokens without end")
		}
		time.Sleep(freshFor)
		if !a.Refused("ghs_1") {
			t.Error("a token that was refused is kept")
		}
		wantToken(t, a, "ghs_2")
		if !a.Refused("ghs_1") || a.Refused("ghs_2") {
			t.Error("of two who had the old token one does not get the new")
		}
		wantToken(t, a, "ghs_2")
	})
}

func TestReasonsForNoTokenAreToldApartWithoutTheKey(t *testing.T) {
	inTown(t, func(t *testing.T, g *github, a *App) {
		for _, c := range []struct {
			status int
			body   string
			header http.Header
			want   error
		}{
			{status: 401, want: ErrKey},
			{status: 404, want: ErrInstallation},
			{status: 403, want: gitmgr.ErrDenied},
			{status: 403, header: http.Header{"Retry-After": {"60"}}, want: gitmgr.ErrNetwork},
			{status: 429, want: gitmgr.ErrNetwork},
			{status: 500, want: gitmgr.ErrNetwork},
			{status: 302, header: http.Header{"Location": {"/else"}}, want: town.ErrGit},
			{status: 201, body: "<html>", want: gitmgr.ErrNetwork},
			{status: 201, body: `{"token":"a b","expires_at":"2100-01-01T00:00:00Z"}`, want: gitmgr.ErrNetwork},
			{status: 201, body: `{"token":"ghs","expires_at":"1999-01-01T00:00:00Z"}`, want: gitmgr.ErrAuth},
		} {
			g.status, g.body, g.header = c.status, c.body, c.header
			a.c.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			got, err := a.Token(t.Context())
			if got != "" || !errors.Is(err, c.want) || !errors.Is(err, town.ErrGit) || strings.Contains(err.Error(), "a b") {
				t.Errorf("after %d %s: %q, %v; want %v", c.status, c.body, got, err, c.want)
			}
			t.Log(err)
		}
		a.c.API = "http://down.example"
		if _, err := a.Token(t.Context()); !errors.Is(err, gitmgr.ErrNetwork) || strings.Contains(err.Error(), "password") {
			t.Errorf("not reached: %v", err)
		}
		g.status, g.delay, a.c.API = 0, time.Hour, "http://ghe.example/api/v3"
		start := time.Now()
		if _, err := a.Token(t.Context()); !errors.Is(err, gitmgr.ErrNetwork) || time.Since(start) != callTimeout {
			t.Errorf("one that hangs: %v after %s", err, time.Since(start))
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.Token(gone); !errors.Is(err, context.Canceled) {
			t.Error("a caller that gave up got a token")
		}
	})
}

func TestSettingsOfAnAppAreChecked(t *testing.T) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(appKey())
	if err != nil {
		t.Fatal(err)
	}
	good := Config{ID: "Iv1.abc", Installation: "1", Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})}
	for api, host := range map[string]string{
		"": "github.com", "https://api.github.com/": "github.com", "https://GHE.example:8443/api/v3": "ghe.example:8443", "https://api.acme.ghe.com": "acme.ghe.com",
	} {
		c := good
		c.API = api
		if a, err := New(c); err != nil || a.Host() != host {
			t.Errorf("New with API %q: %v, want host %s", api, err, host)
		}
	}
	for field, change := range map[string]func(*Config){
		"app id": func(c *Config) { c.ID = "a b" }, "installation id": func(c *Config) { c.Installation = "x" },
		"private key": func(c *Config) { c.Key = []byte("s3cret") }, "private key: is no RSA": func(c *Config) {
			c.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("s3cret")})
		},
		"API": func(c *Config) { c.API = "https://user:s3cret@ghe.example" },
	} {
		c := good
		change(&c)
		if _, err := New(c); !errors.Is(err, town.ErrInvalid) || !strings.HasPrefix(err.Error(), field) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("New with a bad %s = %v", field, err)
		}
	}
}
