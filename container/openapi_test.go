package container

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"townd/api/conformance"
)

func TestEveryRouteIsInTheDocumentAndTheOtherWayRound(t *testing.T) {
	doc, err := conformance.Document()
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for path, item := range doc.Paths.Map() {
		if strings.HasPrefix(path, "/api/towns/") {
			continue // the coordinator's
		}
		for method, op := range item.Operations() {
			written = append(written, fmt.Sprintf("%s %s %s", method, path, schemes(op.Security)))
		}
	}
	var served []string
	for _, rt := range (&Server{}).routes() {
		served = append(served, fmt.Sprintf("%s %s %s", rt.method, rt.path, accesses[rt.access]))
	}
	slices.Sort(written)
	slices.Sort(served)
	if !slices.Equal(written, served) {
		t.Errorf("document and routes differ:\ndocument %s\nroutes   %s", strings.Join(written, "\n         "), strings.Join(served, "\n         "))
	}
}

// accesses are the security schemes of the document that a route's access stands for.
var accesses = map[access]string{accessToken: "the town's", accessPublic: "none", accessTicket: "ticket,ticketProtocol", accessShare: "share"}

func schemes(security *openapi3.SecurityRequirements) string {
	if security == nil {
		return "the town's"
	}
	var names []string
	for _, one := range *security {
		names = slices.AppendSeq(names, maps.Keys(one))
	}
	return cmp.Or(strings.Join(names, ","), "none")
}
