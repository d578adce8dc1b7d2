package agentcli_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"townd/supervisor/driver"
)

// drive is `townd drive`, for the CLIs that the tests launch: the flags are those
// of cmd/townd.
func drive(args []string) int {
	o := driver.Options{In: os.Stdin, Out: os.Stdout}
	flags := flag.NewFlagSet("drive", flag.ExitOnError)
	flags.StringVar(&o.Session, "session", "", "")
	flags.BoolVar(&o.Fork, "fork", false, "")
	flags.StringVar(&o.Model, "model", "", "")
	flags.StringVar(&o.Effort, "effort", "", "")
	flags.StringVar(&o.SystemFile, "system-file", "", "")
	_ = flags.Parse(args) // exits
	o.Program, o.Args = flags.Arg(1), flags.Args()[2:]
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer release()
	code, err := driver.Run(ctx, flags.Arg(0), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}
