package forge

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is a forge written by hand from the API documents of GitHub and of Forgejo,
// for want of a real one that runs here. It keeps state, checks who calls, and pages.
type server struct {
	*httptest.Server
	kind  Kind
	token string

	mu       sync.Mutex
	pulls    []*served
	calls    []string
	page     int  // entries of a page
	checked  bool // a merge need not wait
	refuse   func(http.ResponseWriter, *http.Request) bool
	lostOnce bool                       // the next POST is done and its answer cut
	heads    func(branch string) string // where branches are, for the heads of open pull requests; may be nil
	blind    bool                       // the first look for open pull requests finds none: another opens it meanwhile
}

// served is a pull request at the server.
type served struct {
	Number                  int
	Fork                    string // repository that its head is in, "" for the same
	Commit                  string // its head, made from Number when empty
	Title, Body, Head, Base string
	Draft                   bool
	State                   string // open, closed, merged
	Auto                    string // method it is to be merged by
	Reviews                 []review
	Lines                   map[int64][]line // by review
	Runs                    [][2]string      // status and conclusion
	Statuses                []string
}

type line struct {
	ID   int64
	Path string
	Line int
	Body string
}

func serve(t *testing.T, kind Kind) *server {
	t.Helper()
	s := &server{kind: kind, token: "secret-token", page: 50}
	m := http.NewServeMux()
	prefix := map[Kind]string{KindGitHub: "/api/v3", KindForgejo: "/api/v1"}[kind] + "/repos/o/r"
	for pattern, h := range map[string]func(*http.Request, *served, map[string]any) (int, any){
		"GET ": func(*http.Request, *served, map[string]any) (int, any) {
			return 200, map[string]any{"default_branch": "main"}
		},
		"GET /pulls":                           s.list,
		"POST /pulls":                          s.create,
		"GET /pulls/{n}":                       func(_ *http.Request, p *served, _ map[string]any) (int, any) { return 200, s.json(p) },
		"PATCH /pulls/{n}":                     s.patch,
		"PUT /pulls/{n}/merge":                 s.merge,
		"POST /pulls/{n}/merge":                s.schedule,
		"GET /pulls/{n}/reviews":               s.reviews,
		"GET /pulls/{n}/comments":              s.comments,
		"GET /pulls/{n}/reviews/{id}/comments": s.comments,
		"GET /commits/{sha}/status":            s.statuses,
		"GET /commits/{sha}/check-runs":        s.runs,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		if github := kind == KindGitHub; !github && (method == "PUT" || path == "/pulls/{n}/comments" || strings.HasSuffix(path, "check-runs")) ||
			github && (pattern == "POST /pulls/{n}/merge" || strings.Contains(path, "{id}")) {
			continue // not in its API
		}
		m.HandleFunc(method+" "+prefix+path, s.handle(h))
	}
	if kind == KindGitHub {
		m.HandleFunc("POST /api/graphql", s.handle(s.graphql))
	}
	s.Server = httptest.NewServer(m)
	t.Cleanup(s.Close)
	return s
}

