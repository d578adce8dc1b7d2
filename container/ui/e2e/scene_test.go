package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/api"
	"townd/gitmgr/gittest"
	"townd/llm/llmtest"
	"townd/supervisor/agenttest"
	"townd/town"
)

// sceneTown is the id of the town of the pictures.
const sceneTown = "acme"

// scene is a town in the middle of its work, which the pictures of the docs show:
// real agents, whose model plays a script.
type scene struct {
	*uiTown
	t    *testing.T
	town *api.Client
	hall *api.HallClient
	script
}

// newScene starts the town and returns when all is as the pictures show it.
func newScene(t *testing.T) *scene {
	claude := llmtest.Program(t, "claude")
	s := &scene{t: t, script: script{ends: map[string]bool{}}}
	_, model := llmtest.Serve(t, s.play)
	s.uiTown = serve(t, "PATH="+agenttest.Reachable(t, claude)+":"+os.Getenv("PATH"), "TOWND_TOWN_ID="+sceneTown,
		"LLM_PROVIDER=claude", "LLM_BASE_URL="+model, "LLM_API_KEY=sk-of-nobody",
		"LLM_PRICES=claude-sonnet-4-5=3/15/0.3/3.75", "MAX_CONCURRENT_EXECUTIONS=12")
	s.town, s.hall = api.New(s.url(), token, nil), api.NewHall(s.url(), sceneTown, token, nil)
	s.shop()
	s.handbook()
	s.infra()
	s.byHand()
	s.settle()
	return s
}

// rig makes a repository of files, and a rig of it.
func (s *scene) rig(name string, files map[string]string, settings town.RigSettings) {
	s.t.Helper()
	remote := gittest.NewAt(s.t, filepath.Join(agenttest.Home(s.t), name+".git"), gittest.Options{})
	for file, text := range files {
		remote.Commit(remote.Branch, file, strings.TrimPrefix(text, "\n"))
	}
	settings.GitURL, settings.DefaultBranch = remote.URL(), remote.Branch
	if _, _, err := s.hall.PutRig(s.t.Context(), name, settings); err != nil {
		s.t.Fatal(err)
	}
}

