package container_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"townd/api"
	"townd/container"
	"townd/supervisor"
	"townd/town"
)

func TestSettingsOfRigsAreTakenAndWrongOnesNamed(t *testing.T) {
	home := ""
	tt := newTownWith(t, func(c *container.Config) { home = c.Home })
	got, err := tt.SyncConfig(t.Context(), api.SyncRequest{Rigs: map[string]town.RigSettings{
		"rig": {GitURL: tt.remote, EnvVars: map[string]string{"API_KEY": "very-secret-value-9"}, Git: town.GitSettings{Sparse: []string{"dir000"}, QuotaBytes: 1 << 40}},
	}})
	if err != nil || !got.Synced || len(got.Ignored) != 0 {
		t.Errorf("SyncConfig() = %+v, %v", got, err)
	}
	kept, err := os.ReadFile(filepath.Join(home, "rig-settings.json"))
	if err != nil || !strings.Contains(string(kept), "dir000") || strings.Contains(string(kept)+tt.logs.String(), "very-secret") {
		t.Errorf("kept are %s, %v; want the directory and no secret", kept, err)
	}
	if got, err := tt.SyncConfig(t.Context(), api.SyncRequest{}); err != nil || !got.Synced {
		t.Errorf("SyncConfig() of nothing = %+v, %v", got, err)
	}
	answer := tt.call(http.MethodPost, "/sync-config", `{"townId":"t","rigs":{"rig":{"color":"red","git":{"deep":1}}}}`).object(t)
	if ignored := asList(answer["ignored"]); answer["synced"] != true || len(ignored) != 3 || ignored[0] != "rigs.rig.color" || ignored[1] != "rigs.rig.git.deep" {
		t.Errorf("sync-config answered %v, want three fields ignored", answer)
	}
	for body, want := range map[string]string{
		`{"rigs":{"../x":{}}}`:                                  "rigs.../x.rigId",
		`{"rigs":{"r":{"gitUrl":"ext::sh -c x"}}}`:              "rigs.r.gitUrl",
		`{"rigs":{"r":{"gitUrl":"https://u:p@example.org/x"}}}`: "rigs.r.gitUrl",
		`{"rigs":{"r":{"git":{"depth":-1}}}}`:                   "rigs.r.git.depth",
		`{"rigs":{"r":{"git":{"fetchEverySeconds":-1}}}}`:       "rigs.r.git.fetchEverySeconds",
		`{"rigs":{"r":{"git":{"quotaBytes":-1}}}}`:              "rigs.r.git.quotaBytes",
		`{"rigs":{"r":{"git":{"sparse":["../up"]}}}}`:           "rigs.r.git",
		`{"rigs":{"r":{"git":{"lfs":"yes"}}}}`:                  "rigs.r.git.lfs",
		`{"rigs":{"r":null}}`:                                   "rigs.r",
	} {
		refused(t, tt.call(http.MethodPost, "/sync-config", body), http.StatusBadRequest, want)
	}
	refused(t, tt.callAs("", http.MethodPost, "/sync-config", `{}`), http.StatusUnauthorized, "token")
}

// M9: what rigs take of the disk is told, and one over its quota where people look.
func TestDiskOfRigsIsToldInMetricsAndHealth(t *testing.T) {
	tt := newTownOf(t, func(c *supervisor.Config) {
		c.Housekeeping = supervisor.Housekeeping{Every: 20 * time.Millisecond}
	}, func(c *container.Config) { c.Warnings = []string{"the home is in memory"} })
	tt.start("toast", "sleep")
	if _, err := tt.SyncConfig(t.Context(), api.SyncRequest{Rigs: map[string]town.RigSettings{"rig": {Git: town.GitSettings{QuotaBytes: 1}}}}); err != nil {
		t.Fatal(err)
	}
	var health api.Health
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) && len(health.Degraded) == 0; time.Sleep(5 * time.Millisecond) { // a look has no event
		var err error
		if health, err = tt.Health(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if health.Status != api.HealthDegraded || !strings.Contains(strings.Join(health.Degraded, "; "), "rig rig takes") || len(health.Warnings) != 1 {
		t.Errorf("health is %+v, want the rig over its quota and a warning", health)
	}
	metrics := string(tt.call(http.MethodGet, "/metrics", "").body)
	for _, want := range []string{
		`agent_workspace_bytes{rig="rig"} `, `townd_rig_bytes{part="repo",rig="rig"} `, `townd_worktrees{rig="rig"} 1`, "townd_disk_free_bytes ",
		"townd_worktrees_unsaved 0", `townd_collected_total{kind="worktree"} 0`, `townd_collected_total{kind="lfs"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(metrics, `agent_workspace_bytes{rig="rig"} 0`) {
		t.Error("a worktree takes no room")
	}
}
