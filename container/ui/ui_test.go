package ui

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, path string, header ...string) *http.Response {
	t.Helper()
	h, err := New(Town{TownID: "t1", Version: "v1", Hall: true})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Result()
}

func body(t *testing.T, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEveryFileOfThePageIsServedStrictly(t *testing.T) {
	page := get(t, "/")
	defer page.Body.Close()
	text := body(t, page.Body)
	if got := page.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("the page is cached: %q", got)
	}
	if inline := regexp.MustCompile(`<style|<script>|\son\w+=|\sstyle=`).FindString(text); inline != "" {
		t.Errorf("the page has %q, which its policy does not run", inline)
	}
	files := regexp.MustCompile(`(?:src|href)="(ui/[^"]+)"`).FindAllStringSubmatch(text, -1)
	if len(files) != 2 {
		t.Fatalf("the page names %d files, want a script and a style", len(files))
	}
	for _, f := range files {
		plain, zipped := get(t, "/"+f[1]), get(t, "/"+f[1], "Accept-Encoding", "gzip, br")
		defer plain.Body.Close()
		defer zipped.Body.Close()
		z, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		if body(t, z) != body(t, plain.Body) {
			t.Errorf("%s is another one when it is compressed", f[1])
		}
		if got := plain.Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
			t.Errorf("%s: Cache-Control %q", f[1], got)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got := plain.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", f[1], name, got, want)
			}
		}
		for _, r := range []*http.Response{page, plain} {
			policy := r.Header.Get("Content-Security-Policy")
			if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; ") || strings.Contains(policy, "unsafe") {
				t.Errorf("%s: the policy is %q", f[1], policy)
			}
		}
	}
}

func TestTheTownIsTold(t *testing.T) {
	r := get(t, "/ui/town.json")
	defer r.Body.Close()
	if got, want := body(t, r.Body), `{"townId":"t1","version":"v1","hall":true}`; got != want {
		t.Errorf("town.json = %s, want %s", got, want)
	}
	none := get(t, "/ui/../ui.go")
	defer none.Body.Close()
	if none.StatusCode != http.StatusNotFound {
		t.Errorf("a file that is not of the page: status %d, want 404", none.StatusCode)
	}
}

// TestTheDashboardIsWhatItsSourcesMake checks the sources too: biome, tsc, types
// that are the contract's, and dist.
func TestTheDashboardIsWhatItsSourcesMake(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed")
	}
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skip("its packages are not installed: npm ci --prefix container/ui")
	}
	if out, err := exec.CommandContext(t.Context(), npm, "run", "-s", "check").CombinedOutput(); err != nil {
		t.Errorf("npm run check: %v\n%s", err, out)
	}
}