func (s *server) handle(h func(*http.Request, *served, map[string]any) (int, any)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls = append(s.calls, req.Method+" "+req.URL.Path)
		if want := map[Kind]string{KindGitHub: "Bearer ", KindForgejo: "token "}[s.kind] + s.token; req.Header.Get("Authorization") != want {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"message":"Bad credentials"}`))
			return
		}
		if s.refuse != nil && s.refuse(w, req) {
			return
		}
		for _, p := range s.pulls {
			if s.heads != nil && p.State == "open" && p.Fork == "" {
				p.Commit = s.heads(p.Head)
			}
		}
		var p *served
		if n, err := strconv.Atoi(req.PathValue("n")); err == nil {
			i := slices.IndexFunc(s.pulls, func(p *served) bool { return p.Number == n })
			if i < 0 {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			p = s.pulls[i]
		}
		if sha := req.PathValue("sha"); sha != "" {
			i := slices.IndexFunc(s.pulls, func(p *served) bool { return sha == shaOf(p) })
			if i < 0 {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			p = s.pulls[i]
		}
		in := map[string]any{}
		if req.Method != http.MethodGet && json.NewDecoder(req.Body).Decode(&in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		status, out := h(req, p, in)
		if s.lostOnce && req.Method == http.MethodPost {
			s.lostOnce = false
			panic(http.ErrAbortHandler)
		}
		s.answer(w, req, status, out)
	}
}

// answer pages what is a list, at the top or in an object.
func (s *server) answer(w http.ResponseWriter, req *http.Request, status int, out any) {
	page, _ := strconv.Atoi(req.URL.Query().Get("page"))
	part := func(list []any) []any {
		from := min(max(page-1, 0)*s.page, len(list))
		to := min(from+s.page, len(list))
		if to < len(list) {
			w.Header().Set("Link", fmt.Sprintf(`<https://elsewhere.invalid/?page=%d>; rel="next"`, page+1))
		}
		return list[from:to]
	}
	switch v := out.(type) {
	case []any:
		out = part(v)
	case map[string]any:
		for name, value := range v {
			if list, ok := value.([]any); ok && name != "errors" {
				v[name] = part(list)
			}
		}
	}
	w.WriteHeader(status)
	if out != nil {
		_ = json.NewEncoder(w).Encode(out) // the client may be gone
	}
}

func shaOf(p *served) string { return cmp.Or(p.Commit, fmt.Sprintf("%040d", p.Number)) }

func (s *server) json(p *served) map[string]any {
	out := map[string]any{
		"number": p.Number, "node_id": fmt.Sprint("PR_", p.Number), "html_url": fmt.Sprint("https://forge/o/r/pulls/", p.Number), "title": p.Title,
		"draft": p.Draft || strings.HasPrefix(p.Title, "WIP: "), "head": map[string]any{"ref": p.Head, "sha": shaOf(p), "repo": map[string]any{"full_name": cmp.Or(p.Fork, "o/r")}},
		"base":  map[string]any{"ref": p.Base, "repo": map[string]any{"full_name": "o/r"}},
		"state": p.State, "mergeable": p.State == "open", "merged_at": nil, "merge_commit_sha": nil,
	}
	if p.State == "merged" {
		out["state"], out["merged"], out["merged_at"], out["merge_commit_sha"] = "closed", true, "2026-01-02T03:04:05Z", strings.Repeat("e", 40)
	}
	return out
}

func (s *server) list(req *http.Request, _ *served, _ map[string]any) (int, any) {
	list := []any{}
	if s.blind {
		s.blind = false
		return 200, list
	}
	q := req.URL.Query()
	for _, p := range s.pulls {
		if (p.State == "open") != (q.Get("state") == "open") {
			continue
		}
		if s.kind == KindGitHub && (q.Get("head") != "o:"+p.Head || q.Get("base") != p.Base) {
			continue
		}
		list = append(list, s.json(p))
	}
	return 200, list
}

func (s *server) create(_ *http.Request, _ *served, in map[string]any) (int, any) {
	p := &served{Number: len(s.pulls) + 1, State: "open", Lines: map[int64][]line{}}
	p.Title, _ = in["title"].(string)
	p.Body, _ = in["body"].(string)
	p.Head, _ = in["head"].(string)
	p.Base, _ = in["base"].(string)
	p.Draft, _ = in["draft"].(bool)
	if p.Head == "missing" {
		return map[Kind]int{KindGitHub: 422, KindForgejo: 404}[s.kind], map[string]any{"message": "Validation Failed", "errors": []any{map[string]any{"field": "head", "code": "invalid"}}}
	}
	for _, have := range s.pulls {
		if have.State == "open" && have.Fork == "" && have.Head == p.Head && have.Base == p.Base {
			if s.kind == KindGitHub {
				return 422, map[string]any{"message": "Validation Failed", "errors": []any{map[string]any{"message": "A pull request already exists for o:" + p.Head}}}
			}
			return 409, map[string]any{"message": "pull request already exists for these targets"}
		}
	}
	if s.heads != nil {
		p.Commit = s.heads(p.Head)
	}
	s.pulls = append(s.pulls, p)
	return 201, s.json(p)
}

