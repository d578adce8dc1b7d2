// Command bench measures a real town against the figures it promises.
//
//	go run ./bench [-short] [-townd FILE] [scenario …]
//
// It builds townd, starts towns of it in a temporary directory and drives them
// through package api's client alone, with copies of itself as agents. Every
// figure is printed with its bound and its ratio to a reference that is measured
// in the same run, in turns with it. The exit status is 1 when a bound is missed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// scenario measures some figures of a town of its own and reports them.
type scenario struct {
	name    string
	measure func(ctx context.Context, s *server) error
}

var scenarios = []scenario{
	{"start", measureStart},
	{"fifty", measureFifty},
	{"stream", measureStream},
	{"idle", measureIdle},
	{"stop", measureStop},
	{"crash", measureCrash},
	{"health", measureHealth},
	{"llm", measureModels},
	{"events", measureEvents},
	{"message", measureMessage},
	{"report", measureReports},
	{"bead", measureBeads},
	{"screen", measureScreens},
	{"page", measurePages},
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == agentArgument {
		os.Exit(beAgent(os.Args[2], os.Args[3:]))
	}
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	err := run(ctx, os.Args[1:])
	release()
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

var (
	errUsage  = errors.New("bad arguments")
	errMissed = errors.New("a bound was missed")
)

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	short := flags.Bool("short", false, "fewer and shorter measurements")
	program := flags.String("townd", "", "measure this `program` instead of building one")
	openFor := flags.Duration("open", 2*time.Minute, "how long page leaves its pages open")
	flood := flags.Int64("flood", 4_000_000, "`bytes` a second that page's agent prints, 0 for as many as are read")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: bench [flags] [scenario …]\nscenarios: %s (default: all)\n", strings.Join(names(), ", "))
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return errUsage
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return errUsage
	}
	b, err := newBench(ctx, *program, *short)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	b.openFor, b.flood = pick(b, *openFor, 20*time.Second), *flood
	b.printHead()
	for _, sc := range chosen {
		if err := b.play(ctx, sc); err != nil {
			return fmt.Errorf("%s: %w", sc.name, err)
		}
	}
	if b.missed {
		return errMissed
	}
	return nil
}

// play runs a scenario. Nothing of its town is left afterwards, however it ends.
func (b *bench) play(ctx context.Context, sc scenario) error {
	b.scenario = sc.name
	if err := b.warnIfBusy(ctx); err != nil {
		return err
	}
	s, err := b.open(ctx)
	if err != nil {
		return err
	}
	err = sc.measure(ctx, s)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // whatever it made of that
	}
	return errors.Join(err, s.close())
}

func names() []string {
	var all []string
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return all
}

// choose returns the scenarios of those names in the order of the table, all for none.
func choose(wanted []string) ([]scenario, error) {
	for _, name := range wanted {
		if !slices.Contains(names(), name) {
			return nil, fmt.Errorf("no scenario %q: there are %s", name, strings.Join(names(), ", "))
		}
	}
	var chosen []scenario
	for _, s := range scenarios {
		if len(wanted) == 0 || slices.Contains(wanted, s.name) {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}
