package container_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"townd/api"
)

// cuttingProxy passes connections on and cuts each after some bytes of answers.
func cuttingProxy(t *testing.T, target string, cutAfter func() int64) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				return
			}
			cut := func() { near.Close(); far.Close() }
			wg.Go(func() { defer cut(); io.Copy(far, near) })
			wg.Go(func() { defer cut(); io.CopyN(near, far, cutAfter()) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return "http://" + listener.Addr().String()
}

// N8: whatever breaks on the way, each byte and each event arrives once.
func TestFollowComesBackAfterEveryBreak(t *testing.T) {
	tt := newTown(t)
	const total = 800_000
	tt.start("toast", "flood", fmt.Sprint(total), "2000000")
	var breaks atomic.Int64
	proxy := cuttingProxy(t, strings.TrimPrefix(tt.url, "http://"), func() int64 {
		breaks.Add(1)
		return 1500 + rand.Int64N(80_000) // a ticket and a hello come through, mostly
	})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var data []byte
	var events []int64
	exit, err := api.New(proxy, testToken, client).Follow(t.Context(), "toast", api.StreamOptions{Events: "0"}, func(m api.Message) error {
		data = append(data, m.Data...)
		if f, ok := m.Frame.(api.EventFrame); ok {
			events = append(events, f.Event.ID)
		}
		return nil
	})
	if err != nil || exit.Offset != total || len(data) != total {
		t.Fatalf("Follow() = %+v, %v with %d bytes; want %d", exit, err, len(data), total)
	}
	checkFlood(t, data, 0)
	for i, id := range events {
		if id != events[0]+int64(i) {
			t.Errorf("events came as %d, want each once", events)
			break
		}
	}
	if n := breaks.Load(); n < 10 {
		t.Errorf("the connection broke %d times only", n)
	}
}
