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
	"path"
	"strings"
	"time"

	"townd/town"
)

const userAgent = "git/townd" // some servers answer git alone

// forwardHTTP asks a remote over HTTP, with the town's credential, and streams both
// ways. Of the remote's headers the agent gets those that say what the answer is.
func (x *exchange) forwardHTTP(remote *url.URL, body io.Reader, length int64) error {
	ctx, cancel := context.WithCancelCause(x.req.Context())
	defer cancel(nil)
	idle := time.AfterFunc(proxyWait, func() { cancel(errIdle) })
	defer idle.Stop()
	if body != nil {
		body = &watched{body, func() { idle.Reset(proxyWait) }}
	}
	if x.m.guard != nil { // before a proxy is called: it would go anywhere
		if _, err := x.m.guard.apply(ctx, command{url: x.remote, remote: true}); errors.Is(err, town.ErrInvalid) {
			return fmt.Errorf("the remote's address is not public: %w", ErrDenied)
		}
	}
	req, res, err := x.ask(ctx, remote, body, length)
	if req == nil {
		return err
	}
	if err != nil {
		if x.req.Context().Err() != nil {
			return gone(err)
		}
		if errors.Is(err, town.ErrInvalid) {
			return fmt.Errorf("the remote's address is not public: %w", ErrDenied)
		}
		return fmt.Errorf("the remote is not reached: %w", ErrNetwork) // the error may quote a proxy's password
	}
	defer res.Body.Close()
	answer := "result"
	if x.advert {
		answer = "advertisement"
	}
	switch {
	case res.StatusCode != http.StatusOK:
		return errUpstream(res.StatusCode)
	case res.Header.Get("Content-Type") != "application/x-"+x.service+"-"+answer:
		return fmt.Errorf("the remote does not speak git's smart protocol: %w", town.ErrGit)
	}
	if x.advert && res.Request.URL.Path == req.URL.Path {
		x.moved.Delete(x.rig.id)
	} else if x.advert { // moved on the same host
		base := *res.Request.URL
		base.Path, base.RawQuery = strings.TrimSuffix(base.Path, "/info/refs"), ""
		x.moved.Store(x.rig.id, &base)
	}
	x.answers(answer)
	return x.stream(res.Body, func() { idle.Reset(proxyIdle) })
}

// ask sends the request to the remote, once more with another credential if it was
// refused and can be sent again. There is no request where there is no credential.
func (x *exchange) ask(ctx context.Context, remote *url.URL, body io.Reader, length int64) (*http.Request, *http.Response, error) {
	for again := true; ; again = false {
		req, err := x.upstream(ctx, remote, body, length)
		if err != nil {
			return nil, nil, err
		}
		res, err := x.m.client.Do(req)
		if err != nil || res.StatusCode != http.StatusUnauthorized {
			return req, res, err
		}
		user, secret, _ := req.BasicAuth()
		if other := x.m.refused(req.URL.Host, Credential{user, secret}); !other || !again || body != nil {
			return req, res, nil
		}
		_ = res.Body.Close() // it was not what was asked for
	}
}

// watched tells of every read.
type watched struct {
	io.Reader
	seen func()
}

func (w *watched) Read(p []byte) (int, error) {
	w.seen()
	return w.Reader.Read(p)
}

// upstream makes the request to the remote.
func (x *exchange) upstream(ctx context.Context, remote *url.URL, body io.Reader, length int64) (*http.Request, error) {
	to := *remote
	if moved, ok := x.moved.Load(x.rig.id); ok && !x.advert {
		to = *moved.(*url.URL)
	}
	method := http.MethodPost
	if to.Path = strings.TrimRight(to.Path, "/") + "/" + x.service; x.advert {
		method = http.MethodGet
		to.Path = path.Dir(to.Path) + "/info/refs"
		to.RawQuery = "service=" + x.service
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, fmt.Errorf("request to the remote: %w", town.ErrInvalid)
	}
	if body != nil {
		req.ContentLength = length
		req.Header.Set("Content-Type", "application/x-"+x.service+"-request")
		if x.req.Header.Get("Content-Encoding") == "gzip" {
			req.Header.Set("Content-Encoding", "gzip")
		}
	}
	if x.isV2() {
		req.Header.Set("Git-Protocol", "version=2")
	}
	req.Header.Set("User-Agent", userAgent)
	return req, x.m.authorize(ctx, x.rig.id, req)
}

// isV2 reports whether the agent's git speaks protocol version 2, which exists for
// fetching only.
func (x *exchange) isV2() bool {
	return x.service == "git-upload-pack" && strings.Contains(x.req.Header.Get("Git-Protocol"), "version=2")
}

