package gitmgr

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"townd/town"
)

const (
	lfsPath       = ".git/info/lfs"
	lfsMedia      = "application/vnd.git-lfs+json"
	lfsBatchMost  = 100      // objects that one call asks for
	maxBatchBytes = 16 << 20 // of an answer, or of an agent's question
)

// lfsBatch is a question to the batch API and, with other fields, its answer.
// (git-lfs, docs/api/batch.md)
type lfsBatch struct {
	Operation string          `json:"operation,omitempty"`
	Transfers []string        `json:"transfers,omitempty"` // those that we can
	Transfer  string          `json:"transfer,omitempty"`  // the one that is meant
	Ref       json.RawMessage `json:"ref,omitempty"`
	HashAlgo  string          `json:"hash_algo,omitempty"`
	Objects   []lfsObject     `json:"objects"`
}

type lfsObject struct {
	lfsPointer
	Authenticated bool                 `json:"authenticated,omitempty"`
	Actions       map[string]lfsAction `json:"actions,omitempty"`
	Error         *lfsError            `json:"error,omitempty"`
}

type lfsAction struct {
	Href      string            `json:"href"`
	Header    map[string]string `json:"header,omitempty"`
	ExpiresIn int               `json:"expires_in,omitempty"` // seconds
	ExpiresAt string            `json:"expires_at,omitempty"`
}

type lfsError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// lfsEndpoint returns where the batch API of a remote is: of one over SSH, on the same
// host over HTTPS.
func lfsEndpoint(remote string) (*url.URL, error) {
	if host, _, file, ok := sshTarget(remote); ok {
		if _, name, ok := strings.Cut(host, "@"); ok {
			host = name
		}
		remote = "https://" + host + "/" + strings.TrimLeft(file, "/")
	}
	u, err := url.Parse(strings.TrimSuffix(strings.TrimRight(remote, "/"), ".git") + lfsPath)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("git LFS: needs a remote over https or ssh: %w", town.ErrInvalid)
	}
	return u, nil
}

// askLFS calls the batch API of a rig's remote with the town's credential.
func (r *rig) askLFS(ctx context.Context, endpoint *url.URL, q lfsBatch) (a lfsBatch, sent http.Header, err error) {
	q.Transfers = []string{"basic"}
	body, err := json.Marshal(q)
	if err != nil {
		return a, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint.JoinPath("objects", "batch").String(), bytes.NewReader(body))
	if err != nil {
		return a, nil, fmt.Errorf("request to the remote: %w", town.ErrInvalid)
	}
	req.Header.Set("Accept", lfsMedia)
	req.Header.Set("Content-Type", lfsMedia)
	if err := r.m.authorize(ctx, r.id, req); err != nil {
		return a, nil, err
	}
	res, err := r.m.call(req)
	if err != nil {
		return a, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return a, nil, errUpstream(res.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxBatchBytes))
	if err != nil {
		return a, nil, fmt.Errorf("the remote's answer was cut off: %w", ErrNetwork)
	}
	if err := json.Unmarshal(data, &a); err != nil || a.Transfer != "" && a.Transfer != "basic" {
		return a, nil, fmt.Errorf("the remote does not speak the batch API of Git LFS: %w", town.ErrGit)
	}
	return a, req.Header, nil
}

// call is a request of our own to a remote or to where it sends us, which the guard
// has to allow.
func (m *Manager) call(req *http.Request) (*http.Response, error) {
	if m.guard != nil { // before a proxy is called: it would go anywhere
		if _, err := m.guard.apply(req.Context(), command{url: req.URL.String(), remote: true}); errors.Is(err, town.ErrInvalid) {
			return nil, fmt.Errorf("the remote's address is not public: %w", ErrDenied)
		}
	}
	req.Header.Set("User-Agent", userAgent)
	res, err := m.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the remote is not reached: %w", ErrNetwork) // the error may quote a proxy's password
	}
	return res, nil
}

// downloadLFS brings objects from the remote into the shared store. Those that it does
// not have are told in the log.
func (r *rig) downloadLFS(ctx context.Context, missing []lfsPointer) error {
	if len(missing) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.m.c.CloneTimeout)
	defer cancel()
	start := time.Now()
	err := r.downloadBatches(ctx, missing)
	r.m.observe("fetch lfs", start, err)
	return err
}

