package llm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/town"
)

func probing(t *testing.T, command string) (*Probe, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	mask := func(s string) string { return strings.ReplaceAll(s, "hunter2", "***") }
	return &Probe{command: command, mask: mask, log: slog.New(slog.NewTextHandler(&log, nil))}, &log
}

// C4: what a command says is the quota.
func TestProbeTellsWhatIsLeft(t *testing.T) {
	for _, c := range []struct {
		says    string
		name    string
		percent float64
		reset   string
	}{
		{`{"pct": 42.5, "limit": "five_hour", "remaining": 7, "reset_at_iso": "2100-01-02T15:04:05Z", "error": null}`, "five_hour", 42.5, "31 days"},
		{`{"pct":3,"limit":100,"remaining":3,"reset_at_iso":"2001-01-02T15:04:05+02:00","error":""}`, "quota", 3, "now"},
		{`{"pct":-3}`, "quota", 0, ""},
		{`{"pct":130,"reset_at_iso":""}`, "quota", 100, ""},
		{`{"pct":1,"limit":"a\u0000b\n"}`, "a b", 1, ""},
	} {
		p, log := probing(t, "cat <<'END'\n"+c.says+"\nEND")
		p.look(t.Context())
		q, problem := p.Quota()
		if problem != "" || q == nil || q.Provider != "" || q.Name != c.name || q.Percent != c.percent || time.Since(q.CheckedAt) > time.Minute {
			t.Errorf("%s: %+v, %q", c.says, q, problem)
			continue
		}
		want := map[string]time.Time{"": {}, "now": q.CheckedAt, "31 days": q.CheckedAt.Add(maxDelay)}[c.reset]
		if !q.ResetAt.Equal(want) || log.Len() > 0 {
			t.Errorf("%s: reset at %v, want %v; log %q", c.says, q.ResetAt, want, log)
		}
	}
}

// C5: one that fails is no quota, and is told once.
func TestProbeThatFailsIsNoQuota(t *testing.T) {
	for command, want := range map[string]string{
		`echo '{"pct":1}'; exit 3`:               "exit status 3",
		`echo no json`:                           "it does not say what is expected",
		`true`:                                   "it does not say what is expected",
		`echo null`:                              "it says no pct",
		`echo '{"pct":null}'`:                    "it says no pct",
		`echo '{"pct":"7"}'`:                     "it does not say what is expected",
		`echo '{"pct":7} {}'`:                    "it does not say what is expected",
		`echo '{"pct":7,"reset_at_iso":"soon"}'`: "its reset_at_iso is no time: soon",
		`printf %s '{"pct":7,"error":"the login hunter2\nis over"}'`: "the login *** is over",
		`head -c 70000 /dev/zero`:                                    "it says more than 65536 bytes",
		`no-such-program-here`:                                       "exit status 127",
		`kill -9 $$`:                                                 "signal: killed",
	} {
		p, log := probing(t, command)
		p.quota = new(town.Quota) // from before
		for range 2 {
			p.look(t.Context())
		}
		q, problem := p.Quota()
		if q != nil || !strings.HasPrefix(problem, want) {
			t.Errorf("%s: %+v, %q; want %q", command, q, problem, want)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || strings.Contains(log.String(), "hunter2") {
			t.Errorf("%s: %d lines of log: %s", command, n, log)
		}
		p.command = `echo '{"pct":7}'`
		p.look(t.Context())
		if q, problem := p.Quota(); q == nil || problem != "" || !strings.Contains(log.String(), "works again") {
			t.Errorf("%s, then one that works: %+v, %q, %s", command, q, problem, log)
		}
	}
}

func TestProbeHasNothingOfOurEnvironment(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", "secret")
	out, err := runProbe(t.Context(), "env")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		switch name, _, _ := strings.Cut(line, "="); name {
		case "PATH", "HOME", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_": // the last ones are the shell's own
		default:
			t.Errorf("the probe has %s", name)
		}
	}
}

// What hangs is ended with all that it began, and so is what stays behind.
func TestProbeLeavesNoProcess(t *testing.T) {
	for name, command := range map[string]string{
		"hangs":         "sleep 1000 & echo $! >%[1]s.part; mv %[1]s.part %[1]s; wait",
		"leaves behind": `sleep 1000 & echo $! >%[1]s.part; mv %[1]s.part %[1]s; echo '{"pct":1}'`,
		"holds output":  `(trap "" HUP TERM; sleep 1000) & echo $! >%[1]s.part; mv %[1]s.part %[1]s; echo '{"pct":1}'`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("the test has seen it")
			go func() { // ends once the command runs
				for ctx.Err() == nil {
					if _, err := os.Stat(file); err == nil && name == "hangs" {
						cancel(stop)
					}
					time.Sleep(time.Millisecond)
				}
			}()
			_, err := runProbe(ctx, fmt.Sprintf(command, file))
			if name == "hangs" && !errors.Is(err, stop) || name != "hangs" && err != nil {
				t.Errorf("runProbe() = %v", err)
			}
			cancel(nil)
			var pid int
			data, err := os.ReadFile(file)
			if err == nil {
				_, err = fmt.Sscan(string(data), &pid)
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 5000 { // until whoever inherits it has reaped it
				state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
				if err != nil || strings.Contains(string(state), ") Z ") {
					return
				}
				time.Sleep(time.Millisecond)
			}
			t.Errorf("process %d is left", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		})
	}
}

func TestProbeRunsAtOnceAndEndsWithClose(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	p := StartProbe("echo x >"+file+"; exec sleep 1000", func(s string) string { return s }, slog.New(slog.DiscardHandler))
	for range 5000 {
		if _, err := os.Stat(file); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	p.Close()
	if q, problem := p.Quota(); q != nil || problem != "" {
		t.Errorf("a probe that was closed says %+v, %q", q, problem)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// FuzzProbe: whatever a command says, what follows fits into a heartbeat.
func FuzzProbe(f *testing.F) {
	for _, seed := range []string{
		`{"pct": 42.5, "limit": "five_hour", "remaining": 7, "reset_at_iso": "2100-01-02T15:04:05Z", "error": null}`,
		`{"pct":1e308}`, `{"pct":-1,"reset_at_iso":"9999-12-31T23:59:59-23:00"}`, `{"pct":1,"reset_at_iso":"0000-01-01T00:00:00+23:00"}`,
		`{"error":"\u202e\u0000"}`, `[]`, "null", "", `{"pct":1,"limit":{"a":[1]}}`, `{"PCT":3,"limit":"` + strings.Repeat("ß ", 99) + `"}`,
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, said []byte) {
		q, err := parseProbe(said, now)
		if err != nil {
			if q != nil || strings.ContainsAny(oneLine(err.Error(), 1000), "\n\x00") {
				t.Errorf("%+v with %v", q, err)
			}
			return
		}
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		var again town.Quota
		if err := json.Unmarshal(text, &again); err != nil || again != *q {
			t.Errorf("%s: %+v, %v", text, again, err)
		}
		if !(q.Percent >= 0 && q.Percent <= 100) || q.Name == "" || len([]rune(q.Name)) > maxLimitName || strings.ContainsFunc(q.Name, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%+v", q)
		}
		if until := q.Until(); until.After(now.Add(30 * time.Minute)) {
			t.Errorf("counts until %v", until)
		}
	})
}
