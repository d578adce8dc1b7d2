// Package townd_test holds the rules of the repository that are tests.
package townd_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rule says what a package may import, besides the standard library, and why.
type rule struct {
	ours   []string // packages of this repository
	theirs []string // modules
	why    string
}

// rules is who may import whom. A package imports only what stands above it.
var rules = map[string]rule{
	"town": {
		why: "the words of the domain do no I/O: everyone speaks them, so they depend on nobody",
	},
	"supervisor/transcript": {
		ours: []string{"town"},
		why:  "a file format is read by every room and outlives every process",
	},
	"supervisor/artifact": {
		ours:   []string{"town"},
		theirs: []string{"golang.org/x/sys"},
		why:    "files and their digests: whose they are, and of which run, its caller knows",
	},
	"supervisor/screen": {
		ours:   []string{"supervisor/transcript", "town"},
		theirs: []string{"github.com/charmbracelet/x", "github.com/google/renameio/v2"},
		why:    "a screen is drawn from a transcript alone; the emulator stays behind this door",
	},
	"prompts": {
		ours: []string{"town"},
		why:  "templates in, text out, no I/O",
	},
	"gitmgr": {
		ours: []string{"town"},
		theirs: []string{
			"github.com/go-git/go-git/v5", "github.com/go-git/go-billy/v5", "github.com/google/renameio/v2", "golang.org/x/sys",
			"golang.org/x/crypto", // ssh/agent: the protocol by which the town's key signs without a file
		},
		why: "repositories know nothing of agents; the git program and go-git are used here only",
	},
	"gitmgr/githubapp": {
		ours: []string{"town", "gitmgr"},
		why:  "one signed call of GitHub's API for a token: no git, no files, and no library for one kind of JWT",
	},
	"gitmgr/forge": {
		ours: []string{"town", "gitmgr"},
		why:  "pull requests are a few calls of a remote's HTTP API: no git, no files, and no SDK for them",
	},
	"sock": {
		why: "a socket is a path and a mode; who may come in, its owner says",
	},
	"supervisor/keeper": {
		ours:   []string{"town", "supervisor/transcript", "sock"},
		theirs: []string{"github.com/creack/pty", "golang.org/x/sys", "golang.org/x/term"},
		why:    "PID 1 is small and has no policy: it must not die of a bug above it",
	},
	"supervisor/agentcli": {
		ours: []string{"town"},
		why:  "a CLI is described, not run: no processes, no HTTP",
	},
	"supervisor/driver": {
		ours: []string{"town", "supervisor/agentcli"},
		why:  "it runs in the agent's own process, beside one CLI; the town is reached by lines only",
	},
	"llm": {
		ours: []string{"town", "api"},
		why:  "the gateway knows models and money, never agents' lives: whose call it is, it asks by an interface of its own",
	},
	"coordinator": {
		ours:   []string{"town", "api"},
		theirs: []string{"modernc.org/sqlite"},
		why:    "reports outlive this process in a database, which must need no C compiler; who reports, and what an order does, is wired in main",
	},
	"coordinator/tools": {
		ours:   []string{"town", "api", "coordinator", "sock"},
		theirs: []string{"github.com/google/jsonschema-go"}, // makes the tools' schemas of our types; the MCP SDK needs it anyway
		why:    "the agents' socket passes on what agents ask; who decides is wired in main",
	},
	"coordinator/townhall": {
		ours:   []string{"town", "api", "api/wire", "coordinator"},
		theirs: []string{"modernc.org/sqlite", "github.com/gorilla/mux"},
		why: "the town's facts are in one SQLite file, by a driver without cgo so that the program stays static; " +
			"the container is reached by its control API only",
	},
	"supervisor/rules": {
		ours:   []string{"town"},
		theirs: []string{"mvdan.cc/sh/v3"},
		why:    "what an agent may not do is judged from the call alone: no I/O",
	},
	"supervisor/typing": {
		ours: []string{"town", "supervisor/screen"},
		why:  "typing looks at a screen and presses keys; whose terminal it is, it does not know",
	},
	"api": {
		ours:   []string{"town"},
		theirs: []string{"nhooyr.io/websocket"},
		why:    "clients are for people outside too: they see the contract, never the rooms behind it",
	},
	"api/wire": {
		ours:   []string{"town", "api"},
		theirs: []string{"github.com/gorilla/mux"},
		why:    "the servers of the contract read requests and write answers alike; what is asked, they know",
	},
	"supervisor": {
		ours: []string{
			"town", "supervisor/transcript", "supervisor/screen", "supervisor/keeper", "supervisor/agentcli", "supervisor/rules",
			"supervisor/typing", "supervisor/artifact", "gitmgr", "prompts",
		},
		theirs: []string{"github.com/hashicorp/go-multierror", "github.com/google/renameio/v2", "golang.org/x/sys"},
		why:    "an agent's life needs its rooms, and no face: HTTP can change without it",
	},
	"container/ui": {
		why: "files for browsers and how they are served; what they show they ask for at the API",
	},
	"container": {
		ours: []string{"town", "api", "api/wire", "container/ui", "supervisor/transcript", "supervisor/screen", "supervisor", "gitmgr", "llm"},
		theirs: []string{
			"github.com/getkin/kin-openapi", "github.com/google/renameio/v2", "github.com/gorilla/mux", "github.com/prometheus/client_golang",
			"github.com/shirou/gopsutil/v3", "nhooyr.io/websocket",
		},
		why: "the face asks the supervisor; it starts no process and runs no git itself",
	},
	"cmd/townd": {
		ours: []string{
			"town", "api", "container", "supervisor", "supervisor/keeper", "supervisor/transcript", "supervisor/screen",
			"supervisor/agentcli", "supervisor/driver", "supervisor/rules", "gitmgr", "gitmgr/forge", "gitmgr/githubapp", "prompts", "llm",
			"coordinator", "coordinator/tools", "coordinator/townhall", "api/wire",
		},
		theirs: []string{
			"github.com/google/renameio/v2", "github.com/hashicorp/go-multierror", "github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/sys",
			"golang.org/x/term",
			"charm.land/bubbletea/v2",                // the terminal of townd top: keys, sizes, drawing what changed
			"github.com/charmbracelet/x",             // widths of characters, as bubbletea counts them
			"github.com/modelcontextprotocol/go-sdk", // the protocol by which CLIs call the town's tools, by those who define it
		},
		why: "main wires the rooms together",
	},
}

