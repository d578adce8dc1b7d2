package worker_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// N12: a container is started by work, sleeps when there is none, and is neither woken
// nor kept awake by somebody who looks.
func TestContainerSleepsThoughSomebodyLooks(t *testing.T) {
	c := newContainer(t)
	e := newEngine(t, c)
	address := freeAddress(t)
	w := serve(t, "", "TOWN_CONTAINER_URL=", "CONTAINER_ENGINE=unix:"+e.socket, "SLEEP_AFTER=3s",
		"PORT="+address[strings.LastIndex(address, ":")+1:], "PUBLIC_URL=http://"+address)
	asleep := func(method, path string) bool {
		status, body := w.container(t, method, path)
		return status == http.StatusServiceUnavailable && body["type"] == "urn:townd:container-away" && strings.Contains(body["detail"].(string), "asleep")
	}
	for _, call := range [][2]string{{"GET", "/agents"}, {"GET", "/health"}, {"POST", "/agents/a/stream-ticket"}, {"GET", "/agents/a/stream"}} {
		if !asleep(call[0], call[1]) {
			t.Errorf("%s %s: the container is not said to be asleep", call[0], call[1])
		}
	}
	if e.everCreated() {
		t.Fatal("a look has made a container")
	}
	hall, _ := newRig(t, w, town.RigSettings{CLI: "command", Command: []string{"bash", "-c", `
		echo your word; read word; echo $word >> page.txt && git add page.txt && git commit -qm page && git push -q origin HEAD &&
		townd tool gt_done '{"summary": "wrote the word that was typed down", "verified": "ALIGNED"}'`}})
	control := api.New(w.url+"/api/towns/"+townID+"/container", token, nil)
	for epoch := range int64(2) {
		b, _, err := hall.CreateBead(t.Context(), "app", town.BeadRequest{Title: "x"})
		if err != nil {
			t.Fatal(err)
		}
		b = until(t, hall, b.ID, town.BeadInProgress)
		var stream *api.Stream
		eventually(t, "the agent can be typed to", func() bool {
			stream, err = control.Stream(t.Context(), b.AgentID, api.StreamOptions{Mode: town.TicketWrite})
			return err == nil
		})
		typeAt(t, stream, "your word", "all is well\n")
		until(t, hall, b.ID, town.BeadClosed)
		stream.Close()
		eventually(t, "the container sleeps", func() bool { return asleep("GET", "/agents") })
		if e.running() {
			t.Error("the container is said to be asleep, and runs")
		}
		if s, err := hall.TownStatus(t.Context()); err != nil || s.Instance == nil || s.Instance.Epoch != epoch+1 {
			t.Errorf("the town's container is %+v, %v; want the %d. one", s.Instance, err, epoch+1)
		}
		w.advance(t, 10*time.Minute) // until then it might still be on its way out
	}
}

// typeAt answers what a terminal asks.
func typeAt(t *testing.T, stream *api.Stream, question, text string) {
	t.Helper()
	var got strings.Builder
	for !strings.Contains(got.String(), question) {
		m, err := stream.Next(t.Context())
		if err != nil {
			t.Fatalf("after %q: %v", got.String(), err)
		}
		got.Write(m.Data)
	}
	if err := stream.Input(t.Context(), []byte(text)); err != nil {
		t.Fatal(err)
	}
}
