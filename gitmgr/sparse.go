package gitmgr

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"townd/town"
)

const (
	sparseName   = "sparse-checkout"
	sparseConfig = "[core]\n\tsparseCheckout = true\n\tsparseCheckoutCone = true\n"
)

// checkSparse refuses what is not the plain path of a directory in a repository: git
// would take it for a pattern, or another place.
func checkSparse(dirs []string) error {
	for _, dir := range dirs {
		why := ""
		switch {
		case dir == "", strings.HasPrefix(dir, "/"), strings.HasSuffix(dir, "/"), strings.Contains(dir, "//"):
			why = "must be a path within the repository, as a/b"
		case strings.ContainsAny(dir, `*?[]\!#"`) || strings.ContainsFunc(dir, func(r rune) bool { return !unicode.IsPrint(r) }):
			why = "must be a plain path without patterns"
		case len(dir) > maxRefBytes/2:
			why = "is too long"
		}
		for part := range strings.SplitSeq(dir, "/") {
			if part == "." || part == ".." || strings.EqualFold(part, ".git") {
				why = "must not hold " + part
			}
		}
		if why != "" {
			return fmt.Errorf("sparse checkout of %q: %s: %w", dir, why, town.ErrInvalid)
		}
	}
	return nil
}

// sparseDirs returns the directories that the worktree of a branch is to hold, none
// for all: gates need all.
func (r *rig) sparseDirs(branch string) []string {
	if branch == gateBranch {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settings.Sparse
}

// sparseText is git's file of patterns for directories, in the form that it calls a
// cone: the files at the top, those beside the way, and all below each.
func sparseText(dirs []string) string {
	if len(dirs) == 0 {
		return ""
	}
	above, all := map[string]bool{}, map[string]bool{}
	for _, dir := range dirs {
		all[dir] = true
		for up := filepath.Dir(dir); up != "."; up = filepath.Dir(up) {
			above[up] = true
		}
	}
	lines := []string{"/*", "!/*/"}
	var names []string
	for dir := range above {
		names = append(names, dir)
	}
	slices.Sort(names)
	for _, dir := range names {
		if !within(all, dir) {
			lines = append(lines, "/"+dir+"/", "!/"+dir+"/*/")
		}
	}
	names = names[:0]
	for dir := range all {
		if up := filepath.Dir(dir); up == "." || !within(all, up) {
			names = append(names, dir)
		}
	}
	slices.Sort(names)
	for _, dir := range names {
		lines = append(lines, "/"+dir+"/")
	}
	return strings.Join(lines, "\n")
}

// inSparse reports whether a worktree of those directories holds a file.
func inSparse(dirs []string, path string) bool {
	if len(dirs) == 0 || !strings.Contains(path, "/") {
		return true
	}
	up := filepath.Dir(path)
	return slices.ContainsFunc(dirs, func(dir string) bool {
		return up == dir || strings.HasPrefix(up, dir+"/") || strings.HasPrefix(dir, up+"/")
	})
}

// within reports whether dir is one of all or below one.
func within(all map[string]bool, dir string) bool {
	for ; dir != "."; dir = filepath.Dir(dir) {
		if all[dir] {
			return true
		}
	}
	return false
}

// sparseSpecs are the pathspecs of what a sparse worktree holds.
func sparseSpecs(dirs []string) []string {
	specs := []string{":(top,glob)*"}
	for _, dir := range dirs {
		specs = append(specs, ":(top,literal)"+dir)
		for up := filepath.Dir(dir); up != "."; up = filepath.Dir(up) {
			specs = append(specs, ":(top,glob)"+up+"/*")
		}
	}
	return specs
}

// makeSparse has a new worktree hold the rig's directories only. The rig is held.
func (r *rig) makeSparse(admin string, s Spec) error {
	text := sparseText(r.sparseDirs(s.Branch))
	if text == "" {
		return nil
	}
	config := filepath.Join(r.repo, "config")
	b, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	if !strings.Contains(string(b), sparseConfig) {
		if err := writeFile(config, string(b)+sparseConfig, 0o644); err != nil {
			return err
		}
	}
	info := filepath.Join(admin, "info")
	return errors.Join(mkdir(info, 0o755), r.writeOwned(info, sparseName, text, s.Owner), r.give(info, s.Owner))
}

// filledName is a file beside a worktree's HEAD that says what it was filled with.
const filledName = "town-filled"

// filled says what the rig's settings have a new worktree filled with besides git's files.
func (r *rig) filled() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("lfs=%v", r.settings.LFS)
}

// isAsSet reports whether a worktree holds what the rig's settings say.
func (r *rig) isAsSet(slot string) bool {
	want := sparseText(r.sparseDirs(slot))
	have, err := readOwned(filepath.Join(r.admin(slot), "info"), sparseName)
	if err != nil {
		have = ""
	}
	filled, err := readOwned(r.admin(slot), filledName)
	return err == nil && strings.TrimSpace(filled) == r.filled() && strings.TrimSpace(have) == want
}
