package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"townd/api"
	"townd/town"
)

// refusalCases are about calls that cannot be carried out.
var refusalCases = []Case{
	{Name: "who has no token is refused", run: noToken},
	{Name: "another town, path or method is not found", run: noSuchPath},
	{Name: "unknown ids are not found", run: unknownIDs},
	{Name: "ids that are none are named", run: badIDs},
	{Name: "every wrong field is named", run: wrongFields},
	{Name: "bodies that are no JSON are refused", run: noJSON},
	{Name: "huge texts and bodies are refused", run: huge},
	{Name: "unknown fields are named and not refused", run: unknownFields},
	{Name: "wrong parameters are named", run: wrongParams},
	{Name: "what contradicts the state is refused", run: contradictions},
}

func noToken(t *T) {
	path := "/api/towns/" + t.target.TownID + "/beads"
	for name, header := range map[string][]string{
		"no header": nil, "another token": {"Authorization", "Bearer not-the-token"}, "another scheme": {"Authorization", "Basic " + t.target.Token},
		"an empty token": {"Authorization", "Bearer "},
	} {
		if a := t.send("GET", path, nil, header...); a.status != http.StatusUnauthorized {
			t.Errorf("a call with %s is answered %v, want 401", name, a)
		}
	}
	if a := t.send("POST", "/api/towns/"+t.target.TownID+"/heartbeat", []byte(`{}`)); a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("a heartbeat without a token is answered %v, want 401 and WWW-Authenticate", a)
	}
}

func noSuchPath(t *T) {
	auth := []string{"Authorization", "Bearer " + t.target.Token}
	for _, path := range []string{"/api/towns/another-town/status", "/api/towns/" + t.target.TownID + "/no-such-thing", "/api/towns/" + t.target.TownID} {
		if a := t.send("GET", path, nil, auth...); a.status != http.StatusNotFound {
			t.Errorf("GET %s is answered %v, want 404", path, a)
		}
	}
	if a := t.call("DELETE", "/heartbeat", ""); a.status != http.StatusMethodNotAllowed || !strings.Contains(a.header.Get("Allow"), "POST") {
		t.Errorf("DELETE of a heartbeat is answered %v with Allow %q, want 405 and POST", a, a.header.Get("Allow"))
	}
}

func unknownIDs(t *T) {
	no := newID()
	for call, body := range map[string]string{
		"GET /rigs/" + no: "", "DELETE /rigs/" + no: "", "POST /rigs/" + no + "/beads": `{"title":"x"}`,
		"GET /beads/" + no: "", "PATCH /beads/" + no: `{"title":"x"}`, "POST /beads/" + no + "/retry": `{}`, "POST /beads/" + no + "/close": `{}`,
		"GET /beads/" + no + "/notes": "", "POST /beads/" + no + "/notes": `{"text":"x"}`,
		"GET /convoys/" + no: "", "POST /convoys/" + no + "/start": "", "POST /convoys/" + no + "/close": `{}`,
		"POST /convoys":                `{"rigId":"` + no + `","title":"x","tasks":[{"title":"x"}]}`,
		"GET /agents/" + no + "/prime": "", "POST /agents/" + no + "/done": `{"epoch":1}`, "POST /agents/" + no + "/status": `{"message":"x"}`,
		"POST /agents/" + no + "/checkpoint": `{"epoch":1,"data":1}`, "POST /agents/" + no + "/ask": `{"question":"x","options":["a","b"]}`,
		"POST /agents/" + no + "/nudge": `{"message":"x"}`, "POST /agents/" + no + "/stop": `{}`,
		"POST /escalations/" + no + "/acknowledge": `{}`, "POST /escalations/" + no + "/close": `{}`,
		"GET /questions/" + no: "", "POST /questions/" + no + "/answer": `{"answer":"x"}`, "POST /questions/" + no + "/cancel": "",
	} {
		method, path, _ := strings.Cut(call, " ")
		t.want(http.StatusNotFound, method, path, body)
	}
	t.want(http.StatusNotFound, "POST", "/rigs/"+t.rig(paused)+"/review-queue/"+no+"/complete", `{"status":"merged"}`)
}

func badIDs(t *T) {
	for _, path := range []string{"/beads/..", "/beads/a%20b", "/rigs/-x", "/agents/a%2Fb/prime", "/questions/" + strings.Repeat("x", 129), "/convoys/%ff"} {
		t.issues(t.want(http.StatusBadRequest, "GET", path, ""))
	}
}

