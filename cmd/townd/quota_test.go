package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

// C4, C6, C7: what a command measures holds new work back, and nothing else.
func TestAQuotaHoldsNewWorkBack(t *testing.T) {
	says := filepath.Join(shortDir(t), "quota.json")
	if err := os.WriteFile(says, []byte(`{"pct": 4.2, "reset_at_iso": "`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tt := startTownWith(t, map[string]string{"TOWND_QUOTA_PROBE": "cat " + says, "TOWND_HEARTBEAT_SECONDS": "1"})
	tt.ok("rig", "add", "site", "--repo", tt.repo, "--cli", "demo")
	status := func() town.TownStatus { return answerOf[town.TownStatus](t, tt, "town", "status") }
	for status().Quota == nil { // a heartbeat has no event for those outside
		time.Sleep(20 * time.Millisecond)
	}
	if q := status().Quota; q.Percent != 4.2 || q.Name != "quota" || q.Provider != "" {
		t.Errorf("quota %+v", q)
	}
	var health api.Health
	if err := json.Unmarshal([]byte(tt.ok("health", "--json")), &health); err != nil || health.QuotaProbe == nil || health.QuotaProbe.Percent != 4.2 || len(health.Warnings) > 1 {
		t.Errorf("health %+v, %v", health, err)
	}
	wantContains(t, "min-quota", tt.ok("town", "min-quota", "10"), "4 % of the quota left", "minimum 10 %", "\nstandby until ")
	for _, wrong := range []string{"-1", "101", "ten"} {
		if r := tt.townd("town", "min-quota", "--", wrong); r.code == 0 || !strings.Contains(r.err, "0 to 100") && !strings.Contains(r.err, "no whole number") {
			t.Errorf("min-quota %s: %+v", wrong, r)
		}
	}
	tt.ok("sling", "site", "write a haiku")
	wantContains(t, "town status", tt.ok("town", "status"), "write a haiku", "standby until ")
	tt.ok("start", "--repo", tt.repo, "--name", "rye", "--", "sleep", "1000") // by hand
	if s := status(); s.Beads[town.BeadOpen] != 1 || s.Standby == nil {
		t.Errorf("in standby the town is %+v", s)
	}
	p := newPerson(t, 120, 20)
	env := tt.env()
	done := make(chan int, 1)
	go func() {
		done <- run(t.Context(), []string{"top"}, stdio{p.tty, p.tty, p.screen, func(name string) string { return env[name] }})
	}()
	p.screen.await(t, "standby until ")
	p.types(t, "q")
	if code := <-done; code != 0 {
		t.Errorf("top ended with %d", code)
	}
	tt.ok("town", "min-quota", "0")
	for status().Beads[town.BeadOpen] > 0 {
		time.Sleep(20 * time.Millisecond)
	}
}
