package driver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"townd/town"
)

const (
	startTime  = 3 * time.Minute // until a server listens, on a machine that is busy
	answerTime = time.Minute     // of one request
	maxTail    = 2 << 10         // bytes of what the server printed last
)

// serve returns the driver of Kilo or OpenCode, whose variables begin with prefix.
// It runs the CLI's own HTTP server on loopback, with a password that only the
// server is told, and has one session there.
func serve(prefix string) func(context.Context, Options, *output) (int, error) {
	return func(ctx context.Context, o Options, out *output) (int, error) {
		s, err := startServer(o, prefix)
		if err != nil {
			return 1, fault(out, town.KindCrashed, err)
		}
		return converse(ctx, s, o, out)
	}
}

// converse has a conversation with a server that was started, and ends it.
func converse(ctx context.Context, s *server, o Options, out *output) (int, error) {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	err := newConversation(s, o, out).run(ctx, &wg)
	died := s.hasEnded()
	s.stop()
	stop()
	wg.Wait()
	switch code := s.code(); {
	case died:
		return code, fault(out, town.KindCrashed, fmt.Errorf("%s ended with code %d: %s", o.Program, code, s.said()))
	case err != nil:
		return 1, fault(out, town.KindCrashed, err)
	}
	return 0, nil
}

// server is a running `serve`. Its methods are safe for concurrent use.
type server struct {
	*child
	client http.Client
	user   string
	secret string
	urls   chan string // where it listens, closed when it prints no more
	url    string      // set by wait, before anything asks

	mu   sync.Mutex
	tail []byte // what it printed last
}

func startServer(o Options, prefix string) (*server, error) {
	s := &server{
		// No proxy: the server is on loopback.
		client: http.Client{Transport: &http.Transport{DisableCompression: true}},
		secret: rand.Text(), user: "townd", urls: make(chan string, 1),
	}
	cmd := exec.Command(o.Program, append(slices.Clip(o.Args), "serve", "--hostname", "127.0.0.1", "--port", "0")...)
	cmd.Env = append(os.Environ(), prefix+"SERVER_USERNAME="+s.user, prefix+"SERVER_PASSWORD="+s.secret)
	p, err := start(cmd)
	if err != nil {
		return nil, err
	}
	s.child = p
	go s.read() // stop waits for it
	return s, nil
}

var listening = regexp.MustCompile(`listening on (http://127\.0\.0\.1:\d+)`)

// read keeps what the server prints last, and finds where it listens: port 0 is
// 4096 or, when that is taken, any. It ends with the output.
func (s *server) read() {
	defer close(s.urls)
	defer s.out.Close()
	in := bufio.NewReader(s.out)
	for found := false; ; {
		line, err := in.ReadSlice('\n')
		s.mu.Lock()
		s.tail = append(s.tail, line...)
		s.tail = s.tail[max(0, len(s.tail)-maxTail):]
		s.mu.Unlock()
		if m := listening.FindSubmatch(line); m != nil && !found {
			found = true
			s.urls <- string(m[1])
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// said returns what the server printed last, as one line.
func (s *server) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(s.tail), "")), " ")
}

// stop ends the server, if it has not, and reads all that it printed. What it leaves
// behind may hold its output, so that this ends a little later.
func (s *server) stop() {
	s.child.stop()
	_ = s.out.SetReadDeadline(time.Now().Add(time.Second)) // unless it is closed
	for range s.urls {
	}
}

// wait returns when the server listens and takes our password.
func (s *server) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, errors.New("the server does not listen"))
	defer cancel()
	select {
	case url, ok := <-s.urls:
		if !ok {
			<-s.ended // soon: it prints no more
			return errors.New("the server ended before it listened")
		}
		s.url = url
	case <-s.ended:
		return errors.New("the server ended before it listened")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.ask(ctx, http.MethodGet, "/global/health", nil, nil)
}

// refusal is an answer of the server that is not a success.
type refusal struct {
	Status  int
	Message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s (HTTP status %d)", r.Message, r.Status) }

// ask sends body as JSON and fills answer, both of which may be nil. It returns a
// *refusal when the server says no.
func (s *server) ask(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := s.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if answer == nil {
		_, err = io.Copy(io.Discard, r.Body) // so that the connection is used again
	} else {
		err = json.NewDecoder(r.Body).Decode(answer)
	}
	if err != nil {
		return fmt.Errorf("read answer to %s %s: %w", method, path, err)
	}
	return nil
}

// do returns the answer to a request, whose body the caller closes.
func (s *server) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var in bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&in).Encode(body); err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, &in)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.SetBasicAuth(s.user, s.secret)
	req.Header.Set("Content-Type", "application/json")
	r, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if r.StatusCode/100 != 2 {
		defer r.Body.Close()
		return nil, refused(r)
	}
	return r, nil
}

func refused(r *http.Response) error {
	said, _ := io.ReadAll(io.LimitReader(r.Body, maxTail)) // as much as came
	var e struct {
		Data struct {
			Message string `json:"message"`
		} `json:"data"`
	}
	if json.Unmarshal(said, &e) == nil && e.Data.Message != "" {
		return &refusal{Status: r.StatusCode, Message: e.Data.Message}
	}
	return &refusal{Status: r.StatusCode, Message: strings.TrimSpace(string(said))}
}