func (r *rig) downloadBatches(ctx context.Context, missing []lfsPointer) error {
	remote, err := r.remoteURL()
	if err != nil {
		return err
	}
	endpoint, err := lfsEndpoint(remote)
	if err != nil {
		return err
	}
	for len(missing) > 0 {
		n := min(len(missing), lfsBatchMost)
		q := lfsBatch{Operation: "download", HashAlgo: "sha256"}
		want := map[lfsPointer]bool{}
		for _, p := range missing[:n] {
			q.Objects, want[p] = append(q.Objects, lfsObject{lfsPointer: p}), true
		}
		missing = missing[n:]
		var a lfsBatch
		err := r.persist(ctx, func() (err error) {
			a, _, err = r.askLFS(ctx, endpoint, q)
			return err
		})
		if err != nil {
			return err
		}
		for _, o := range a.Objects {
			get, ok := o.Actions["download"]
			if !ok || !want[o.lfsPointer] {
				r.log.Warn("file of Git LFS is not on the remote, its pointer stays", "oid", o.OID)
				continue
			}
			if err := r.persist(ctx, func() error { return r.downloadOne(ctx, endpoint, o.lfsPointer, get) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// persist tries f again a few times when the network or the remote was not well.
func (r *rig) persist(ctx context.Context, f func() error) error {
	err := f()
	for n := 1; n <= remoteRetries && errors.Is(err, ErrNetwork) && r.m.backOff(ctx, n); n++ {
		err = f()
	}
	return err
}

func (r *rig) downloadOne(ctx context.Context, endpoint *url.URL, p lfsPointer, get lfsAction) error {
	req, err := get.request(ctx, http.MethodGet, nil)
	if err != nil {
		return err
	}
	if req.Header.Get("Authorization") == "" && isSameHost(req.URL, endpoint) {
		if err := r.m.authorize(ctx, r.id, req); err != nil {
			return err
		}
	}
	res, err := r.m.call(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone:
		r.log.Warn("file of Git LFS is not on the remote, its pointer stays", "oid", p.OID)
		return nil
	case res.StatusCode != http.StatusOK:
		return errUpstream(res.StatusCode)
	}
	return r.storeLFS(p, res.Body)
}

// request makes the request that an action asks for.
func (a lfsAction) request(ctx context.Context, method string, body io.Reader) (*http.Request, error) {
	u, err := url.Parse(a.Href)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("the remote names no usable place for a file of Git LFS: %w", town.ErrGit)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.Href, body)
	if err != nil {
		return nil, fmt.Errorf("the remote names no usable place for a file of Git LFS: %w", town.ErrGit)
	}
	for name, value := range a.Header {
		req.Header.Set(name, value)
	}
	return req, nil
}

func isSameHost(a, b *url.URL) bool { return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host) }

// storeLFS puts an object into the shared store if it is what its name says.
func (r *rig) storeLFS(p lfsPointer, from io.Reader) error {
	tmp, err := os.CreateTemp(filepath.Join(r.lfsStore(), "tmp"), "object-")
	if err != nil {
		return spaceKind(err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // it has another name by then, or is half there
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, sum), io.LimitReader(from, p.Size+1))
	if err = errors.Join(spaceKind(err), tmp.Chmod(0o444), tmp.Close()); err != nil {
		if errors.Is(err, town.ErrNoSpace) {
			return err
		}
		return fmt.Errorf("object %s: was cut off: %w", p.OID, ErrNetwork)
	}
	if n != p.Size || hex.EncodeToString(sum.Sum(nil)) != p.OID {
		return fmt.Errorf("object %s: is not what its name says: %w", p.OID, town.ErrGit)
	}
	path := filepath.Join(r.lfsStore(), p.path())
	for _, dir := range []string{filepath.Dir(filepath.Dir(path)), filepath.Dir(path)} {
		if err := mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return spaceKind(err)
		}
	}
	return os.Rename(tmp.Name(), path)
}
