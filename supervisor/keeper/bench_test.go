package keeper

import (
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"townd/town"
)

// BenchmarkSpawnToFirstByte is the time from the call of Spawn to the watch that
// tells of the program's first byte.
func BenchmarkSpawnToFirstByte(b *testing.B) {
	c, _ := newTestKeeper(b, "")
	ctx, cancel := context.WithCancel(b.Context())
	updates := make(chan Update, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Watch(ctx, func(u Update) { updates <- u })
	}()
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		s := newSpawn(b, "/bin/echo", "x")
		b.StartTimer()
		began := time.Now()
		mustSpawn(b, c, s)
		for u := range updates {
			if u.Run == s.Run && u.Size > 0 {
				break
			}
		}
		took = append(took, time.Since(began))
		b.StopTimer()
		for u := range updates {
			if u.Run == s.Run && u.Exit != nil {
				break
			}
		}
		if err := c.Forget(b.Context(), s.Run); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	cancel()
	<-done
}

// BenchmarkThroughput compares, in pairs, a program that prints as fast as it can
// read by a keeper into a transcript with the same program read by a bare loop
// that drops what it reads. Both from start to end of the program.
func BenchmarkThroughput(b *testing.B) {
	const size = 64 << 20
	c, _ := newTestKeeper(b, "")
	argv := program("flood", strconv.Itoa(size))
	info, err := c.Info(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var ratios, cpu []float64
	for b.Loop() {
		bare := bareLoop(b, argv)
		s := newSpawn(b, argv...)
		s.Total = size * 2
		s.Transcript = filepath.Join(b.TempDir(), town.NewID(time.Now()))
		ticks := cpuTicks(b, info.PID)
		began := time.Now()
		mustSpawn(b, c, s)
		exit := waitExit(b, c, s.Run)
		kept := time.Since(began)
		if exit.Size != size {
			b.Fatalf("exit = %+v", exit)
		}
		if err := c.Forget(b.Context(), s.Run); err != nil {
			b.Fatal(err)
		}
		b.Logf("bare %.0f MB/s, keeper %.0f MB/s", size/1e6/bare.Seconds(), size/1e6/kept.Seconds())
		cpu = append(cpu, 10*float64(cpuTicks(b, info.PID)-ticks)/(size>>20))
		ratios = append(ratios, bare.Seconds()/kept.Seconds())
	}
	slices.Sort(ratios)
	slices.Sort(cpu)
	b.ReportMetric(cpu[len(cpu)/2], "keeper-ms/MiB")
	b.ReportMetric(100*ratios[len(ratios)/2], "%-of-bare")
}

func cpuTicks(b *testing.B, pid int) uint64 {
	b.Helper()
	procs, err := Scan()
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range procs {
		if p.PID == pid {
			return p.CPUTicks
		}
	}
	b.Fatalf("no process %d", pid)
	return 0
}

func bareLoop(b *testing.B, argv []string) time.Duration {
	b.Helper()
	t, err := openTerminal(80, 24, true, 0, 0)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.slave, t.slave, t.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_ = t.slave.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{t.File}, make([]byte, 4096))
	took := time.Since(began)
	if n == 0 {
		b.Fatal(err)
	}
	_ = cmd.Wait()
	_ = t.Close()
	return took
}
