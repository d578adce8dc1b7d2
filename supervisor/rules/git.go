package rules

import (
	"slices"
	"strings"
)

// gitCall is a git command line taken apart.
type gitCall struct {
	dirs   []string // of -C, --git-dir and --work-tree
	config []string // of -c
	sub    string   // the subcommand, "" when there is none
	args   []string // its arguments
}

func parseGit(args []string) gitCall {
	var g gitCall
	for i := 1; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "-C" || a == "--git-dir" || a == "--work-tree":
			if i++; i < len(args) {
				g.dirs = append(g.dirs, args[i])
			}
		case a == "-c" || a == "--config-env":
			if i++; i < len(args) {
				g.config = append(g.config, args[i])
			}
		case a == "--namespace" || a == "--exec-path" || a == "--super-prefix":
			i++
		case strings.HasPrefix(a, "--git-dir=") || strings.HasPrefix(a, "--work-tree="):
			_, dir, _ := strings.Cut(a, "=")
			g.dirs = append(g.dirs, dir)
		case strings.HasPrefix(a, "-"):
		default:
			g.sub, g.args = a, args[i+1:]
			return g
		}
	}
	return g
}

// gitLooks are subcommands that change nothing.
var gitLooks = words(`status log diff show rev-parse ls-files ls-tree ls-remote cat-file blame grep describe shortlog rev-list for-each-ref merge-base
	name-rev reflog show-ref symbolic-ref whatchanged count-objects check-ignore version help var diff-tree diff-index range-diff cherry`)

// git judges a git command.
func (j *judge) git(sc *scope, args []string) {
	g := parseGit(args)
	if !known(g.sub) || slices.ContainsFunc(g.config, func(c string) bool { return strings.HasPrefix(c, "alias.") || !known(c) && !strings.Contains(c, "=") }) {
		j.unclear(strings.Join(args, " "), "which git command it is stands elsewhere; write it out")
		return
	}
	dir := sc
	for _, d := range g.dirs {
		if dir == sc {
			dir = sc.sub()
		}
		full, ok := dir.resolve(d)
		dir.dir = ""
		if ok {
			dir.dir = full
		}
	}
	elsewhere := dir.dir == "" || !j.inside(dir.dir)
	if elsewhere && !gitLooks[g.sub] && !slices.Contains([]string{"", "clone", "init", "config", "credential"}, g.sub) {
		j.deny(Outside, "%s would change another repository than yours: work in %s.", show("git "+g.sub), j.where.Workdir)
	}
	switch g.sub {
	case "push":
		j.push(g.args)
	case "send-pack", "send-email", "http-push":
		j.released("git " + g.sub)
	case "svn", "p4", "subtree":
		if len(g.args) > 0 && slices.Contains([]string{"dcommit", "submit", "push"}, g.args[0]) {
			j.released("git " + g.sub + " " + g.args[0])
		}
	case "credential":
		j.deny(Credentials, "`git credential` shows credentials: the town adds them to git's requests; run git as it is.")
	case "worktree":
		if len(g.args) > 0 && (g.args[0] == "add" || g.args[0] == "move") {
			j.deny(Outside, "another worktree is not yours to make: work in %s, on your branch.", j.where.Workdir)
		}
	case "clone", "init":
		p := after(g.args, "-b", "--branch", "--depth", "-o", "--origin", "-c", "--reference", "-u", "-j", "--filter", "--template", "--separate-git-dir")
		if g.sub == "clone" {
			p = p[min(1, len(p)):]
		}
		for _, target := range p {
			j.write(dir, target)
		}
	case "archive", "format-patch", "bundle":
		if p, ok := valueOf(g.args, "-o", "--output", "--output-directory"); ok {
			j.write(dir, p)
		}
	case "config":
		j.gitConfig(g.args)
	default:
		j.gitRuns(dir, g)
	}
}

func (j *judge) gitConfig(args []string) {
	if contains(args, "--system") {
		j.deny(Outside, "git's settings for the whole machine are not yours to change: use `git config --local`.")
	}
	for i, a := range args {
		if strings.HasPrefix(a, "alias.") && i+1 < len(args) && (strings.HasPrefix(args[i+1], "!") || strings.HasPrefix(args[i+1], "push")) {
			j.unclear("an alias of git that runs other commands", "run those commands themselves")
		}
	}
}

