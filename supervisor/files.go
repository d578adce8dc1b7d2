package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"townd/supervisor/agentcli"
	"townd/town"
)

const (
	termSignal = syscall.SIGTERM
	killSignal = syscall.SIGKILL
)

// ownerOf returns the user that owns path, itself when it is a link.
func ownerOf(path string) (uint32, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("%s has no owner", path)
	}
	return stat.Uid, nil
}

// writeOwned writes a file below home and makes uid the owner of it and of the
// directories on the way. The agent may have put links there, so the way to it is
// an os.Root, which none leads out of.
func writeOwned(file agentcli.File, home string, uid, gid uint32) error {
	rel, err := filepath.Rel(home, file.Path)
	if err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("write %s: not below the agent's home: %w", file.Path, town.ErrInvalid)
	}
	root, err := os.OpenRoot(home)
	if err != nil {
		return fmt.Errorf("open home: %w", err)
	}
	defer func() { _ = root.Close() }()
	own := func(name string) error {
		if uid == 0 {
			return nil
		}
		return root.Lchown(name, int(uid), int(gid))
	}
	for i, c := range rel {
		if c != filepath.Separator {
			continue
		}
		dir := rel[:i]
		// One that is there may be of a server that was killed before it gave it away.
		if err := root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make %s: %w", dir, err)
		}
		if err := own(dir); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	// Written anew, so that whoever has the old one open does not see this one.
	if err := root.Remove(rel); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace %s: %w", rel, err)
	}
	if err := root.WriteFile(rel, file.Data, file.Mode); err != nil {
		return fmt.Errorf("write %s: %w", rel, err)
	}
	return own(rel)
}

// startKind is what a failure to write in an agent's home means: a full disk, or
// something that the agent has put there.
func startKind(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return town.ErrNoSpace
	}
	return town.ErrStartFailed
}

// authorEmail is the address of an agent in commits. ".invalid" never resolves (RFC 2606).
func authorEmail(req *town.StartRequest) string {
	return strings.ToLower(req.AgentID) + "@" + strings.ToLower(req.TownID) + ".invalid"
}

func encodeNote(n note) (json.RawMessage, error) {
	data, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("encode note: %w", err)
	}
	return data, nil
}
