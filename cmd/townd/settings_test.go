package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"townd/coordinator/townhall"
	"townd/supervisor"
	"townd/supervisor/rules"
)

// parseSettings does what serve does with its flags and environment.
func parseSettings(args []string, env map[string]string) (Config, error) {
	var c Config
	getenv := func(name string) string { return env[name] }
	settings := c.settings()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	addFlags(flags, settings)
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	return c, c.load(flags, settings, getenv)
}

func TestSettingsComeFromFlagThenEnvironmentThenDefault(t *testing.T) {
	got, err := parseSettings(
		[]string{"--listen", "127.0.0.1:1", "--log-gzip-after-hours", "0.5"},
		map[string]string{
			"TOWND_HOME": "/srv/town", "TOWND_LISTEN": "127.0.0.1:2", "TOWND_TOKEN": "t", "TOWND_GIT_PROTOCOLS": " https, file ",
			"TOWND_STOP_SECONDS": "120", "TOWND_MAX_AGENTS": "", "AGENT_LOG_DELETE_AFTER_DAYS": "0", "TOWND_NEVER_HEARD_OF": "x",
			"TOWND_RULES": "release,server", "TOWND_PROJECT_HOOKS": "mine, ours",
			"WORKSPACE_CLEANUP_TTL_MS": "60000", "TOWND_GIT_PUBLIC_ONLY": "true", "TOWND_GIT_ALLOW_HOSTS": "git.lan, forge",
			"TOWND_COORDINATOR_URL": "https://example.com/base", "TOWND_HEARTBEAT_SECONDS": "90", "GASTOWN_API_URL": "https://earlier.example.com",
		})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Home: "/srv/town", Listen: "127.0.0.1:1", Token: "t", ShareFor: 24 * time.Hour, GitProtocols: []string{"https", "file"},
		StopBudget: 2 * time.Minute, MaxAgents: 256, UIDBase: 40000, UIDCount: 1000, GIDBase: 50000,
		TranscriptBytes: 64 << 20, ArtifactBytes: 64 << 20, GzipAfter: 30 * time.Minute,
		Rules: rules.Set{rules.Release, rules.Server}, ProjectHooks: map[string]bool{"mine": true, "ours": true},
		Git: gitSettings{Pool: 2, App: githubApp{API: "https://api.github.com"}, PublicOnly: true, AllowHosts: []string{"git.lan", "forge"}},
		House: houseSettings{supervisor.Housekeeping{
			Every: 10 * time.Minute, KeepWorktrees: time.Minute, MinFreeBytes: 1 << 30, CheckpointsOlderThan: 30 * 24 * time.Hour,
		}},
		Coordinator: coordinatorSettings{URL: "https://example.com/base", Polecats: 5, TownID: "local", Heartbeat: 90 * time.Second, Beads: townhall.BeadCaps{Depth: 3, PerBead: 20, Open: 200}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Config (-want +got):\n%s", diff)
	}
}

func TestSettingsThatCannotBeUsedAreAllNamed(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		env  map[string]string
		want []string // each in the error
	}{
		{"not numbers", nil, map[string]string{
			"TOWND_STOP_SECONDS": "soon", "TOWND_MAX_AGENTS": "many", "TOWND_UID_BASE": "-1", "TOWND_UID_COUNT": "99999999999",
			"AGENT_LOG_GZIP_AFTER_HOURS": "NaN", "AGENT_LOG_DELETE_AFTER_DAYS": "1e300", "LOG_LEVEL": "loud",
			"TOWND_RULES": "manners",
		}, []string{
			"TOWND_RULES",
			"TOWND_STOP_SECONDS", "TOWND_MAX_AGENTS", "TOWND_UID_BASE", "TOWND_UID_COUNT", "AGENT_LOG_GZIP_AFTER_HOURS",
			"AGENT_LOG_DELETE_AFTER_DAYS", "LOG_LEVEL", `not "soon"`,
		}},
		{"out of range", nil, map[string]string{
			"TOWND_HOME": "relative", "TOWND_LISTEN": "8080", "TOWND_TOKEN": "two words", "TOWND_GIT_PROTOCOLS": "https,gopher",
			"TOWND_STOP_SECONDS": "0.5", "TOWND_MAX_AGENTS": "0", "TOWND_UID_BASE": "4294967000", "TOWND_TRANSCRIPT_BYTES": "1024",
			"TOWND_GID_BASE": "0", "TOWND_POOL_SIZE": "33",
		}, []string{
			"TOWND_HOME", "TOWND_LISTEN", "TOWND_TOKEN", `"gopher"`, "TOWND_STOP_SECONDS", "TOWND_MAX_AGENTS", "TOWND_UID_BASE",
			"TOWND_TRANSCRIPT_BYTES", "TOWND_GID_BASE", "TOWND_POOL_SIZE",
		}},
		{"no protocol", nil, map[string]string{"TOWND_GIT_PROTOCOLS": ","}, []string{"at least one"}},
		{"a flag", []string{"--max-agents", "x"}, nil, []string{"--max-agents", "whole number"}},
		{"an unknown flag", []string{"--token", "secret"}, nil, []string{"unknown flag: --token"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseSettings(tt.args, tt.env)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "two words") {
				t.Errorf("error %q shows the token", err)
			}
		})
	}
}

func TestSettingsWithoutIsolationNeedNoIDs(t *testing.T) {
	if _, err := parseSettings(nil, map[string]string{"TOWND_UID_COUNT": "0", "TOWND_UID_BASE": "0", "TOWND_HOME": "/h"}); err != nil {
		t.Error(err)
	}
}
