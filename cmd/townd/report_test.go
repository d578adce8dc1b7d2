package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"townd/town"
)

func TestAnAgentReportsWhatBecameOfItsWork(t *testing.T) {
	h := &house{}
	path := filepath.Join(t.TempDir(), "sock")
	serveAgents(t, path, h)
	for _, args := range [][]string{{"report", "done", "all", "tests pass"}, {"report", "waiting"}} {
		if r := asAgent(t, agentEnv(path), strings.NewReader(""), args...); r != (result{}) {
			t.Errorf("%q: %+v", args, r)
		}
	}
	want := []town.Report{{State: town.ReasonDone, Text: "all tests pass"}, {State: town.ReasonWaiting}}
	if diff := cmp.Diff(want, h.reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		env  map[string]string
		args []string
		code int
		want string
	}{
		{agentEnv(path), []string{"report"}, exitUsage, "say done, blocked or waiting"},
		{agentEnv(path), []string{"report", "finished"}, exitUsage, "say done, blocked or waiting"},
		{nil, []string{"report", "done"}, exitFailure, "no agent of a town: TOWND_SOCKET is not set"},
		{map[string]string{socketVariable: path}, []string{"report", "done"}, exitFailure, "GASTOWN_SESSION_TOKEN is not set"},
		{map[string]string{socketVariable: path, capabilityVariable: "old"}, []string{"report", "done"}, exitFailure, "no living agent by this GASTOWN_SESSION_TOKEN"},
	} {
		if r := asAgent(t, c.env, strings.NewReader(""), c.args...); r.code != c.code || !strings.Contains(r.err, c.want) || r.out != "" {
			t.Errorf("%q: %+v, want code %d and %q", c.args, r, c.code, c.want)
		}
	}
}