// give makes a bead.
func (s *scene) give(rig string, bead town.BeadRequest) town.Bead {
	s.t.Helper()
	b, _, err := s.hall.CreateBead(s.t.Context(), rig, bead)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

const (
	cart = `
/** What a cart costs, in cents. */
export function total(items, coupon) {
  const sum = items.reduce((n, item) => n + item.price * item.quantity, 0);
  return coupon ? sum - coupon.value : sum;
}
`
	cartTest = `
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { total } from "../src/cart.js";

const items = [{ price: 1250, quantity: 2 }, { price: 400, quantity: 1 }];

describe("a cart", () => {
  it("costs what is in it", () => assert.equal(total(items), 2900));
  it("costs nothing when it is empty", () => assert.equal(total([]), 0));
  it("costs less with a coupon", () => assert.equal(total(items, { value: 500 }), 2400));
});
`
	couponTest = `  it("never costs less than nothing", () => assert.equal(total(items, { value: 5000 }), 0));
});
`
)

// shop is a rig of Claude Code, with more work than it has room for.
func (s *scene) shop() {
	files := map[string]string{
		"package.json":      "{ \"name\": \"shop\", \"type\": \"module\", \"scripts\": { \"test\": \"node --test\" } }\n",
		"src/cart.js":       cart,
		"test/cart.test.js": cartTest,
		"src/prices.js":     "export const format = (cents) => `€${(cents / 100).toFixed(2)}`;\n",
		"src/orders.js":     "export const list = (db) => db.all(\"select * from orders order by id desc\");\n",
	}
	settings := town.RigSettings{CLI: "claude", Model: "claude-sonnet-4-5", MaxAgents: 4, Gates: []town.Gate{{Name: "test", Command: "npm test"}}}
	s.rig("shop", files, settings)
	coupon := s.give("shop", town.BeadRequest{Type: town.BeadBug, Priority: town.PriorityHigh, Title: couponTitle, Body: "A coupon that is worth more than the cart makes the total negative."})
	first := []town.Bead{
		coupon,
		s.give("shop", town.BeadRequest{Type: town.BeadFeature, Title: guestTitle, Body: "Half of those who leave do so at the sign-in."}),
		s.give("shop", town.BeadRequest{Type: town.BeadFeature, Title: currencyTitle}),
		s.give("shop", town.BeadRequest{Title: ordersTitle}),
	}
	for _, b := range first {
		s.await(b, town.BeadInProgress)
	}
	s.give("shop", town.BeadRequest{Priority: town.PriorityHigh, Title: "Send the payment webhook again when it fails"})
	s.give("shop", town.BeadRequest{Type: town.BeadFeature, Title: "Show what a coupon saves beside the total", DependsOn: []string{coupon.ID}})
	s.give("shop", town.BeadRequest{Type: town.BeadChore, Priority: town.PriorityLow, Title: "Remove the old price table"})
}

// The titles by which play knows its sessions.
const (
	couponTitle   = "The total is negative when a coupon is worth more than the cart"
	guestTitle    = "Let guests check out without an account"
	currencyTitle = "Show prices in the visitor's currency"
	ordersTitle   = "The list of orders needs pages"
	weekPrompt    = "Sum up for the weekly letter what was merged"
)

// sessions is what the model says and does, a step for each of its answers. It goes
// on with the last one for ever, as one who thinks.
var sessions = map[string][]llmtest.Step{
	couponTitle: {
		{Text: "I look at how the total is made, and at what its tests say.", Tools: []llmtest.Tool{
			tool("Read", "file_path", "src/cart.js"), tool("Read", "file_path", "test/cart.test.js"),
		}, Usage: used(14_200, 310)},
		{Text: "`total` takes the whole coupon off, whatever is left. First a test that fails:", Tools: []llmtest.Tool{
			tool("Edit", "file_path", "test/cart.test.js", "old_string", "});\n", "new_string", couponTest),
		}, Usage: used(15_100, 420)},
		{Tools: []llmtest.Tool{tool("Bash", "command", "npm test", "description", "Run the tests")}, Usage: used(15_600, 80)},
		{Text: "It fails as the bead says: -2100 instead of 0. Now the cure.", Tools: []llmtest.Tool{
			tool("Edit", "file_path", "src/cart.js", "old_string", "sum - coupon.value", "new_string", "Math.max(0, sum - coupon.value)"),
		}, Usage: used(16_400, 260)},
		{Tools: []llmtest.Tool{tool("Bash", "command", "npm test", "description", "Run the tests")}, Usage: used(16_900, 70)},
		{Tools: []llmtest.Tool{tool("mcp__gastown__gt_status", "message", "all four tests pass; looking for other callers of total")}, Usage: used(17_300, 90)},
		{Text: "All four tests pass. Before I hand it over I look for other places that take a coupon off.", Tools: []llmtest.Tool{
			tool("Bash", "command", "grep -rn coupon src", "description", "Find other callers"),
		}, Usage: used(17_800, 130)},
		{Text: "Only the cart does. I read the diff once more, then commit.", Hang: true},
	},
	guestTitle: {
		{Text: "I read how an order finds its owner.", Tools: []llmtest.Tool{
			tool("Bash", "command", "grep -rn customer src", "description", "Find the owner of an order"), tool("Read", "file_path", "src/orders.js"),
		}, Usage: used(12_900, 240)},
		{Text: "One thing the bead leaves open, and I cannot decide it.", Tools: []llmtest.Tool{
			{Name: "mcp__gastown__gt_ask", Input: map[string]any{
				"question": "When a guest signs up later with the same address, what becomes of the earlier orders?",
				"options":  []string{"Add them to the account", "Keep them apart"},
			}},
		}, Usage: used(13_400, 190)},
	},
	currencyTitle: {
		{Text: "Prices are formatted in one place. I look who calls it.", Tools: []llmtest.Tool{
			tool("Read", "file_path", "src/prices.js"), tool("Bash", "command", "grep -rn format src", "description", "Find who formats prices"),
		}, Usage: used(11_800, 200)},
		{Tools: []llmtest.Tool{tool("mcp__gastown__gt_status", "message", "moving the formatting to Intl.NumberFormat")}, Usage: used(12_200, 60)},
		{Text: "`Intl.NumberFormat` knows every currency, so no table of ours is needed.", Tools: []llmtest.Tool{
			tool("Write", "file_path", "src/prices.js", "content", "export const format = (cents, currency = \"EUR\", locale = \"en\") =>\n  new Intl.NumberFormat(locale, { style: \"currency\", currency }).format(cents / 100);\n"),
		}, Usage: used(12_700, 340)},
		{Tools: []llmtest.Tool{tool("Bash", "command", "npm test", "description", "Run the tests")}, Usage: used(13_300, 70)},
		{Text: "The tests pass. Next: the visitor's currency has to reach `format`, from the request's locale.", Hang: true},
	},
	ordersTitle: {
		{Text: "The list reads the whole table; with pages by offset it would skip orders that come in meanwhile. I page by id.", Tools: []llmtest.Tool{
			tool("Read", "file_path", "src/orders.js"),
		}, Usage: used(10_400, 280)},
		{Tools: []llmtest.Tool{
			tool("Write", "file_path", "src/orders.js", "content", "export const list = (db, before = Infinity, most = 50) =>\n  db.all(\"select * from orders where id < ? order by id desc limit ?\", before, most);\n"),
		}, Usage: used(10_900, 300)},
		{Tools: []llmtest.Tool{tool("mcp__gastown__gt_status", "message", "pages by id; now a test with 120 orders")}, Usage: used(11_300, 60)},
		{Text: "Now a test with 120 orders, of which the second page must be the next 50.", Hang: true},
	},
	weekPrompt: {
		{Tools: []llmtest.Tool{tool("Bash", "command", "git log --oneline -5", "description", "What was merged")}, Usage: used(9_100, 90)},
		{Text: "This week: carts cost what is in them, also with a coupon; prices have one format; orders are listed newest first.", Usage: used(9_400, 120)},
	},
}

func tool(name string, input ...string) llmtest.Tool {
	t := llmtest.Tool{Name: name, Input: map[string]any{}}
	for i := 0; i < len(input); i += 2 {
		t.Input[input[i]] = input[i+1]
	}
	return t
}

// used is the usage of an answer, most of whose input is cached.
func used(input, output int64) llmtest.Usage {
	return llmtest.Usage{Input: input / 10, CacheRead: input - input/10, Output: output}
}

// script plays the sessions, and knows how far each has come.
type script struct {
	mu   sync.Mutex
	ends map[string]bool // by title
}

// over reports whether each session has come to its last step.
func (p *script) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ends) == len(sessions)
}

