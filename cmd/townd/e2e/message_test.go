package e2e_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// killedMessages is how often the server is killed around a message.
const killedMessages = 30

// A message that is repeated with its key until somebody answers is typed once,
// however often the server is killed meanwhile, and messages stay in order.
func TestMessagesAreTypedOnceThroughCrashes(t *testing.T) {
	t.Parallel()
	tt := newTown(t, nil)
	tt.start(tt.request("toast", "bash", "-c", `stty -echo; echo ready; while read -r line; do echo "got $line."; done`))
	tt.ready("toast")
	var want []string
	for i := range killedMessages {
		text := fmt.Sprint("message ", i)
		want = append(want, "got "+text+".\r\n")
		send := func(client *api.Client) error {
			_, err := client.Message(t.Context(), "toast", town.MessageRequest{Prompt: text}, fmt.Sprint("key-", i))
			return err
		}
		answered := make(chan error, 1)
		client := tt.Client // the next server's is another
		go func() { answered <- send(client) }()
		time.Sleep(rand.N(6 * time.Millisecond)) // anywhere in it
		tt.restart()
		if <-answered != nil {
			if err := send(tt.Client); err != nil {
				t.Fatalf("%s, repeated: %v", text, err)
			}
		}
	}
	last := want[len(want)-1]
	output := tt.follow("toast", func(p []byte) bool { return bytes.Contains(p, []byte(last)) })
	got := slices.Collect(strings.Lines(strings.TrimPrefix(string(output), "ready\r\n")))
	if !slices.Equal(got, want) {
		t.Errorf("the program read %q; want %q", got, want)
	}
}
