package gittest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// LFS serves a Remote and its files of Git LFS by HTTP, to one user.
type LFS struct {
	URL string // of the repository
	// Elsewhere has files carried from and to another host, without credentials, as a
	// store of objects with pre-signed URLs does. Echo has the batch API send the
	// caller's own credential along, as some servers do.
	Elsewhere, Echo bool

	t        testing.TB
	dir      string
	user     string
	password string
	git      http.Handler
	store    *httptest.Server
	mu       sync.Mutex
	gets     map[string]int // by object id
}

// ServeLFS serves r until the test ends.
func (r *Remote) ServeLFS(user, password string) *LFS {
	r.t.Helper()
	l := &LFS{t: r.t, dir: r.t.TempDir(), user: user, password: password, git: r.ServeHTTP(user, password).Handler(), gets: map[string]int{}}
	main := httptest.NewServer(l)
	l.store = httptest.NewServer(http.HandlerFunc(l.object))
	r.t.Cleanup(main.Close)
	r.t.Cleanup(l.store.Close)
	l.URL = main.URL + "/" + filepath.Base(r.Path)
	return l
}

// Put adds a file and returns its pointer.
func (l *LFS) Put(text string) (pointer string) {
	l.t.Helper()
	sum := sha256.Sum256([]byte(text))
	oid := hex.EncodeToString(sum[:])
	if err := os.WriteFile(filepath.Join(l.dir, oid), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, len(text))
}

// Has reports whether a file is there.
func (l *LFS) Has(text string) bool {
	sum := sha256.Sum256([]byte(text))
	_, err := os.Stat(filepath.Join(l.dir, hex.EncodeToString(sum[:])))
	return err == nil
}

// Gets returns how often a file was fetched.
func (l *LFS) Gets(text string) int {
	sum := sha256.Sum256([]byte(text))
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gets[hex.EncodeToString(sum[:])]
}

// ServeHTTP is http.Handler.
func (l *LFS) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !strings.Contains(req.URL.Path, "/info/lfs/") && !strings.HasPrefix(req.URL.Path, "/object/") {
		l.git.ServeHTTP(w, req)
		return
	}
	if u, p, _ := req.BasicAuth(); u != l.user || p != l.password {
		w.Header().Set("WWW-Authenticate", `Basic realm="lfs"`)
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	switch {
	case strings.HasPrefix(req.URL.Path, "/object/"):
		l.object(w, req)
	case strings.HasSuffix(req.URL.Path, ".git/info/lfs/objects/batch") && req.Method == http.MethodPost:
		l.batch(w, req)
	default:
		http.NotFound(w, req)
	}
}

// batch answers as docs/api/batch.md of git-lfs says.
func (l *LFS) batch(w http.ResponseWriter, req *http.Request) {
	var q struct {
		Operation string
		Objects   []struct {
			OID  string `json:"oid"`
			Size int64  `json:"size"`
		}
	}
	if err := json.NewDecoder(req.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	base, header := "http://"+req.Host, map[string]string{}
	if l.Elsewhere {
		base = strings.Replace(l.store.URL, "127.0.0.1", "localhost", 1)
	}
	if l.Echo {
		header["Authorization"] = req.Header.Get("Authorization")
	}
	var objects []map[string]any
	for _, o := range q.Objects {
		_, err := os.Stat(filepath.Join(l.dir, o.OID))
		answer := map[string]any{"oid": o.OID, "size": o.Size}
		action := map[string]any{"href": base + "/object/" + o.OID, "header": header}
		switch {
		case q.Operation == "upload" && err != nil:
			answer["actions"] = map[string]any{"upload": action, "verify": action}
		case q.Operation == "download" && err == nil:
			answer["actions"] = map[string]any{"download": action}
		case q.Operation == "download":
			answer["error"] = map[string]any{"code": http.StatusNotFound, "message": "no such object"}
		}
		objects = append(objects, answer)
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	_ = json.NewEncoder(w).Encode(map[string]any{"transfer": "basic", "objects": objects}) // the caller notices
}

// object is one file: read, written or looked for.
func (l *LFS) object(w http.ResponseWriter, req *http.Request) {
	oid := filepath.Base(req.URL.Path)
	path := filepath.Join(l.dir, oid)
	switch req.Method {
	case http.MethodGet:
		l.mu.Lock()
		l.gets[oid]++
		l.mu.Unlock()
		http.ServeFile(w, req, path)
	case http.MethodPut:
		text, err := io.ReadAll(req.Body)
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	case http.MethodPost: // verify
		if _, err := os.Stat(path); err != nil {
			http.Error(w, "not here", http.StatusNotFound)
		}
	}
}
