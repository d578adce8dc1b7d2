package prompts_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/coordinator/tools"
	"townd/prompts"
	"townd/town"
)

var update = flag.Bool("update", false, "rewrite testdata")

// kinds are the ways in which an agent may be equipped.
var kinds = map[string]func(town.Role, *prompts.Data){
	"tools": func(role town.Role, d *prompts.Data) { d.Tools = tools.Names(role) },
	"shell": func(role town.Role, d *prompts.Data) { d.Tools, d.ToolPrefix = tools.Names(role), prompts.ShellPrefix },
	"planned": func(role town.Role, d *prompts.Data) { // with tools that prompts know and no town has yet
		d.Tools = append(tools.Names(role), "gt_ui_action", "gt_triage_resolve")
	},
	"bare": func(town.Role, *prompts.Data) {},
	"report": func(_ town.Role, d *prompts.Data) {
		d.Report, d.Rules, d.CustomInstructions = true, []string{"Publishing.", "Printing the environment."}, "Speak Dutch to people."
	},
}

func render(t *testing.T, role town.Role, kind string) string {
	t.Helper()
	d := prompts.Data{
		Name: "Toast", Identity: "acme/web/polecats/toast", AgentID: "agent-1", RigID: "web", TownID: "acme",
		Branch: "polecat/toast/bd-12345", DefaultBranch: "main", BeadID: "bd-1234567", Workdir: "/rigs/web/toast", ToolPrefix: "mcp__gastown__",
	}
	kinds[kind](role, &d)
	got, err := prompts.Render(role, d)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPromptsEqualTheirGoldens(t *testing.T) {
	for _, role := range town.Roles() {
		for kind := range kinds {
			if kind == "planned" {
				continue
			}
			got := render(t, role, kind)
			golden := filepath.Join("testdata", string(role)+"-"+kind+".md")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", role, kind, diff)
			}
		}
	}
}

// TestEveryToolOfARoleIsExplained, under the name that the agent's CLI gives it.
func TestEveryToolOfARoleIsExplained(t *testing.T) {
	for _, role := range town.Roles() {
		got := render(t, role, "tools")
		for _, name := range tools.Names(role) {
			if !strings.Contains(got, "`mcp__gastown__"+name+"`") {
				t.Errorf("%s is not told of %s", role, name)
			}
		}
	}
}

// TestNoPromptNamesAToolThatIsNotThere, nor leaves holes where data is missing.
func TestNoPromptNamesAToolThatIsNotThere(t *testing.T) {
	tool := regexp.MustCompile(`gt_[a-z_]+`)
	for _, role := range town.Roles() {
		got, err := prompts.Render(role, prompts.Data{Name: "Toast"})
		if err != nil {
			t.Fatal(err)
		}
		if found := tool.FindString(got); found != "" {
			t.Errorf("%s names %s", role, found)
		}
		for _, hole := range []string{"<no value>", "``", ": \n", "HEAD:", "\n\n\n\n"} {
			if strings.Contains(got, hole) {
				t.Errorf("%s has a hole %q:\n%s", role, hole, got)
			}
		}
	}
}

func TestARoleWithoutAPromptIsInvalid(t *testing.T) {
	for _, role := range []town.Role{"", "king", "common", "../polecat"} {
		if _, err := prompts.Render(role, prompts.Data{}); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("Render(%q): %v, want ErrInvalid", role, err)
		}
	}
}