func (s *server) patch(_ *http.Request, p *served, in map[string]any) (int, any) {
	for name, to := range map[string]*string{"title": &p.Title, "body": &p.Body, "base": &p.Base} {
		if v, ok := in[name].(string); ok {
			*to = v
		}
	}
	return 201 - map[Kind]int{KindGitHub: 1}[s.kind], s.json(p)
}

func (s *server) graphql(_ *http.Request, _ *served, in map[string]any) (int, any) {
	vars, _ := in["variables"].(map[string]any)
	for _, p := range s.pulls {
		if vars["id"] != fmt.Sprint("PR_", p.Number) || vars["head"] != shaOf(p) {
			continue
		}
		if s.checked {
			return 200, map[string]any{"errors": []any{map[string]any{"type": "UNPROCESSABLE", "message": "Pull request Pull request is in clean status"}}}
		}
		p.Auto, _ = vars["method"].(string)
		return 200, map[string]any{"data": map[string]any{}}
	}
	return 200, map[string]any{"errors": []any{map[string]any{"type": "NOT_FOUND", "message": "Could not resolve to a node"}}}
}

func (s *server) merge(_ *http.Request, p *served, in map[string]any) (int, any) {
	if in["sha"] != shaOf(p) {
		return 409, map[string]any{"message": "Head branch was modified"}
	}
	p.State = "merged"
	return 200, map[string]any{"merged": true}
}

func (s *server) schedule(_ *http.Request, p *served, in map[string]any) (int, any) {
	switch {
	case in["merge_when_checks_succeed"] != true || in["head_commit_id"] != shaOf(p):
		return 405, map[string]any{"message": "not yet"}
	case s.checked:
		p.State = "merged"
		return 200, nil
	case p.Auto != "":
		return 409, map[string]any{"message": "already scheduled"}
	}
	do, _ := in["Do"].(string)
	p.Auto = strings.ToUpper(do)
	return 201, nil
}

func (s *server) reviews(_ *http.Request, p *served, _ map[string]any) (int, any) {
	list := []any{}
	for _, r := range p.Reviews {
		list = append(list, r)
	}
	return 200, list
}

func (s *server) comments(req *http.Request, p *served, _ map[string]any) (int, any) {
	list := []any{}
	for _, r := range p.Reviews {
		if id := req.PathValue("id"); id != "" && id != fmt.Sprint(r.ID) {
			continue
		}
		for _, l := range p.Lines[r.ID] {
			c := map[string]any{"id": l.ID, "user": r.User, "body": l.Body, "path": l.Path, "created_at": r.SubmittedAt.Add(time.Second)}
			if s.kind == KindGitHub {
				c["line"], c["original_line"] = nil, l.Line
			} else {
				c["position"], c["original_position"] = 0, l.Line
			}
			list = append(list, c)
		}
	}
	return 200, list
}

func (s *server) statuses(_ *http.Request, p *served, _ map[string]any) (int, any) {
	list := []any{}
	name := map[Kind]string{KindGitHub: "state", KindForgejo: "status"}[s.kind]
	for i, state := range p.Statuses {
		list = append(list, map[string]any{"context": fmt.Sprint("ci/", i), name: state, "target_url": "https://ci/"})
	}
	return 200, map[string]any{"state": "pending", "statuses": list}
}

func (s *server) runs(_ *http.Request, p *served, _ map[string]any) (int, any) {
	list := []any{}
	for i, r := range p.Runs {
		list = append(list, map[string]any{"name": fmt.Sprint("run", i), "status": r[0], "conclusion": r[1]})
	}
	return 200, map[string]any{"total_count": len(list), "check_runs": list}
}
