package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestARecordingIsPlayedWithItsPauses(t *testing.T) {
	const cast = `{"version": 2, "width": 80, "height": 24}
[1.0, "o", "one\r\n"]
[2.0, "r", "100x30"]
[3.0, "o", "two\r\n"]
[1000.0, "o", "three"]`
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		began := time.Now()
		if err := play(t.Context(), strings.NewReader(cast), &out, playFlags{speed: 2, idle: 5 * time.Second}); err != nil {
			t.Fatal(err)
		}
		if got, want := time.Since(began), 1500*time.Millisecond+5*time.Second; got != want {
			t.Errorf("it took %v, want %v", got, want)
		}
		if got := out.String(); !strings.HasPrefix(got, "one\r\ntwo\r\nthree") {
			t.Errorf("played %q", got)
		}
	})
}

func TestPlayingEndsWhenNobodyWantsIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	cast := "{\"version\": 2}\n[100.0, \"o\", \"late\"]\n"
	if err := play(ctx, strings.NewReader(cast), &out, playFlags{speed: 1, idle: time.Hour}); err != nil || strings.Contains(out.String(), "late") {
		t.Errorf("play() = %v and wrote %q", err, out.String())
	}
}

func TestWhatIsNoRecordingIsSaid(t *testing.T) {
	for _, text := range []string{"", "hello\n", `{"version": 1}` + "\n"} {
		err := play(t.Context(), strings.NewReader(text), &bytes.Buffer{}, playFlags{speed: 1, idle: time.Hour})
		if err == nil || !strings.Contains(err.Error(), "no recording") {
			t.Errorf("play(%q) = %v", text, err)
		}
	}
}

func TestAnAgentIsPlayedAndItsRecordingToo(t *testing.T) {
	tt := startTown(t)
	tt.ok("run", "--repo", tt.repo, "--name", "toast", "--", "sh", "-c", "echo played; echo twice")
	const speed = "--speed=1000"
	if got := tt.ok("play", speed, "toast"); !strings.Contains(got, "played\r\ntwice\r\n") {
		t.Errorf("played %q", got)
	}
	file := filepath.Join(t.TempDir(), "toast.cast")
	if err := os.WriteFile(file, []byte(tt.ok("logs", "--cast", "toast")), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tt.ok("play", speed, file); !strings.Contains(got, "played\r\ntwice\r\n") {
		t.Errorf("played %q", got)
	}
}