// stream copies an answer, each piece at once. Once it has begun an error can only
// cut it off, which git notices; before, it is returned: of an answer that ends
// before it begins git's HTTP library would ask again.
func (x *exchange) stream(from io.Reader, alive func()) error {
	flush := http.NewResponseController(x.w)
	buf := make([]byte, 32<<10)
	for begun := false; ; {
		alive()
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := x.w.Write(buf[:n]); err != nil {
				return nil // the agent is gone
			}
			_ = flush.Flush() // without it the answer is late, not wrong
			begun = true
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && !begun {
			return fmt.Errorf("the remote is not reached: its answer was cut off: %w", ErrNetwork)
		}
		if err != nil {
			x.rig.log.Warn("git proxy: the remote's answer was cut off", "err", err)
			panic(http.ErrAbortHandler)
		}
	}
}

// forwardPipe asks a remote that is reached by a program, ssh or git itself. That
// program tells its refs first and then waits, where HTTP has a request for each: an
// advertisement is asked for alone, and before a request's answer dropped.
func (x *exchange) forwardPipe(body io.Reader) error {
	if x.service == "git-upload-pack" && !x.isV2() {
		return fmt.Errorf("this remote is served by protocol version 2 only: git -c protocol.version=2: %w", town.ErrInvalid)
	}
	if x.advert {
		return x.advertise()
	}
	if x.req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return fmt.Errorf("request: %v: %w", err, town.ErrInvalid)
		}
		body = z
	}
	x.answers("result")
	out := &flushed{w: x.w, flush: http.NewResponseController(x.w)}
	c := x.pipe(&skipAdvert{w: out})
	c.stdin = body
	_, err := x.m.run(x.req.Context(), c)
	if err != nil && out.any {
		x.rig.log.Warn("git proxy: the remote's answer was cut off", "err", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// advertise answers with the refs or, in version 2, with what the remote can do.
func (x *exchange) advertise() error {
	advert := &skipAdvert{keep: &bytes.Buffer{}}
	_, err := x.m.run(x.req.Context(), x.pipe(advert))
	if !advert.done { // else it only misses a request
		if err == nil {
			err = fmt.Errorf("the remote told no refs: %w", town.ErrGit)
		}
		return err
	}
	if x.isV2() && !bytes.HasPrefix(advert.keep.Bytes(), []byte("000eversion 2\n")) {
		return fmt.Errorf("the remote does not speak protocol version 2: its ssh server must accept GIT_PROTOCOL: %w", town.ErrGit)
	}
	x.answers("advertisement")
	var head []byte
	if !x.isV2() {
		head = append(appendPkt(nil, "# service="+x.service+"\n"), flushPkt...)
	}
	_, err = x.w.Write(append(head, advert.keep.Bytes()...))
	return gone(err)
}

// pipe is the command that serves a remote over a pipe.
func (x *exchange) pipe(out io.Writer) command {
	c := command{dir: x.rig.dir, remote: true, stdout: out, timeout: x.m.c.CloneTimeout}
	if x.isV2() {
		c.env = []string{"GIT_PROTOCOL=version=2"}
	}
	if host, args, file, ok := sshTarget(x.remote); ok {
		words := strings.Fields(x.m.c.SSH)
		c.program, c.url = words[0], x.remote
		c.args = append(append(append(words[1:], sshOptions...), "-o", "SendEnv=GIT_PROTOCOL"), args...)
		c.args = append(c.args, "--", host, x.service+" '"+strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(file)+"'")
		return c
	}
	file := strings.TrimPrefix(x.remote, "file://")
	if u, err := url.Parse(x.remote); err == nil && u.Scheme == "file" {
		file = u.Path
	}
	c.args = []string{strings.TrimPrefix(x.service, "git-"), file}
	c.env = append(c.env, "GIT_CONFIG_COUNT=0") // our settings are not the remote's: it has hooks of its own
	return c
}

// sshTarget parts a URL that CheckURL passed into what ssh is given.
func sshTarget(remote string) (host string, args []string, file string, ok bool) {
	if strings.HasPrefix(remote, "ssh://") {
		u, err := url.Parse(remote)
		if err != nil {
			return "", nil, "", false
		}
		if port := u.Port(); port != "" {
			args = []string{"-p", port}
		}
		host, file = u.Hostname(), u.Path
		if u.User != nil {
			host = u.User.Username() + "@" + host
		}
		if strings.HasPrefix(file, "/~") {
			file = file[1:]
		}
		return host, args, file, true
	}
	if strings.Contains(remote, "://") || strings.HasPrefix(remote, "/") {
		return "", nil, "", false
	}
	host, file, ok = strings.Cut(remote, ":")
	if end := strings.Index(remote, "]:"); end >= 0 {
		host, file = remote[:end+1], remote[end+2:]
	}
	return strings.NewReplacer("[", "", "]", "").Replace(host), nil, file, ok
}

// flushed sends each piece at once.
type flushed struct {
	w     io.Writer
	flush *http.ResponseController
	any   bool
}

func (f *flushed) Write(p []byte) (int, error) {
	f.any = f.any || len(p) > 0
	n, err := f.w.Write(p)
	_ = f.flush.Flush() // without it the answer is late, not wrong
	return n, err
}