// play is the model of all sessions.
func (p *script) play(r *llmtest.Request) llmtest.Step {
	said, text := 0, ""
	for _, m := range r.Messages {
		if m.Role == "assistant" {
			said++
		}
		text += m.Text
	}
	for title, steps := range sessions {
		if strings.Contains(text, title) {
			if said >= len(steps)-1 {
				p.mu.Lock()
				p.ends[title] = true
				p.mu.Unlock()
			}
			return steps[min(said, len(steps)-1)]
		}
	}
	return llmtest.Step{Text: "I wait for work."}
}

// handbook is a rig of the built-in agent, which is done at once: what was merged,
// what waits in the queue and what did not pass.
func (s *scene) handbook() {
	const check = `
for page in *.md; do
  case $page in
  *glossary*) echo "FAIL $page: 3 links lead nowhere"; exit 1 ;;
  *german*) sleep 600 ;;
  esac
done
echo "ok: every link leads somewhere"
`
	s.rig("handbook", map[string]string{"check.sh": check}, town.RigSettings{
		CLI: "demo", EnvVars: map[string]string{"DEMO_FAST": "1"}, Gates: []town.Gate{{Name: "links", Command: "sh check.sh"}},
	})
	for _, title := range []string{"Explain refunds in the handbook", "Write the release notes of 2.4", "Say how a webhook is signed", "Describe the limits of the API"} {
		s.await(s.give("handbook", town.BeadRequest{Type: town.BeadDocs, Title: title}), town.BeadClosed)
	}
	s.await(s.give("handbook", town.BeadRequest{Type: town.BeadDocs, Title: "Add a glossary", MaxAttempts: 1}), town.BeadFailed)
	s.give("handbook", town.BeadRequest{Type: town.BeadDocs, Title: "Translate the FAQ into German"})
}

