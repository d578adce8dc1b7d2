package supervisor

import (
	"maps"
	"os"
	"path/filepath"
	"slices"

	"townd/gitmgr"
	"townd/town"
)

// inherited are the only variables of our own environment that agents get:
// where programs and certificates are and how to reach the network. None holds
// a credential of the town.
var inherited = []string{
	"PATH", "LANG", "TZ",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
}

// environ is the whole environment of an agent's program, later ones winning:
// what every program needs, the town's words, what the caller gave, and what the
// CLI needs. The GASTOWN_ names are those that Kilo's tools expect.
func (s *Supervisor) environ(rec *record, capability string, caller, cli map[string]string) []string {
	req := &rec.Request
	env := map[string]string{
		"LANG": "C.UTF-8", "TERM": "xterm-256color", "COLORTERM": "truecolor", "SHELL": "/bin/sh",
		"HOME":   filepath.Join(s.agentDir(req.AgentID), "home"),
		"TMPDIR": filepath.Join(s.agentDir(req.AgentID), "tmp"),

		"TOWND_ARTIFACTS": filepath.Join(s.agentDir(req.AgentID), "home", artifactsName),

		"GIT_AUTHOR_NAME": req.Name, "GIT_AUTHOR_EMAIL": authorEmail(req),
		"GIT_COMMITTER_NAME": req.Name, "GIT_COMMITTER_EMAIL": authorEmail(req),
		"GIT_TERMINAL_PROMPT": "0",

		"GASTOWN_AGENT_ID": req.AgentID, "GASTOWN_RIG_ID": req.RigID, "GASTOWN_TOWN_ID": req.TownID,
		"GASTOWN_AGENT_ROLE": string(req.Role), "GASTOWN_SESSION_TOKEN": capability,

		"TOWND_RUN_ID": rec.Agent.RunID, // marks every process of the run
	}
	if a := s.cfg.Author; a != (gitmgr.Identity{}) {
		env["GIT_AUTHOR_NAME"], env["GIT_AUTHOR_EMAIL"] = a.Name, a.Email
	}
	if req.BeadID != "" {
		env["TOWND_BEAD_ID"] = req.BeadID
	}
	if s.cfg.Socket != "" {
		env["TOWND_SOCKET"] = s.cfg.Socket
	}
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	if dir := filepath.Dir(s.cfg.Townd); s.cfg.Socket != "" && !slices.Contains(filepath.SplitList(env["PATH"]), dir) {
		env["PATH"] += ":" + dir // for `townd report`
	}
	maps.Copy(env, caller)
	maps.Copy(env, cli)
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return append(list, s.gitEnv(rec, capability)...)
}

// checkNote returns an *town.InvalidError when the caller's environment is more
// than the keeper holds for a run.
func checkNote(env map[string]string) error {
	data, err := encodeNote(note{EnvVars: env})
	if err == nil && len(data) > maxEnvBytes {
		err = &town.InvalidError{Issues: []town.Issue{{Path: "envVars", Message: "are more than 240 KiB together, as JSON"}}}
	}
	return err
}

// maxEnvBytes leaves the rest of the keeper's 256 KiB note to what we add.
const maxEnvBytes = 240 << 10
