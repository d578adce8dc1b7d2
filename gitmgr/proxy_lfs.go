package gitmgr

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"townd/town"
)

// lfsTickets are transfers of files of Git LFS that a remote has offered on its own
// host, where the town's credential is needed: an agent gets a ticket in the place of
// each, for the proxy. Its zero value holds none.
type lfsTickets struct {
	mu   sync.Mutex
	byID map[string]lfsTicket
}

type lfsTicket struct {
	rigID, method string
	action        lfsAction
	until         time.Time
}

const (
	lfsTicketFor  = time.Hour
	maxLFSTickets = 20000
)

// add returns the id of a ticket. The oldest go when there are too many: who holds one
// asks again.
func (t *lfsTickets) add(k lfsTicket) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID == nil || len(t.byID) >= maxLFSTickets {
		kept := make(map[string]lfsTicket)
		for id, k := range t.byID {
			if time.Until(k.until) > lfsTicketFor/2 {
				kept[id] = k
			}
		}
		if t.byID = kept; len(kept) >= maxLFSTickets {
			clear(t.byID)
		}
	}
	id := rand.Text()
	k.until = time.Now().Add(lfsTicketFor)
	t.byID[id] = k
	return id
}

func (t *lfsTickets) get(id string) (lfsTicket, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.byID[id]
	return k, ok && time.Now().Before(k.until)
}

// lfsMethods are how the actions of the batch API are called.
var lfsMethods = map[string]string{"download": http.MethodGet, "upload": http.MethodPut, "verify": http.MethodPost}

// serveLFS answers what an agent's git-lfs asks of its rig's remote. There are no
// locks: git-lfs goes on without.
func (x *exchange) serveLFS() error {
	if !x.rig.hasLFS() {
		return fmt.Errorf("git LFS is off in this rig: %w", town.ErrNotFound)
	}
	if x.lfs == "objects/batch" && x.req.Method == http.MethodPost {
		return x.lfsBatch()
	}
	id, ok := strings.CutPrefix(x.lfs, "transfers/")
	ticket, known := x.tickets.get(id)
	if !ok || !known || ticket.rigID != x.rig.id || ticket.method != x.req.Method {
		return fmt.Errorf("no such request of Git LFS here: %w", town.ErrNotFound)
	}
	return x.lfsTransfer(ticket)
}

// lfsBatch passes a question on, with the town's credential, and the answer back
// without it: some servers send it along for the transfers.
func (x *exchange) lfsBatch() error {
	ctx, cancel := context.WithTimeout(x.req.Context(), proxyWait)
	defer cancel()
	endpoint, err := lfsEndpoint(x.remote)
	if err != nil {
		return err
	}
	var q lfsBatch
	if err := json.NewDecoder(http.MaxBytesReader(x.w, x.req.Body, maxBatchBytes)).Decode(&q); err != nil {
		return fmt.Errorf("question of Git LFS: is not JSON: %w", town.ErrInvalid)
	}
	if q.Operation != "download" && q.Operation != "upload" {
		return fmt.Errorf("operation %q of Git LFS: must be download or upload: %w", q.Operation, town.ErrInvalid)
	}
	a, sent, err := x.rig.askLFS(ctx, endpoint, q)
	if err != nil {
		return err
	}
	for i, o := range a.Objects {
		for name, action := range o.Actions {
			req, err := action.request(ctx, lfsMethods[name], nil)
			if err != nil || lfsMethods[name] == "" {
				delete(o.Actions, name)
				continue
			}
			if isSameHost(req.URL, endpoint) {
				id := x.tickets.add(lfsTicket{rigID: x.rig.id, method: req.Method, action: action})
				action = lfsAction{Href: "http://" + x.req.Host + "/git/" + x.rig.id + lfsPath + "/transfers/" + id, ExpiresIn: int(lfsTicketFor.Seconds())}
				a.Objects[i].Authenticated = true
			}
			for key, value := range action.Header {
				if auth := sent.Get("Authorization"); auth != "" && strings.Contains(value, auth) {
					delete(action.Header, key)
				}
			}
			o.Actions[name] = action
		}
	}
	x.w.Header().Set("Content-Type", lfsMedia)
	return gone(json.NewEncoder(x.w).Encode(a))
}

// lfsTransfer carries a file to or from the remote's own host.
func (x *exchange) lfsTransfer(k lfsTicket) error {
	ctx, cancel := context.WithCancelCause(x.req.Context())
	defer cancel(nil)
	idle := time.AfterFunc(proxyWait, func() { cancel(errIdle) })
	defer idle.Stop()
	var body io.Reader
	if k.method != http.MethodGet {
		body = &watched{x.req.Body, func() { idle.Reset(proxyWait) }}
	}
	req, err := k.action.request(ctx, k.method, body)
	if err != nil {
		return err
	}
	req.ContentLength = max(x.req.ContentLength, 0)
	if x.req.ContentLength < 0 {
		req.ContentLength = -1
	}
	for _, name := range []string{"Accept", "Content-Type", "Range"} {
		if value := x.req.Header.Get(name); value != "" {
			req.Header.Set(name, value)
		}
	}
	if req.Header.Get("Authorization") == "" {
		if err := x.m.authorize(ctx, x.rig.id, req); err != nil {
			return err
		}
	}
	res, err := x.m.call(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		return errUpstream(res.StatusCode)
	}
	for _, name := range []string{"Content-Type", "Content-Range", "Accept-Ranges", "Location"} {
		if value := res.Header.Get(name); value != "" {
			x.w.Header().Set(name, value)
		}
	}
	if res.ContentLength >= 0 {
		x.w.Header().Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
	}
	x.w.WriteHeader(res.StatusCode)
	return x.stream(res.Body, func() { idle.Reset(proxyIdle) })
}
