// Package ui is the dashboard: files that a browser loads, built from src by
// `npm run build` and embedded. It knows how they are served, and no agent:
// what they show they ask for at the control API, with the token that a person
// gives them.
package ui

import (
	"bytes"
	"cmp"
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

//go:embed headers.json
var headers []byte

// rule is headers.json, which the Worker serves the page by, too. Its policy lets the
// page load what we serve and nothing else: what an agent prints cannot fetch, run or
// style anything, even if it got into the page.
type rule struct {
	Headers map[string]string `json:"headers"`
	Caching map[string]string `json:"caching"` // by a file's name; "*" is every other
}

// caching is the Cache-Control of a file.
func (r *rule) caching(name string) string { return cmp.Or(r.Caching[name], r.Caching["*"]) }

// file is one file to serve.
type file struct {
	contentType string
	caching     string
	data        []byte
	zipped      func() []byte // nil where it would not be smaller
}

// Dashboard serves the page at / and its files below /ui/. It is safe for concurrent use.
type Dashboard struct {
	rule  rule
	files map[string]*file
}

// New returns the dashboard of a town.
func New(t Town) (*Dashboard, error) {
	var d Dashboard
	if err := json.Unmarshal(headers, &d.rule); err != nil {
		return nil, fmt.Errorf("headers.json: %w", err)
	}
	var err error
	if d.files, err = load(&d.rule); err != nil {
		return nil, err
	}
	about, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	d.files["/ui/town.json"] = &file{contentType: "application/json", caching: d.rule.caching("town.json"), data: about}
	return &d, nil
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
	for name, value := range d.rule.Headers {
		w.Header().Set(name, value)
	}
	f.send(w, r)
}

// load returns the embedded files by the path that they are served at.
func load(r *rule) (map[string]*file, error) {
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
		f := &file{contentType: typeOf(e.Name()), caching: r.caching(e.Name()), data: data}
		f.zipped = sync.OnceValue(func() []byte { return zip(data) })
		if e.Name() == "index.html" {
			files["/"] = f
		} else {
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
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", f.caching)
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
