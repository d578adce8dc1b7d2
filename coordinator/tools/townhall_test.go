package tools_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/coordinator/tools"
	"townd/coordinator/tools/tooltest"
	"townd/coordinator/townhall"
	"townd/town"
)

// TestTheEmbeddedCoordinatorTakesTheCallsOfTools: what the tools say is what it
// understands, as the mayor and as a polecat that it knows by a heartbeat.
func TestTheEmbeddedCoordinatorTakesTheCallsOfTools(t *testing.T) {
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	hall, err := townhall.Open(t.Context(), townhall.Config{Path: filepath.Join(t.TempDir(), "hall.db"), TownID: tooltest.TownID, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hall.Close(); err != nil {
			t.Error(err)
		}
	})
	handler := hall.Handler(townhall.HandlerConfig{Authorize: func(*http.Request) error { return nil }, Log: log})
	person := api.NewHall("http://hall", tooltest.TownID, tooltest.Token, &http.Client{Transport: api.HandlerTransport(handler)})
	o := newOffice(t)
	o.staff.hall = &tooltest.Hall{}
	o.Desk = tools.NewDesk(tools.DeskConfig{Workers: o.staff, Hall: person, Log: log})

	now := time.Now()
	if _, _, err := person.PutRig(t.Context(), "web", town.RigSettings{GitURL: "https://example.com/web.git"}); err != nil {
		t.Fatal(err)
	}
	if _, err := person.Heartbeat(t.Context(), town.Heartbeat{
		InstanceID: "one", StartedAt: now, SentAt: now, Status: "ok",
		Agents: []town.AgentHeartbeat{
			{AgentID: "toast", RigID: "web", Role: town.RolePolecat, Status: town.StatusRunning, Generation: 7, ActiveTools: []string{}},
			{AgentID: "refinery-web", RigID: "web", Role: town.RoleRefinery, Status: town.StatusRunning, Generation: 1, ActiveTools: []string{}},
			{AgentID: "mayor", RigID: "web", Role: town.RoleMayor, Status: town.StatusRunning, ActiveTools: []string{}},
		},
	}); err != nil {
		t.Fatal(err)
	}

	id := regexp.MustCompile(`[0-9a-z]{26}`)
	bead := id.FindString(o.must("mayor", "gt_sling", `{"rig_id": "web", "title": "a page", "body": "that says hello", "priority": "high", "labels": ["tidy"]}`))
	convoy := id.FindString(o.must("mayor", "gt_sling_batch", `{"rig_id": "web", "title": "all", "staged": true, "tasks": [{"title": "one"}, {"title": "two", "depends_on": [0]}]}`))
	for _, c := range []struct{ agent, tool, arguments, says string }{
		{"mayor", "gt_prime", `{}`, "role mayor"},
		{"mayor", "gt_list_rigs", `{}`, "1 rigs"},
		{"mayor", "gt_list_beads", `{"status": "open", "label": "tidy"}`, bead},
		{"mayor", "gt_list_agents", `{}`, "toast"},
		{"mayor", "gt_bead_update", `{"bead_id": "` + bead + `", "title": "a better page", "depends_on_ids": [], "hold": "wait"}`, "better"},
		{"mayor", "gt_note", `{"bead_id": "` + bead + `", "text": "look at the old one"}`, "Noted"},
		{"mayor", "gt_bead_status", `{"bead_id": "` + bead + `"}`, "look at the old one"},
		{"mayor", "gt_bead_reassign", `{"bead_id": "` + bead + `", "reason": "once more"}`, "another begins"},
		{"mayor", "gt_convoy_list", `{}`, convoy},
		{"mayor", "gt_convoy_get", `{"convoy_id": "` + convoy + `"}`, "0 of 2 beads closed"},
		{"mayor", "gt_convoy_add", `{"convoy_id": "` + convoy + `", "bead_id": "` + bead + `"}`, "belongs to convoy"},
		{"mayor", "gt_convoy_start", `{"convoy_id": "` + convoy + `"}`, "is started"},
		{"mayor", "gt_bead_close", `{"bead_id": "` + bead + `", "reason": "it is not wanted any more"}`, "is closed"},
		{"mayor", "gt_convoy_close", `{"convoy_id": "` + convoy + `", "reason": "it is not wanted"}`, "is closed"},
		{"mayor", "gt_nudge", `{"target_agent_id": "toast", "message": "look at line 3"}`, "Told toast"},
		{"mayor", "gt_mail_send", `{"to_agent_id": "toast", "subject": "hello", "body": "how are you?"}`, "Sent"},
		{"mayor", "gt_agent_stop", `{"agent_id": "toast", "reason": "not wanted"}`, "told to end"},
		{"mayor", "gt_status", `{"message": "planning"}`, "Told"},
		{"toast", "gt_prime", `{}`, "how are you?"},
		{"toast", "gt_status", `{"message": "reading"}`, "Told"},
		{"toast", "gt_mail_send", `{"to_agent_id": "mayor", "subject": "well"}`, "Sent"},
		{"toast", "gt_nudge", `{"target_agent_id": "mayor", "message": "see my mail"}`, "Told mayor"},
		{"toast", "gt_bead_create", `{"title": "other work", "type": "bug"}`, "Filed"},
		{"toast", "gt_ask", `{"question": "which way?", "options": ["left", "right"], "wait_seconds": 0.01}`, "No answer in time"},
		{"toast", "gt_list_questions", `{}`, "which way?"},
		{"refinery", "gt_prime", `{}`, "role refinery"},
	} {
		if text := o.must(c.agent, c.tool, c.arguments); !strings.Contains(text, c.says) {
			t.Errorf("%s calls %s: %s, want %q", c.agent, c.tool, text, c.says)
		}
	}
	questions, err := person.Questions(t.Context(), "")
	if err != nil || len(questions) != 1 {
		t.Fatalf("questions %+v, %v", questions, err)
	}
	if _, err := person.AnswerQuestion(t.Context(), questions[0].ID, "left"); err != nil {
		t.Fatal(err)
	}
	if text := o.must("toast", "gt_get_answer", `{"question_id": "`+questions[0].ID+`"}`); !strings.Contains(text, ">left<") {
		t.Errorf("answer: %s", text)
	}
	mail, err := person.AgentMail(t.Context(), "toast")
	if err != nil || len(mail) == 0 {
		t.Fatalf("mail %+v, %v", mail, err)
	}
	if text := o.must("toast", "gt_mail_check", `{"ack": ["`+mail[0].ID+`"]}`); !strings.Contains(text, "1 letters acknowledged, 1 wait") {
		t.Errorf("mail: %s", text)
	}
	o.must("toast", "gt_escalate", `{"title": "no schema"}`)
	open, err := person.Escalations(t.Context(), "open")
	if err != nil || len(open) == 0 || open[0].AgentID != "toast" {
		t.Fatalf("escalations %+v, %v", open, err)
	}
	o.must("mayor", "gt_escalation_acknowledge", `{"escalation_id": "`+open[0].ID+`", "answer": "use schema 2"}`)

	// A bead of another is refused by the coordinator too, should the desk not.
	_, err = person.As("toast").AddNote(t.Context(), bead, api.NoteRequest{Text: "x"})
	t.Logf("toast notes in a bead that is not its own, past the desk: %v", err)
	if err == nil {
		t.Error("the coordinator let toast write into another's bead")
	}
	var none json.RawMessage
	err = person.As("toast").Post(t.Context(), "/agents/mayor/status", api.SayRequest{Message: "I am the mayor"}, &none)
	t.Logf("toast speaks as the mayor, past the desk: %v", err)
	if err == nil {
		t.Error("the coordinator let toast speak as the mayor")
	}
}
