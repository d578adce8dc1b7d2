package typing_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"townd/supervisor/typing"
)

// BenchmarkDelivered is the time from the call to the proof, for programs that are
// ready.
func BenchmarkDelivered(b *testing.B) {
	k := newKeeping(b)
	for name, behaviour := range map[string]behaviour{
		"line": {Canonical: true}, "editor": {Paste: true}, "screen": {Screen: true, Paste: true}, "storm": {Screen: true, Paste: true, StormMs: 10},
	} {
		b.Run(name, func(b *testing.B) {
			y := k.spawn(b, nil, os.Args[0], "program", configOf(b, behaviour))
			defer y.end(b)
			y.message = "first"
			if err := typing.Type(b.Context(), y, "make sure that it is ready", typing.Options{}); err != nil {
				b.Fatal(err)
			}
			for i := 0; b.Loop(); i++ {
				y.message = fmt.Sprint(i)
				if err := typing.Type(b.Context(), y, fmt.Sprintf("message %d", i), typing.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStorm is what watching a storm costs: a program that repaints every 10 ms
// and never acts on Enter.
func BenchmarkStorm(b *testing.B) {
	k := newKeeping(b)
	y := k.spawn(b, nil, os.Args[0], "program", configOf(b, behaviour{Screen: true, Paste: true, StormMs: 10, Swallow: 1 << 30}))
	defer y.end(b)
	var cpu, wall time.Duration
	for i := 0; b.Loop(); i++ {
		y.message = fmt.Sprint(i)
		began, before := time.Now(), cpuTime(b)
		if err := typing.Type(b.Context(), y, "hello", typing.Options{}); err == nil {
			b.Fatal("delivered")
		}
		cpu, wall = cpu+cpuTime(b)-before, wall+time.Since(began)
	}
	b.ReportMetric(100*cpu.Seconds()/wall.Seconds(), "%cpu")
}

func configOf(tb testing.TB, b behaviour) string {
	tb.Helper()
	b.Record = filepath.Join(tb.TempDir(), "submitted")
	config, err := json.Marshal(b)
	if err != nil {
		tb.Fatal(err)
	}
	return string(config)
}

func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
