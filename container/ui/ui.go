// Package ui is the dashboard: files that a browser loads, built from src by
// `npm run build` and embedded. It knows how they are served, and no agent:
// what they show they ask for at the control API, with the token that a person
// gives them.
package ui

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:embed dist
var dist embed.FS

// Town is what the dashboard must know before anyone has signed in. It is public.
type Town struct {
	TownID  string `json:"townId"`
	Version string `json:"version"`
	Hall    bool   `json:"hall"` // the coordinator is in this server
}

// policy lets the page load what we serve and nothing else: what an agent prints
// cannot fetch, run or style anything, even if it got into the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// file is one file to serve.
type file struct {
	contentType string
	caching     string
	data        []byte
	zipped      func() []byte // nil where it would not be smaller
}

// Dashboard serves the page at / and its files below /ui/. It is safe for concurrent use.
type Dashboard struct{ files map[string]*file }

// New returns the dashboard of a town.
func New(t Town) (*Dashboard, error) {
	files, err := load()
	if err != nil {
		return nil, err
	}
	about, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	files["/ui/town.json"] = &file{contentType: "application/json", caching: "no-cache", data: about}
	return &Dashboard{files}, nil
}

// Paths returns where there are files, in order.
func (d *Dashboard) Paths() []string { return slices.Sorted(maps.Keys(d.files)) }

// ServeHTTP answers with the file that was asked for.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := d.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	f.send(w, r)
}

// load returns the embedded files by the path that they are served at.
func load() (map[string]*file, error) {
	files := make(map[string]*file)
	entries, err := fs.ReadDir(dist, "dist")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		data, err := dist.ReadFile("dist/" + e.Name())
		if err != nil {
			return nil, err
		}
		f := &file{contentType: typeOf(e.Name()), caching: "public, max-age=31536000, immutable", data: data}
		f.zipped = sync.OnceValue(func() []byte { return zip(data) })
		switch e.Name() {
		case "index.html":
			f.caching = "no-cache"
			files["/"] = f
		case "LICENSES.txt":
			f.caching = "no-cache"
			fallthrough
		default:
			files["/ui/"+e.Name()] = f
		}
	}
	if files["/"] == nil {
		return nil, fmt.Errorf("the dashboard was not built: run npm run build in container/ui")
	}
	return files, nil
}

// typeOf does not ask the machine's own table, which differs.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	return mime.TypeByExtension(path.Ext(name))
}

func zip(data []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(data) // of a bytes.Buffer neither fails
	_ = z.Close()
	return out.Bytes()
}

func (f *file) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", f.caching)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	data := f.data
	if f.zipped != nil {
		h.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			data = f.zipped()
		}
	}
	h.Set("Content-Length", fmt.Sprint(len(data)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // who left need not be told
	}
}
