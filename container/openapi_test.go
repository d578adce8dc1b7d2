package container

import (
	"fmt"
	"slices"
	"strings"
	"testing"

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
			public := op.Security != nil && len(*op.Security) == 0
			ticket := op.Security != nil && len(*op.Security) > 0
			written = append(written, fmt.Sprintf("%s %s public=%v ticket=%v", method, path, public, ticket))
		}
	}
	var served []string
	for _, rt := range (&Server{}).routes() {
		served = append(served, fmt.Sprintf("%s %s public=%v ticket=%v", rt.method, rt.path, rt.access == accessPublic, rt.access == accessTicket))
	}
	slices.Sort(written)
	slices.Sort(served)
	if !slices.Equal(written, served) {
		t.Errorf("document and routes differ:\ndocument %s\nroutes   %s", strings.Join(written, "\n         "), strings.Join(served, "\n         "))
	}
}
