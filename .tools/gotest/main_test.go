package main

import (
	"strings"
	"testing"
)

const (
	passed  = `{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}` + "\n" + `{"Action":"pass","Package":"p","Elapsed":0.2}` + "\n"
	skipped = `{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: no docker\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestB"}` + "\n"
	failed  = `{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: got 1\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestC"}` + "\n"
	panicky = `{"Action":"output","Package":"q","Test":"TestD","Output":"panic: boom\n"}` + "\n" + `{"Action":"fail","Package":"q","Elapsed":0.2}` + "\n"
)

func TestReportFailsForWhatProvesNothing(t *testing.T) {
	for _, tt := range []struct {
		name, events string
		ci           bool
		want         string // part of what is printed
		wantErr      string // "" for none
	}{
		{"passed", passed, true, "1 passed, 0 failed, 0 skipped in 1 packages", ""},
		{"skipped at home", passed + skipped, false, "SKIP p TestB: b_test.go:3: no docker", ""},
		{"skipped in CI", passed + skipped, true, "1 skipped", "1 skipped: in CI every test must run"},
		{"failed", passed + failed, false, "c_test.go:9: got 1", "1 failed"},
		{"failed, in the summary", failed + passed, false, "FAIL p TestC\n    c_test.go:9: got 1\n1 passed", "1 failed"},
		{"cut off by a panic", passed + panicky, false, "panic: boom", "1 failed"},
		{"package without tests", `{"Action":"skip","Package":"r"}` + "\n" + passed, true, "0 skipped", ""},
		{"nothing", "", false, "0 passed", "no test ran"},
		{"a message of the go command", "go: no such file\n", false, "go: no such file", "no test ran"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			err := report(strings.NewReader(tt.events), &out, tt.ci)
			if got := errText(err); got != tt.wantErr {
				t.Errorf("report() = %q, want %q", got, tt.wantErr)
			}
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("printed %q, want %q in it", out.String(), tt.want)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
