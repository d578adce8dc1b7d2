package conformance_test

import (
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/api/conformance"
)

var (
	baseURL   = flag.String("base-url", "", "run the suite against the coordinator at this address")
	tokenFile = flag.String("token-file", "", "file with the coordinator's token, which is also the container's")
	townID    = flag.String("town", "conformance", "id of the coordinator's town, which is for the suite alone")
	listen    = flag.String("container-listen", "127.0.0.1:18080", "address on which the suite is the container that the coordinator calls")
	patience  = flag.Duration("patience", 10*time.Second, "how long to wait for what the coordinator does by itself")
)

// TestCoordinator runs the suite against another program:
//
//	go test ./api/conformance -run TestCoordinator -args -base-url URL -token-file FILE
func TestCoordinator(t *testing.T) {
	if *baseURL == "" {
		return // the suite runs against the embedded coordinator in coordinator/townhall
	}
	data, err := os.ReadFile(*tokenFile)
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(data))
	box := conformance.NewContainer(token)
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: box, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(l)
	defer server.Close()
	conformance.Run(t, conformance.Target{
		BaseURL: strings.TrimRight(*baseURL, "/"), TownID: *townID, Token: token, Container: box, Patience: *patience,
	})
}

// unreachable are the rows of the table that no call leads to, and why.
var unreachable = map[string]string{
	"open/expire":             "a lease ends while there is one",
	"in_review/expire":        "a lease ends while there is one",
	"closed/expire":           "a lease ends while there is one",
	"failed/expire":           "a lease ends while there is one",
	"in_progress/expire/else": "who ends leases looks first whether they have ended",
}

func TestSuiteHasACaseForEveryRowOfTheTable(t *testing.T) {
	var table struct {
		Transitions []struct{ From, Event, Guard string }
	}
	if err := json.Unmarshal(api.TransitionsJSON, &table); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, row := range table.Transitions {
		want = append(want, row.From+"/"+row.Event)
		if row.Guard != "" {
			want = append(want, row.From+"/"+row.Event+"/else")
		}
	}
	var proven []string
	for _, c := range conformance.Cases() {
		proven = append(proven, c.Rows...)
	}
	for _, row := range want {
		_, not := unreachable[row]
		if has := slices.Contains(proven, row); has == not {
			t.Errorf("row %s: proven %v, unreachable %v", row, has, not)
		}
	}
	for _, row := range proven {
		if !slices.Contains(want, row) {
			t.Errorf("row %s is proven but not in the table", row)
		}
	}
}

func TestNamesOfCasesAreSentencesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range conformance.Cases() {
		if c.Name == "" || seen[c.Name] {
			t.Errorf("the name %q is empty or there twice", c.Name)
		}
		seen[c.Name] = true
	}
}
