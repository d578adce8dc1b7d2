package llm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"townd/town"
)

const (
	probeEvery     = time.Minute
	probeMost      = 20 * time.Second // that a probe may take
	probeWaitDelay = time.Second      // for what holds its output
	maxProbeBytes  = 64 << 10         // that it may say
	maxProbeError  = 200              // characters of its own words that are shown
)

// Probe is a command that tells what is left of a quota that no answer to the gateway
// does, as that of a subscription which agents bring along. It says one JSON object:
// pct that is left, reset_at_iso, limit, whose name is taken where it has one, and
// error. One that fails says nothing, and is no reason to do anything.
//
// Safe for concurrent use.
type Probe struct {
	command string
	mask    func(string) string
	log     *slog.Logger
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	quota   *town.Quota
	problem string
}

// StartProbe runs a command for sh now and every minute until Close. It runs as our own
// user, with PATH and HOME and nothing else of our environment. mask takes secrets
// out of what it says.
func StartProbe(command string, mask func(string) string, log *slog.Logger) *Probe {
	p := &Probe{command: command, mask: mask, log: log}
	ctx, stop := context.WithCancel(context.Background()) // until Close
	p.stop = stop
	p.wg.Go(func() { // until Close, which ends the command as well
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			p.look(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return p
}

// Close ends the command and waits for it.
func (p *Probe) Close() {
	p.stop()
	p.wg.Wait()
}

// Quota returns what the probe measured last, and why it cannot: then there is no quota.
func (p *Probe) Quota() (q *town.Quota, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quota, p.problem
}

// look measures once.
func (p *Probe) look(ctx context.Context) {
	out, err := runProbe(ctx, p.command)
	if ctx.Err() != nil {
		return
	}
	var q *town.Quota
	if err == nil {
		q, err = parseProbe(out, time.Now())
	}
	problem := ""
	if err != nil {
		problem = p.mask(err.Error())
	}
	p.mu.Lock()
	failed := p.problem != ""
	p.quota, p.problem = q, problem
	p.mu.Unlock()
	switch {
	case !failed && err != nil:
		p.log.Warn("quota probe fails: it keeps nothing back", "reason", problem)
	case failed && err == nil:
		p.log.Info("quota probe works again", "percent", q.Percent)
	}
}

// probeScript runs its $0 beside what ends their process group when we were killed
// meanwhile.
const probeScript = `{ sleep 30 && kill -9 0; } >/dev/null 2>&1 & exec /bin/sh -c "$0"`

var errProbeTime = fmt.Errorf("it did not end within %v", probeMost)

// runProbe returns what the command says. No process of its group is left.
func runProbe(ctx context.Context, command string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeMost, errProbeTime)
	defer cancel()
	var out probeOutput
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", probeScript, command)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LC_ALL=C.UTF-8"}
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel, cmd.WaitDelay = end, probeWaitDelay
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err := cmd.Wait()
	_ = end() // what it left in the background, if anything
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case out.over:
		return nil, fmt.Errorf("it says more than %d bytes", maxProbeBytes)
	case errors.Is(err, exec.ErrWaitDelay):
		return out.kept, nil // its own end is what counts
	}
	return out.kept, err
}

// probeOutput keeps the first maxProbeBytes. It is no bytes.Buffer, whose ReadFrom
// would take everything.
type probeOutput struct {
	kept []byte
	over bool
}

func (o *probeOutput) Write(p []byte) (int, error) {
	room := maxProbeBytes - len(o.kept)
	o.over = o.over || len(p) > room
	o.kept = append(o.kept, p[:min(len(p), room)]...)
	return len(p), nil
}

// parseProbe reads what a probe said at now.
func parseProbe(out []byte, now time.Time) (*town.Quota, error) {
	var said struct {
		Pct     *float64 `json:"pct"`
		Limit   any      `json:"limit"` // its name, or how much it is
		ResetAt *string  `json:"reset_at_iso"`
		Error   *string  `json:"error"`
	}
	err := json.Unmarshal(out, &said)
	switch {
	case err != nil:
		return nil, fmt.Errorf("it does not say what is expected: %w", err)
	case said.Error != nil && *said.Error != "":
		return nil, errors.New(oneLine(*said.Error, maxProbeError))
	case said.Pct == nil:
		return nil, errors.New("it says no pct")
	}
	name, _ := said.Limit.(string)
	if name = oneLine(name, maxLimitName); name == "" {
		name = "quota"
	}
	var reset time.Time
	if said.ResetAt != nil && *said.ResetAt != "" {
		if reset, err = time.Parse(time.RFC3339, *said.ResetAt); err != nil {
			return nil, fmt.Errorf("its reset_at_iso is no time: %s", oneLine(*said.ResetAt, maxProbeError))
		}
	}
	return quotaOf("", name, *said.Pct, reset, now), nil
}

// oneLine is the first characters of a text, on one line that can be shown.
func oneLine(s string, most int) string {
	words := strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) })
	chars := []rune(strings.Join(words, " "))
	return string(chars[:min(len(chars), most)])
}
