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

	"townd/prompts"
	"townd/town"
)

var update = flag.Bool("update", false, "rewrite testdata")

// tools are those that each role has.
var tools = map[town.Role][]string{
	town.RolePolecat: {
		"gt_prime", "gt_bead_status", "gt_bead_close", "gt_bead_create", "gt_note", "gt_done", "gt_escalate", "gt_ask", "gt_checkpoint",
		"gt_mail_check", "gt_mail_send", "gt_nudge", "gt_status",
	},
	town.RoleMayor: {
		"gt_sling", "gt_sling_batch", "gt_list_rigs", "gt_list_beads", "gt_list_agents", "gt_list_convoys", "gt_convoy_start", "gt_bead_status",
		"gt_bead_create", "gt_bead_update", "gt_bead_reassign", "gt_bead_close", "gt_agent_reset", "gt_agent_stop", "gt_nudge", "gt_mail_send",
		"gt_mail_check", "gt_escalation_acknowledge", "gt_ask", "gt_ui_action",
	},
	town.RoleRefinery: {
		"gt_prime", "gt_bead_status", "gt_bead_create", "gt_request_changes", "gt_done", "gt_escalate", "gt_mail_send", "gt_mail_check",
	},
	town.RoleTriage:  {"gt_triage_resolve", "gt_done"},
	town.RoleWitness: {"gt_escalate"},
}

// kinds are the ways in which an agent may be equipped.
var kinds = map[string]func(town.Role, *prompts.Data){
	"tools": func(role town.Role, d *prompts.Data) { d.Tools = tools[role] },
	"bare":  func(town.Role, *prompts.Data) {},
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
	for role, names := range tools {
		got := render(t, role, "tools")
		for _, name := range names {
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
