package api

import (
	"context"
	"net/http"
)

// Call makes a call that has no method of its own: path is below the client's base,
// with its query; body and the answer are JSON. out nil leaves the answer unread.
func (c *Client) Call(ctx context.Context, method, path string, header http.Header, body, out any) error {
	call := call{method: method, path: path, header: header, body: body}
	if out == nil {
		resp, err := c.do(ctx, call)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	_, err := c.ask(ctx, call, out)
	return err
}
