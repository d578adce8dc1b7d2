// Package artifact keeps what a run leaves besides its output: the town's own account
// of it, and the files that its agent put into a directory for that. It knows files
// and digests, and nothing of agents, git or HTTP.
//
// The directory of a run gets:
//
//	artifacts.json      what there is, a town.Artifacts
//	artifacts/{sha256}  the contents; no file has a name that an agent chose
//
// A kill at any moment leaves what was there before or what came in its place, whole.
package artifact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"townd/town"
)

const (
	listName  = "artifacts.json"
	filesName = "artifacts"
)

// List returns what is kept in the directory of a run, nothing when nothing was taken.
func List(dir string) (town.Artifacts, error) {
	none := town.Artifacts{Artifacts: []town.Artifact{}}
	data, err := os.ReadFile(filepath.Join(dir, listName))
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("list artifacts: %w", err)
	}
	var list town.Artifacts
	if err := json.Unmarshal(data, &list); err != nil {
		return none, fmt.Errorf("list artifacts: %w", err)
	}
	return list, nil
}

var digest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Open opens what is kept under a name. It returns ErrNotFound when there is none. The
// caller closes the file.
func Open(dir, name string) (*os.File, town.Artifact, error) {
	list, err := List(dir)
	if err != nil {
		return nil, town.Artifact{}, err
	}
	for _, a := range list.Artifacts {
		if a.Name != name || !digest.MatchString(a.SHA256) {
			continue
		}
		f, err := os.Open(filepath.Join(dir, filesName, a.SHA256))
		if errors.Is(err, fs.ErrNotExist) {
			break // taken anew, or deleted with its run, meanwhile
		}
		return f, a, err
	}
	return nil, town.Artifact{}, fmt.Errorf("artifact %.300q: %w", name, town.ErrNotFound)
}