// issues returns the paths of a refusal's issues.
func (t *T) issues(a answer) []string {
	var p api.Problem
	if err := json.Unmarshal(a.body, &p); err != nil || len(p.Issues) == 0 || p.Error == "" || p.Detail == "" {
		t.Errorf("a refusal is %v, want a problem with issues", a)
	}
	paths := []string{}
	for _, issue := range p.Issues {
		paths = append(paths, issue.Path)
		if issue.Message == "" {
			t.Errorf("the issue of %s says nothing", issue.Path)
		}
	}
	return paths
}

func wrongFields(t *T) {
	rig := t.rig(paused)
	b := t.create(rig, "x")
	for _, c := range []struct{ method, path, body, names string }{
		{"PUT", "/rigs/new", `{}`, "gitUrl"},
		{"PUT", "/rigs/new", `{"gitUrl":7,"gates":{"command":"x"},"limits":{"seconds":"1"},"envVars":{"A":1}}`, "gitUrl gates limits.seconds envVars.A"},
		{"PUT", "/rigs/new", `{"gitUrl":"https://git.example.com/x.git","maxAgents":-1}`, "maxAgents"},
		{"PUT", "/rigs/new", `{"gitUrl":"https://git.example.com/x.git","merge":{"mode":"by force"}}`, "merge.mode"},
		{"PUT", "/rigs/new", `{"gitUrl":"https://git.example.com/x.git","envVars":{"LD_PRELOAD":"x"}}`, "envVars.LD_PRELOAD"},
		{"POST", "/rigs/" + rig + "/beads", `{}`, "title"},
		{"POST", "/rigs/" + rig + "/beads", `{"title":""}`, "title"},
		{"POST", "/rigs/" + rig + "/beads", `{"title":["x"],"labels":"x","dependsOn":[1],"notBefore":"soon","maxAttempts":"3"}`, "title labels dependsOn[0] notBefore maxAttempts"},
		{"POST", "/rigs/" + rig + "/beads", `{"title":"x","type":"epic"}`, "type"},
		{"POST", "/rigs/" + rig + "/beads", `{"title":"x","priority":"urgent"}`, "priority"},
		{"POST", "/rigs/" + rig + "/beads", `{"title":"x","maxAttempts":-1}`, "maxAttempts"},
		{"POST", "/rigs/" + rig + "/beads", `{"title":"x","metadata":[1]}`, "metadata"},
		{"PATCH", "/beads/" + b.ID, `{"title":""}`, "title"},
		{"PATCH", "/beads/" + b.ID, `{"priority":"urgent"}`, "priority"},
		{"PATCH", "/beads/" + b.ID, `{"status":"in_review"}`, "status"},
		{"POST", "/beads/" + b.ID + "/notes", `{}`, "text"},
		{"POST", "/convoys", `{"rigId":"` + rig + `","title":"x","tasks":[]}`, "tasks"},
		{"POST", "/convoys", `{"rigId":"` + rig + `","title":"x","tasks":[{"title":"a","dependsOn":[7]}]}`, "tasks[0].dependsOn[0]"},
		{"POST", "/mail", `{"to":"mayor"}`, "subject"},
		{"POST", "/mail", `{"subject":"x"}`, "to"},
		{"POST", "/escalations", `{}`, "title"},
		{"POST", "/escalations", `{"title":"x","severity":"dire"}`, "severity"},
		{"POST", "/heartbeat", `{"agents":[]}`, "instanceId"},
		{"POST", "/heartbeat", `{"instanceId":"x","agents":"none"}`, "agents"},
		{"POST", "/events", `{"events":[]}`, "instanceId"},
	} {
		got := t.issues(t.want(http.StatusBadRequest, c.method, c.path, c.body))
		for name := range strings.FieldsSeq(c.names) {
			if !slices.Contains(got, name) {
				t.Errorf("%s %s %s names %q, want %s too", c.method, c.path, c.body, got, name)
			}
		}
	}
	t.same(b)
}

func noJSON(t *T) {
	rig := t.rig(paused)
	for _, body := range []string{"", "{", "[]", `"x"`, "null x", "{}{}", "\xff\xfe", `{"title":"\ud800"}`} {
		a := t.call("POST", "/rigs/"+rig+"/beads", body)
		if a.status != http.StatusBadRequest {
			t.Errorf("the body %q is answered %v, want 400", body, a)
			continue
		}
		t.issues(a)
	}
}

