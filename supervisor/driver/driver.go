// Package driver speaks the protocols of agent CLIs that are conversations. Each
// driver is a process of the agent's own between the town and its CLI; what goes
// in and comes out is written down in agentcli/driver.go. It has no policy, and
// keeps nothing that must outlive it.
package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"

	"townd/supervisor/agentcli"
	"townd/town"
)

// Options are one launch of a driver.
type Options struct {
	Program    string   // the CLI's program: absolute
	Args       []string // what its driver adds to comes after these
	Session    string   // to go on with, "" for a new one
	Fork       bool     // in a copy of Session
	Model      string
	Effort     string
	SystemFile string // path of the system prompt, "" for none
	In         io.Reader
	Out        io.Writer
}

// Run drives the CLI of that name until it ends, and returns its exit code. It
// returns ErrInvalid for a CLI that has no driver.
func Run(ctx context.Context, name string, o Options) (code int, err error) {
	run := drivers[name]
	if run == nil {
		return 1, fmt.Errorf("no driver for %q: %w", name, town.ErrInvalid)
	}
	return run(ctx, o, &output{w: o.Out})
}

// drivers is what Run knows.
var drivers = map[string]func(context.Context, Options, *output) (int, error){
	"codex":    driveCodex,
	"kilo":     serve("KILO_"),
	"opencode": serve("OPENCODE_"),
}

// output is the driver's standard output, a line at a time. Safe for concurrent use.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

// line writes p, which has no newline, as one line.
func (o *output) line(p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.w.Write(append(slices.Clip(p), '\n'))
	return err
}

// say writes a line of the driver's own.
func (o *output) say(d agentcli.DriverOutput) error {
	p, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode line: %w", err)
	}
	return o.line(p)
}