// infra is a rig of a program that only has a terminal.
func (s *scene) infra() {
	const script = `
say() { printf '\033[%sm%s\033[0m\n' "$1" "$2"; }
if grep -q certificates "$TOWND_PROMPT_FILE"; then
  say 31 "error: the registrar refused the request (403)"
  exit 1
fi
say 1 "PostgreSQL 16.4 -> 17.2 on staging"
echo
for step in "cluster versions" "install user" "prepared transactions" "data types" "loadable libraries"; do
  printf 'checking %-24s' "$step"; say 32 ok
done
echo
say 36 "copying user relation files"
for table in accounts carts coupons orders order_lines payments; do
  printf '  public.%-20s' "$table"; say 32 "done"
done
printf '  public.%-20s' events; say 33 "41 of 118 GB"
exec sleep 600
`
	s.rig("infra", map[string]string{"README.md": "# infra\n"}, town.RigSettings{CLI: "command", Command: []string{"/bin/sh", "-c", script}})
	s.await(s.give("infra", town.BeadRequest{Type: town.BeadChore, Title: "Renew the certificates of staging", MaxAttempts: 1}), town.BeadFailed)
	s.give("infra", town.BeadRequest{Type: town.BeadChore, Priority: town.PriorityHigh, Title: "Move staging to PostgreSQL 17"})
}

// byHand starts agents without beads.
func (s *scene) byHand() {
	rigs, err := s.hall.Rigs(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	start := func(name, rig string, req town.StartRequest) {
		for _, r := range rigs {
			if r.RigID == rig {
				req.GitURL = r.GitURL
			}
		}
		req.AgentID, req.Name, req.RigID, req.TownID, req.Role = name, name, rig, sceneTown, town.RolePolecat
		req.Branch, req.DefaultBranch = "polecat/"+name+"/1", "main"
		if _, err := s.town.Start(s.t.Context(), req); err != nil {
			s.t.Fatal(err)
		}
	}
	start("scribe", "shop", town.StartRequest{CLI: "claude", Model: "claude-sonnet-4-5", Prompt: weekPrompt})
	start("watcher", "shop", town.StartRequest{
		CLI: "command", Command: []string{"node", "--test", "--watch"}, Cols: 80, Rows: 24,
	})
	start("notes", "handbook", town.StartRequest{
		CLI: "demo", Prompt: "Write down who is on call in December", EnvVars: map[string]string{"DEMO_FAST": "1", "DEMO_STAY": "1"},
	})
}

// await waits until a bead has a status: beads have no event to wait for.
func (s *scene) await(b town.Bead, want town.BeadStatus) {
	s.t.Helper()
	s.until(b.Title+" is "+string(want), func() bool {
		b, err := s.hall.Bead(s.t.Context(), b.ID)
		return err == nil && b.Status == want
	})
}

func (s *scene) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// settle waits until every session has come to its last step, the question is asked
// and a merge is at its checks.
func (s *scene) settle() {
	s.t.Helper()
	s.until("every session has come to its end", s.over)
	s.until("somebody asks and merges", func() bool {
		status, err := s.hall.TownStatus(s.t.Context())
		return err == nil && len(status.Questions) == 1 && len(status.Merges) == 1
	})
}

// agentAt returns the agent that works on the bead of that title.
func (s *scene) agentAt(title string) string {
	s.t.Helper()
	list, err := s.hall.Beads(s.t.Context(), api.BeadQuery{Text: title})
	if err != nil || len(list.Beads) != 1 {
		s.t.Fatalf("%d beads %q: %v", len(list.Beads), title, err)
	}
	return list.Beads[0].AgentID
}