func huge(t *T) {
	rig := t.rig(paused)
	b := t.work(t.rig())
	long := func(n int) string { return strings.Repeat("x", n) }
	t.want(http.StatusRequestEntityTooLarge, "POST", "/rigs/"+rig+"/beads", `{"title":"x","body":"`+long(api.MaxBodyBytes)+`"}`)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/rigs/" + rig + "/beads", `{"title":"` + long(501) + `"}`},
		{"POST", "/rigs/" + rig + "/beads", `{"title":"x","body":"` + long(300<<10) + `"}`},
		{"POST", "/agents/" + b.AgentID + "/status", `{"message":"` + long(281) + `"}`},
		{"POST", "/agents/" + b.AgentID + "/checkpoint", `{"epoch":1,"data":"` + long(64<<10) + `"}`},
		{"POST", "/agents/" + b.AgentID + "/ask", `{"question":"x","options":["a","b","c","d","e"]}`},
		{"POST", "/agents/" + b.AgentID + "/ask", `{"question":"x","options":["a"]}`},
		{"POST", "/agents/" + b.AgentID + "/ask", `{"question":"x","options":["a","b"],"waitSeconds":3601}`},
		{"POST", "/agents/" + b.AgentID + "/nudge", `{"message":""}`},
		{"POST", "/agents/" + b.AgentID + "/nudge", `{"message":"x","mode":"loud"}`},
		{"POST", "/escalations", `{"title":"x","body":"` + long(300<<10) + `"}`},
	} {
		if a := t.call(c.method, c.path, c.body); a.status != http.StatusBadRequest && a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s %s %.60s… is answered %v, want 400 or 413", c.method, c.path, c.body, a)
		}
	}
	events := []string{}
	for i := range 1001 {
		events = append(events, fmt.Sprintf(`{"agentId":%q,"runId":"r","id":%d,"event":"text","data":{"text":"x"},"timestamp":"2026-01-02T03:04:05Z"}`, b.AgentID, i+1))
	}
	if a := t.call("POST", "/events", `{"instanceId":"x","events":[`+strings.Join(events, ",")+`]}`); a.status != http.StatusBadRequest && a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("1001 events are answered %v, want 400 or 413", a)
	}
	t.same(b)
}

func unknownFields(t *T) {
	rig := t.rig(paused)
	a := t.want(http.StatusCreated, "POST", "/rigs/"+rig+"/beads", `{"title":"x","colour":"red"}`)
	if got := fmt.Sprint(a.object()["ignored"]); got != "[colour]" {
		t.Errorf("ignored is %s, want colour", got)
	}
	a = t.want(http.StatusOK, "PUT", "/rigs/"+rig, `{"gitUrl":"https://git.example.com/x.git","paused":true,"limits":{"wishes":3}}`)
	if got := fmt.Sprint(a.object()["ignored"]); got != "[limits.wishes]" {
		t.Errorf("ignored is %s, want limits.wishes", got)
	}
	if a := t.want(http.StatusCreated, "POST", "/rigs/"+rig+"/beads", `{"title":"y","priority":null}`); a.object()["ignored"] != nil {
		t.Errorf("a body without unknown fields is answered %v", a)
	}
}

func wrongParams(t *T) {
	for _, path := range []string{
		"/beads?limit=0", "/beads?limit=x", "/beads?rig=a&rig=b", "/beads?type=epic", "/events?after=-1", "/events?limit=1001", "/events?wait=56",
		"/questions?status=maybe", "/escalations?status=maybe", "/merges?status=maybe", "/mail?all=perhaps", "/runs?limit=501", "/beads?%zz",
	} {
		t.issues(t.want(http.StatusBadRequest, "GET", path, ""))
	}
}

func contradictions(t *T) {
	rig := t.rig()
	b := t.work(rig)
	t.refused("forgetting a rig with a bead in progress", t.hall.DeleteRig(t.ctx, rig), town.ErrConflict)
	_, err := t.hall.SaveCheckpoint(t.ctx, b.AgentID, api.CheckpointRequest{Data: raw(1), Epoch: 7})
	t.refused("a checkpoint of another epoch", err, town.ErrConflict)
	t.done(b, 1)
	t.refused("forgetting a rig with a bead in review", t.hall.DeleteRig(t.ctx, rig), town.ErrConflict)
}
