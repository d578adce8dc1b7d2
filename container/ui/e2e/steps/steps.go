// Package steps runs what a person does at a dashboard, in a real browser, as tests.
package steps

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Run runs a script of container/ui/e2e with that environment besides the test's own,
// and makes a subtest of each line of JSON that it prints. The steps depend on each
// other. It ends the script after patience and skips the test without a browser.
func Run(t *testing.T, script string, patience time.Duration, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, need(t, "node"), script)
	cmd.Env = append(append(os.Environ(), "CHROMIUM="+need(t, "chromium")), env...)
	if _, err := os.Stat(filepath.Join(filepath.Dir(script), "../node_modules/playwright-core")); err != nil {
		t.Skip("playwright-core is not installed: npm ci --prefix container/ui")
	}
	var told bytes.Buffer
	cmd.Stderr = &told
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := report(t, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s after %d steps: %v\n%s", script, n, err, told.String())
	}
}

func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return path
}

// report makes each line of out a subtest and returns how many there were.
func report(t *testing.T, out io.Reader) (n int) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var step struct{ Name, Error string }
		if err := json.Unmarshal(lines.Bytes(), &step); err != nil {
			t.Log(lines.Text())
			continue
		}
		n++
		t.Run(step.Name, func(t *testing.T) {
			if step.Error != "" {
				t.Error(step.Error)
			}
		})
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	return n
}
