package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"townd/gitmgr"
	"townd/prompts"
	"townd/supervisor/agentcli"
	"townd/supervisor/keeper"
	"townd/town"
)

// made is what a start has made: the worktree and the process.
type made struct {
	worktree gitmgr.Worktree
	gid      uint32
	spawn    keeper.Spawn
	run      keeper.Run
}

// prepare makes the worktree, the prompt and the agent's files.
func (s *Supervisor) prepare(ctx context.Context, cli agentcli.CLI, rec *record, env map[string]string, capability string, next message) (m made, err error) {
	req := &rec.Request
	if rec.Seq == 0 {
		if m.worktree, err = s.worktree(ctx, rec); err != nil {
			return m, err
		}
		rec.Agent.Workdir = m.worktree.Dir
		if rec.UID != 0 {
			rec.GID = m.worktree.GID
		}
	}
	m.gid = rec.GID
	home, err := s.makeHome(rec)
	if err != nil {
		return m, err
	}
	spec := s.cliSpec(req, env, rec.Agent.Workdir, home)
	if cli.Structured() {
		spec.Prompt, spec.MessageID = next.Text, next.ID
	}
	spec.SessionID, spec.Fork = rec.Agent.SessionID, spec.Fork && rec.Seq == 0
	spec.Model, spec.Models = rec.Agent.Model, s.models(cli, env, rec.Agent.Model, capability)
	spec.Hooks, spec.ProjectHooks = s.cfg.Socket != "", s.cfg.ProjectHooks[req.RigID]
	tools := s.townTools(req.Role)
	spec.MCP = s.toolServers(cli, tools, capability)
	if rec.System != "" {
		spec.SystemPrompt = rec.System
	}
	if spec.SystemPrompt == "" {
		if spec.SystemPrompt, err = prompts.Render(req.Role, prompts.Data{
			Name: req.Name, Identity: req.Identity, AgentID: req.AgentID, RigID: req.RigID, TownID: req.TownID,
			Branch: req.Branch, DefaultBranch: req.DefaultBranch, BeadID: req.BeadID, Workdir: rec.Agent.Workdir,
			Report: s.cfg.Socket != "", Rules: s.cfg.Rules.Sentences(),
			Tools: tools, ToolPrefix: cmp.Or(cli.ToolPrefix(toolServer), prompts.ShellPrefix),
		}); err != nil {
			return m, err
		}
	}
	launch, err := cli.Launch(spec)
	if err != nil {
		return m, err
	}
	for _, file := range launch.Files {
		if err := writeOwned(file, home, rec.UID, rec.GID); err != nil {
			return m, fmt.Errorf("%w: %w", err, startKind(err))
		}
	}
	m.spawn = keeper.Spawn{
		Run: rec.Agent.RunID, Seq: rec.Seq, Argv: launch.Argv, Dir: rec.Agent.Workdir, Env: s.environ(rec, capability, env, launch.Env),
		UID: rec.UID, GID: rec.GID, Cols: req.Cols, Rows: req.Rows, Raw: launch.Raw, PipeInput: launch.PipeInput,
		Stdin: launch.Stdin, CloseStdin: launch.CloseStdin, Transcript: s.runDir(rec.Agent.RunID),
		Segment: s.cfg.Retention.SegmentBytes, Total: s.cfg.Retention.TotalBytes, LeftoverGrace: leftoverGrace,
	}
	return m, nil
}

// undoWorktree removes the worktree that was made for a start that failed.
func (s *Supervisor) undoWorktree(rec *record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), undoTimeout) // owed even while we close
	defer cancel()
	if err := s.cfg.Git.Remove(ctx, rec.Request.RigID, rec.Request.Branch, false); err != nil {
		s.log.Warn("worktree of a failed start not removed", "agent", rec.Request.AgentID, "error", err)
	}
}

const undoTimeout = 10 * time.Second

// leftoverGrace is what programs get that an agent's program left behind when
// it ended by itself.
const leftoverGrace = 2 * time.Second

// cliSpec is what of a request the CLI needs to know.
func (s *Supervisor) cliSpec(req *town.StartRequest, env map[string]string, workdir, home string) agentcli.Spec {
	return agentcli.Spec{
		Role: req.Role, Prompt: req.Prompt, SystemPrompt: req.SystemPrompt, Model: req.Model,
		Workdir: workdir, Home: home, Command: req.Command, Townd: s.cfg.Townd, Env: env, Effort: req.Effort, Fork: req.Fork,
	}
}

// makeHome makes the agent's own directories and returns its HOME.
func (s *Supervisor) makeHome(rec *record) (home string, err error) {
	dir := s.agentDir(rec.Request.AgentID)
	home = filepath.Join(dir, "home")
	for _, d := range []string{home, filepath.Join(dir, "tmp")} {
		if err := makeDir(d, 0o700); err != nil {
			return "", fmt.Errorf("make home: %w", err)
		}
		if err := giveTree(d, rec.UID, rec.GID); err != nil {
			return "", fmt.Errorf("make home: %w", err)
		}
	}
	if err := makeArtifactsDir(home, rec.UID, rec.GID); err != nil {
		return "", fmt.Errorf("make home: %w", err)
	}
	return home, nil
}

// giveTree makes uid the owner of dir and all in it, unless it is already.
func giveTree(dir string, uid, gid uint32) error {
	if owner, err := ownerOf(dir); uid == 0 || err != nil || owner == uid {
		return err
	}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if path == dir { // last: it says that the rest was given
			return err
		}
		return errors.Join(err, os.Lchown(path, int(uid), int(gid)))
	})
	return errors.Join(err, os.Lchown(dir, int(uid), int(gid)))
}
