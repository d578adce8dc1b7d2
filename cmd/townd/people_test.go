package main

import (
	"net/http"
	"strings"
	"testing"

	"townd/api"
	"townd/town"
)

// hallOf is the coordinator of a town as an agent's tools reach it.
func hallOf(t *testing.T, tt *testTown) *api.HallClient {
	t.Helper()
	token, err := readToken(tt.home)
	if err != nil {
		t.Fatal(err)
	}
	return api.NewHall("http://"+tt.listen, defaultTown, token, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
}

// What agents and people say to each other, from the side of the people; the mayor is
// a program that reads mail only.
func TestMailEscalationsAndQuestionsReachPeople(t *testing.T) {
	tt := startQuietTown(t)
	hall := hallOf(t, tt)
	// Its first call comes before any heartbeat can have told of it.
	tt.ok("start", "--repo", tt.repo, "--role", "mayor", "--id", "mayor", "--name", "Ada", "--", "sh", "-c",
		`townd tool gt_prime || exit 3; townd tool gt_ask '{"question": "which schema?", "options": ["old", "new"]}'; townd tool gt_mail_check; read -r end`)
	out := newBuffer()
	tt.background(t.Context(), out, "logs", "-f", "mayor")
	out.await(t, "role mayor")
	var q town.Question
	waitFor(t, "the question", func() bool {
		list := answerOf[api.QuestionList](t, tt, "ask", "ls")
		if len(list.Questions) == 1 {
			q = list.Questions[0]
		}
		return q.ID != ""
	})
	wantContains(t, "ask ls", tt.ok("ask", "ls"), shortID(q.ID), "mayor", "which schema?", "old | new")
	wantContains(t, "town status", tt.ok("town", "status"), "waits for you", "which schema?", "paused: for the test", "mayor")

	mail := strings.TrimSpace(tt.ok("mail", "send", "mayor", "good", "morning", "--body", "all is well"))
	wantContains(t, "mail ls", tt.ok("mail", "ls"), mail, "person", "mayor", "good morning", "all is well")
	if list := answerOf[api.MailList](t, tt, "mail", "ls", "--to", "mayor"); len(list.Mail) != 1 || list.Mail[0].Body != "all is well" {
		t.Errorf("mail ls --json: %+v", list)
	}

	wantContains(t, "ask answer", tt.ok("ask", "answer", shortID(q.ID), "the", "new", "one"), shortID(q.ID)+" answered")
	out.await(t, "the new one")
	out.await(t, "good morning")
	if strings.Contains(out.String(), "There is no such thing") || strings.Contains(out.String(), "does not allow") {
		t.Errorf("the mayor was not known:\n%s", out)
	}
	wantContains(t, "ask ls --all", tt.ok("ask", "ls", "--all"), "answered", "the new one")
	if list := answerOf[api.QuestionList](t, tt, "ask", "ls"); len(list.Questions) != 0 {
		t.Errorf("answered questions wait: %+v", list)
	}
	wantContains(t, "mail ack", tt.ok("mail", "ack", mail), mail+" acknowledged")
	if got := tt.ok("mail", "ls"); strings.Contains(got, mail) {
		t.Errorf("acknowledged mail is listed:\n%s", got)
	}
	wantContains(t, "mail ls --all", tt.ok("mail", "ls", "--all"), mail)

	for range 2 {
		if _, _, err := hall.As("mayor").Escalate(t.Context(), town.EscalationRequest{Title: "no disk", Severity: town.PriorityHigh, AgentID: "mayor", Cause: "disk"}); err != nil {
			t.Fatal(err)
		}
	}
	list := answerOf[api.EscalationList](t, tt, "escalations")
	if len(list.Escalations) != 1 || list.Escalations[0].Count != 2 {
		t.Fatalf("escalations --json: %+v", list)
	}
	id := shortID(list.Escalations[0].ID)
	wantContains(t, "escalations", tt.ok("escalations"), id, "high", "no disk", "mayor")
	wantContains(t, "town status", tt.ok("town", "status"), "needs judgement", "no disk")
	wantContains(t, "escalations ack", tt.ok("escalations", "ack", id, "I look at it"), id+" acknowledged")
	wantContains(t, "escalations close", tt.ok("escalations", "close", id, "there is a new one"), id+" closed")
	if got := tt.ok("escalations"); strings.Contains(got, id) {
		t.Errorf("a closed escalation is listed:\n%s", got)
	}
	wantContains(t, "escalations --all", tt.ok("escalations", "--all"), id, "closed")
	out.await(t, "answer to your escalation: no disk")

	asked, err := hall.Ask(t.Context(), "mayor", town.AskRequest{Question: "really?", Options: []string{"yes", "no"}})
	if err != nil {
		t.Fatal(err)
	}
	wantContains(t, "ask answer --cancel", tt.ok("ask", "answer", "--cancel", shortID(asked.ID), "never mind"), "cancelled")
	if s := answerOf[town.TownStatus](t, tt, "town", "resume"); s.Paused != "" || s.TownID != defaultTown || s.Instance == nil {
		t.Errorf("town resume --json: %+v", s)
	}
}
