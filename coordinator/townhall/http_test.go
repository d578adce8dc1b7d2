package townhall

import (
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/api/conformance"
	"townd/town"
)

func TestEveryRouteIsInTheDocumentAndTheOtherWayRound(t *testing.T) {
	doc, err := conformance.Document()
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if strings.HasPrefix(path, townPath) {
				written = append(written, method+" "+path)
			}
		}
	}
	var served []string
	for _, rt := range (&face{}).routes() {
		served = append(served, rt.method+" "+townPath+rt.path)
	}
	slices.Sort(written)
	slices.Sort(served)
	if !slices.Equal(written, served) {
		t.Errorf("document and routes differ:\ndocument %s\nroutes   %s", strings.Join(written, "\n         "), strings.Join(served, "\n         "))
	}
}

func TestCallsThatWaitEndWithTheServer(t *testing.T) {
	hall, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "town.db"), TownID: "t1"})
	if err != nil {
		t.Fatal(err)
	}
	defer hall.Close()
	done := make(chan struct{})
	handler := hall.Handler(HandlerConfig{Authorize: func(*http.Request) error { return nil }, Log: slog.New(slog.DiscardHandler), Done: done})
	client := api.NewHall("http://hall", "t1", "", &http.Client{Transport: api.HandlerTransport(handler)})
	ended := make(chan error, 1)
	go func() {
		_, err := client.Events(t.Context(), api.AgentEventQuery{Wait: 55 * time.Second})
		ended <- err
	}()
	close(done)
	if err := <-ended; !errors.Is(err, town.ErrUnavailable) {
		t.Errorf("a wait that the server ends returns %v", err)
	}
}

func TestEveryRouteSaysWhichAgentsMayCall(t *testing.T) {
	for _, rt := range (&face{}).routes() {
		aboutAgent := strings.Contains(rt.path, "{agentId}")
		if (rt.who == itself || rt.who == refinery) && !aboutAgent {
			t.Errorf("%s %s is for the agent of its path, which has none", rt.method, rt.path)
		}
		c := &request{ids: map[string]string{"agentId": "other"}, caller: Caller{AgentID: "me", Role: town.RolePolecat}}
		if err := rt.who.check(c); (err == nil) != (rt.who == everyone) {
			t.Errorf("%s %s lets a polecat: %v", rt.method, rt.path, err)
		}
		if err := rt.who.check(&request{}); err != nil {
			t.Errorf("%s %s refuses a person: %v", rt.method, rt.path, err)
		}
	}
}
