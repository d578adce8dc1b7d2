package driver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"townd/supervisor/agentcli"
	"townd/town"
)

// stopTime is from SIGTERM to SIGKILL: kilo sends its telemetry first.
const stopTime = 10 * time.Second

// child is the CLI's own program. Its methods are safe for concurrent use.
type child struct {
	cmd   *exec.Cmd
	out   *os.File      // what it prints; its reader closes it
	ended chan struct{} // closed when it has
}

// start starts cmd, whose Stdout becomes a pipe, and Stderr the same unless it has one.
func start(cmd *exec.Cmd) (*child, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	cmd.Stdout = w
	if cmd.Stderr == nil {
		cmd.Stderr = w
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &child{cmd: cmd, out: r, ended: make(chan struct{})}
	go func() { // ends with the program, for which both drivers wait
		defer close(p.ended)
		_ = cmd.Wait() // code asks for it
	}()
	return p, nil
}

func (p *child) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// stop ends the program, if it has not.
func (p *child) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // unless it has ended
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// code waits for the program's end and returns its exit code, 128 + n for signal n.
func (p *child) code() int {
	<-p.ended
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// fault tells err in the output, where the town reads it.
func fault(out *output, kind town.ErrorKind, err error) error {
	return out.say(agentcli.DriverOutput{Townd: agentcli.DriverFault, Kind: string(kind), Message: err.Error()})
}

// inputs returns what the town wants, and is closed at the end of r. A line that is
// none is one without a type. The goroutine behind it ends as that of lines does.
func inputs(r io.Reader, done <-chan struct{}) <-chan agentcli.DriverInput {
	all := make(chan agentcli.DriverInput)
	go func() {
		defer close(all)
		for line := range lines(r, done) {
			var in agentcli.DriverInput
			if json.Unmarshal(line, &in) != nil {
				in = agentcli.DriverInput{}
			}
			select {
			case all <- in:
			case <-done:
				return
			}
		}
	}()
	return all
}

// lines returns the lines of r, without their ends, and is closed at its end. The
// goroutine behind it ends with r, or at its next line once done is closed.
func lines(r io.Reader, done <-chan struct{}) <-chan []byte {
	all := make(chan []byte)
	go func() {
		defer close(all)
		in := bufio.NewReaderSize(r, 64<<10)
		for {
			line, err := in.ReadBytes('\n')
			if err == nil {
				line = line[:len(line)-1]
			}
			if len(line) > 0 {
				select {
				case all <- line:
				case <-done:
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return all
}

// strange is the fault of an input that no driver knows.
func strange(in agentcli.DriverInput) error {
	if in.Type == "" {
		return fmt.Errorf("a line of input is not a driver's: %w", town.ErrInvalid)
	}
	return fmt.Errorf("input of type %.40q: %w", in.Type, town.ErrInvalid)
}
