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

var full = prompts.Data{
	Name: "Toast", Identity: "acme/web/polecats/toast", AgentID: "agent-1", RigID: "web", TownID: "acme",
	Branch: "polecat/toast/bd-12345", DefaultBranch: "main", BeadID: "bd-1234567", Workdir: "/rigs/web/toast",
	Tools: []string{
		"gt_prime", "gt_bead_status", "gt_bead_close", "gt_done", "gt_escalate", "gt_checkpoint", "gt_mail_check",
		"gt_mail_send", "gt_status", "gt_sling", "gt_request_changes", "gt_triage_resolve",
	},
	ToolPrefix: "mcp__gastown__",
}

func TestPromptsEqualTheirGoldens(t *testing.T) {
	bare := full
	bare.Tools = nil
	for _, role := range town.Roles() {
		for name, d := range map[string]prompts.Data{"tools": full, "bare": bare} {
			got, err := prompts.Render(role, d)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", string(role)+"-"+name+".md")
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
				t.Errorf("%s, %s (-want +got):\n%s", role, name, diff)
			}
		}
	}
}

// TestPolecatIsToldEveryPoint proves N11.
func TestPolecatIsToldEveryPoint(t *testing.T) {
	got, err := prompts.Render(town.RolePolecat, full)
	if err != nil {
		t.Fatal(err)
	}
	for point, text := range map[string]string{
		"name and role": "You are Toast, a polecat",
		"identity":      "acme/web/polecats/toast",
		"rig":           "web",
		"bead":          "bd-1234567",
		"GUPP":          "If there is work on your hook, you run it.",
		"push":          "git push origin HEAD:polecat/toast/bd-12345",
		"commit often":  "Commit after each step",
		"done flow":     "push, then call `mcp__gastown__gt_done`",
		"escalation":    "Call `mcp__gastown__gt_escalate` with what you tried",
		"own branch":    "Push only your own branch. Never push to main",
	} {
		if !strings.Contains(got, text) {
			t.Errorf("%s is missing: %q", point, text)
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
		if _, err := prompts.Render(role, full); !errors.Is(err, town.ErrInvalid) {
			t.Errorf("Render(%q): %v, want ErrInvalid", role, err)
		}
	}
}
