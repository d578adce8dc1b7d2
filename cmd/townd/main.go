// Townd runs a town of coding agents: `townd serve` is its server, `townd
// keeper` the process that owns the agents' terminals, and every other
// subcommand a client of a town, here or elsewhere.
//
// This package holds settings and wiring; what a town does is in the packages
// that it wires together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/hashicorp/go-multierror"

	"townd/town"
)

// version is set by the build (see Makefile).
var version = "dev"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr, os.Getenv}))
}

// stdio is what a program is connected to.
type stdio struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) string
}

// The exit codes of our own making.
const (
	exitFailure = 1
	exitUsage   = 2

	exitInterrupted = 128 + int(syscall.SIGINT)
)

// exitError is an error that asks for an exit code. With a nil err nothing is
// printed: what there was to say has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// run is main with everything that it touches as an argument. It returns the
// exit code.
func run(ctx context.Context, args []string, std stdio) int {
	root := newRoot(std)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exitError](err)
	if !ok {
		exit = &exitError{code: exitFailure, err: err}
	}
	if exit.err != nil {
		printError(std.err, exit.err)
	}
	return exit.code
}

// printError prints an error for people: each of several errors, and each thing
// that is wrong with a request, on a line of its own.
func printError(w io.Writer, err error) {
	if several, ok := errors.AsType[*multierror.Error](err); ok {
		for _, err := range several.Errors {
			printError(w, err)
		}
		return
	}
	if invalid, ok := errors.AsType[*town.InvalidError](err); ok {
		for _, issue := range invalid.Issues {
			fmt.Fprintf(w, "townd: %s %s\n", issue.Path, issue.Message)
		}
		return
	}
	fmt.Fprintln(w, "townd:", err)
}
