// Gotest reads the events of go test -json, prints one closing line per
// package, the whole output of what failed, and a summary that says in short what
// each failed test said. Its exit status is 1
// when anything failed, when nothing ran, and, with CI set in the environment,
// when any test was skipped: a skipped test proves nothing.
//
//	go test -json ./... | go run -C .tools ./gotest
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	if err := report(os.Stdin, os.Stdout, os.Getenv("CI") != ""); err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
}

// event is one line of go test -json; see go doc cmd/test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// run is what has happened to one test, or to a package as a whole.
type run struct{ pkg, test string }

type summary struct {
	output                  map[run][]string
	passed, failed, skipped int
	packages                int
	skips                   []string
	failures                []string // what each failed test said, in short
}

func report(r io.Reader, w io.Writer, ci bool) error {
	start := time.Now()
	s := summary{output: map[run][]string{}}
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if strings.TrimSpace(line) != "" {
			s.line(w, line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
	for _, skip := range s.skips {
		fmt.Fprintln(w, "SKIP", skip)
	}
	for _, failure := range s.failures {
		fmt.Fprintln(w, "FAIL", failure)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped in %d packages (%.1fs)\n",
		s.passed, s.failed, s.skipped, s.packages, time.Since(start).Seconds())
	switch {
	case s.failed > 0:
		return fmt.Errorf("%d failed", s.failed)
	case s.passed == 0:
		return fmt.Errorf("no test ran")
	case ci && s.skipped > 0:
		return fmt.Errorf("%d skipped: in CI every test must run", s.skipped)
	}
	return nil
}

func (s *summary) line(w io.Writer, line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(w, line) // not an event: a message of the go command itself
		return
	}
	key := run{e.Package, e.Test}
	switch e.Action {
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "build-output":
		fmt.Fprint(w, e.Output)
	case "pass":
		s.end(w, e, "ok")
	case "skip":
		s.end(w, e, "skip")
	case "fail":
		s.end(w, e, "FAIL")
	}
}

// end prints what a finished test or package owes and forgets its output.
func (s *summary) end(w io.Writer, e event, outcome string) {
	key := run{e.Package, e.Test}
	text := strings.Join(s.output[key], "")
	delete(s.output, key)
	switch {
	case e.Test == "":
		s.endPackage(w, e, outcome, text)
	case outcome == "FAIL":
		s.failed++
		s.failures = append(s.failures, e.Package+" "+e.Test+said(text))
		fmt.Fprint(w, text)
	case outcome == "skip":
		s.skipped++
		s.skips = append(s.skips, e.Package+" "+e.Test+": "+reason(text))
	default:
		s.passed++
	}
}

func (s *summary) endPackage(w io.Writer, e event, outcome, text string) {
	if outcome == "skip" { // a package without test files is no skipped test
		return
	}
	s.packages++
	if outcome == "FAIL" {
		s.failed++ // also a panic, a data race or a failed build outside any test
		s.unfinished(w, e.Package)
		fmt.Fprint(w, text)
	}
	fmt.Fprintf(w, "%-4s %s\t%.3fs\n", outcome, e.Package, e.Elapsed)
}

// unfinished prints the output of tests that a panic or a timeout cut off.
func (s *summary) unfinished(w io.Writer, pkg string) {
	var cut []run
	for key := range s.output {
		if key.pkg == pkg && key.test != "" {
			cut = append(cut, key)
		}
	}
	slices.SortFunc(cut, func(a, b run) int { return strings.Compare(a.test, b.test) })
	for _, key := range cut {
		fmt.Fprint(w, strings.Join(s.output[key], ""))
		delete(s.output, key)
	}
}

// Bounds of what the summary repeats of a failed test.
const (
	maxSaid     = 8   // lines
	maxSaidLine = 300 // bytes
)

var saidLine = regexp.MustCompile(`(?m)^ +\w+_test\.go:\d+: .*$`)

// said returns the lines of a failed test's output that come from t.Error and its kin.
func said(text string) string {
	var b strings.Builder
	for _, line := range saidLine.FindAllString(text, maxSaid) {
		b.WriteString("\n" + line[:min(len(line), maxSaidLine)])
	}
	return b.String()
}

// reason picks the text of t.Skip out of a skipped test's output.
func reason(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}
