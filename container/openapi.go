package container

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"

	"townd/api"
	"townd/api/wire"
)

// openapiJSON is api.OpenAPI in JSON, made when first asked for.
var openapiJSON = sync.OnceValues(func() ([]byte, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		return nil, fmt.Errorf("load openapi.yaml: %w", err)
	}
	return doc.MarshalJSON()
})

func (s *Server) openapi(*http.Request) (any, error) {
	data, err := openapiJSON()
	if err != nil {
		return nil, err
	}
	return wire.Writer(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data)
	}), nil
}
