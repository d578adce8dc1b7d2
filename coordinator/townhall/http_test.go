package townhall

import (
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"townd/api"
)

func TestEveryRouteIsInTheDocumentAndTheOtherWayRound(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
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