// helpers are for tests and load programs only, so they may import anything;
// no package of the program imports them.
var helpers = []string{
	"api/conformance", "bench", "cmd/townd/e2e", "cmd/townd/tmuxtest", "container/ui/e2e", "docs/picture", "gitmgr/gittest", "supervisor/agenttest", "llm/llmtest", "coordinator/tools/tooltest", "worker",
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, "townd/")
		if path == "townd" || isHelper(path) {
			continue
		}
		r, ok := rules[path]
		if !ok {
			t.Errorf("%s has no line in the table: say what it may import, and why", path)
			continue
		}
		for _, imported := range p.Imports {
			if !r.allows(imported) {
				t.Errorf("%s imports %s, which it may not: %s", path, imported, r.why)
			}
		}
	}
}

func (r rule) allows(imported string) bool {
	if ours, ok := strings.CutPrefix(imported, "townd/"); ok {
		return slices.Contains(r.ours, ours)
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") {
		return true // the standard library
	}
	return slices.ContainsFunc(r.theirs, func(module string) bool {
		return imported == module || strings.HasPrefix(imported, module+"/")
	})
}

func isHelper(path string) bool {
	return slices.ContainsFunc(helpers, func(h string) bool { return path == h || strings.HasPrefix(path, h+"/") })
}

// TestImportsTableHasNoCycle proves that the table itself is an order: a package
// never gets, by way of others, what may not import it.
func TestImportsTableHasNoCycle(t *testing.T) {
	var visit func(path string, above []string)
	visit = func(path string, above []string) {
		if slices.Contains(above, path) {
			t.Fatalf("cycle in the table: %s", strings.Join(append(above, path), " -> "))
		}
		for _, next := range rules[path].ours {
			visit(next, append(slices.Clone(above), path))
		}
	}
	for path := range rules {
		visit(path, nil)
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string // without those of test files
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}
