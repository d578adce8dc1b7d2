package api

import (
	"context"
	"net/http"
)

// Post reports something by its path below the town's, as /mail: for callers that
// keep what the coordinator has not answered, in the form in which they send it.
func (h *HallClient) Post(ctx context.Context, path string, body, out any) error {
	_, err := h.client.ask(ctx, call{method: http.MethodPost, path: h.path + path, header: h.header(ctx, http.MethodPost), body: body}, out)
	return err
}