// gitRuns judges the commands that a subcommand of git runs.
func (j *judge) gitRuns(sc *scope, g gitCall) {
	switch g.sub {
	case "rebase":
		if code, ok := valueOf(g.args, "-x", "--exec"); ok {
			j.script(sc.sub(), code)
		}
	case "bisect":
		if len(g.args) > 1 && g.args[0] == "run" {
			j.run(sc, g.args[1:])
		}
	case "submodule":
		if i := slices.Index(g.args, "foreach"); i >= 0 {
			j.script(sc.sub(), strings.Join(after(g.args[i+1:]), " "))
		}
	}
}

// push judges what a push sends where: the agent's own branch to origin only.
func (j *judge) push(args []string) {
	if contains(args, "--dry-run") || contains(args, "-n") {
		return
	}
	own := "git push origin HEAD"
	if j.where.Branch != "" {
		own += ":" + j.where.Branch
	}
	no := func(why string) {
		j.deny(Release, "this push %s: push your own branch only, `%s`.", why, own)
	}
	for _, a := range args {
		switch flag, _, _ := strings.Cut(a, "="); {
		case !known(a):
			j.unclear("git push "+a, "what it pushes is not known until it runs; write "+show(own))
		case flag == "--force" || shortFlag(a, 'f'):
			no("overwrites what it has not seen (--force-with-lease does not)")
		case flag == "--mirror" || flag == "--all" || flag == "--branches" || flag == "--prune":
			no("takes more than your branch")
		case flag == "--tags" || flag == "--follow-tags":
			no("takes tags along, which are releases")
		case flag == "--delete" || shortFlag(a, 'd'):
			no("deletes")
		}
	}
	words := after(args, "-o", "--push-option", "--repo", "--receive-pack", "--exec")
	if repo, ok := valueOf(args, "--repo"); ok {
		words = append([]string{repo}, words...)
	}
	if len(words) > 0 && words[0] != "origin" {
		no("goes to " + show(words[0]) + ", not to origin")
	}
	for i := 1; i < len(words); i++ {
		if words[i] == "tag" {
			no("takes tags along, which are releases")
		}
		j.refspec(words[i], no)
	}
}

func (j *judge) refspec(spec string, no func(string)) {
	if strings.HasPrefix(spec, "+") {
		no("overwrites what it has not seen (--force-with-lease does not)")
	}
	src, dst, ok := strings.Cut(strings.TrimPrefix(spec, "+"), ":")
	switch {
	case !ok:
		dst = src
	case src == "":
		no("deletes " + show(dst))
	}
	dst = strings.TrimPrefix(dst, "refs/heads/")
	if dst != "HEAD" && dst != "@" && dst != j.where.Branch {
		no("goes to " + show(dst))
	}
	if ok && (dst == "HEAD" || dst == "@") {
		no("goes to a branch of that name")
	}
}

// shortFlag reports whether a is a cluster of one-letter options with c in it.
func shortFlag(a string, c byte) bool {
	return len(a) > 1 && a[0] == '-' && a[1] != '-' && strings.IndexByte(a, c) > 0
}

// gitReads reports whether a git command shows or takes along the files that it names.
func gitReads(args []string) bool {
	switch parseGit(args).sub {
	case "show", "diff", "blame", "cat-file", "add", "grep", "hash-object", "stage":
		return true
	}
	return false
}

// gitOutput is what git prints, as far as other words are made of it.
func (j *judge) gitOutput(args []string) string {
	g := parseGit(args)
	switch g.sub {
	case "branch":
		if contains(g.args, "--show-current") && j.where.Branch != "" {
			return j.where.Branch
		}
	case "rev-parse", "symbolic-ref":
		switch {
		case contains(g.args, "--show-toplevel") && len(g.dirs) == 0:
			return j.where.Workdir
		case contains(g.args, "HEAD") && (contains(g.args, "--abbrev-ref") || contains(g.args, "--short") && g.sub == "symbolic-ref") && j.where.Branch != "":
			return j.where.Branch
		}
	case "ls-files", "diff", "grep":
		if len(g.dirs) == 0 && (g.sub == "ls-files" || contains(g.args, "--name-only") || contains(g.args, "-l")) {
			return "./" + unknown
		}
	}
	return unknown
}
