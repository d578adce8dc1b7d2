// Package rules judges what an agent is about to do by what its hook tells: what
// releases, what does not end, what writes outside the agent's own directories,
// and what shows a credential. A command line is judged by its syntax, as a shell
// would read it, never by the words that stand in it.
//
// It is advice that an agent reads in time, not the wall: what a program does
// once it runs, and where a symbolic link leads, is the kernel's matter, and no
// credential is where an agent could find it. Nothing here does I/O.
package rules

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"townd/town"
)

// Name names a rule.
type Name string

// The rules.
const (
	Release     Name = "release"     // publishing, deploying, pull requests, pushing what is not the agent's branch
	Server      Name = "server"      // what does not end by itself, or is to outlive the call
	Outside     Name = "outside"     // writing outside the agent's directories
	Credentials Name = "credentials" // showing, storing or sending a credential

	// Unclear is no rule of its own: it denies what cannot be judged by those that
	// are enabled, a line that is no shell or a program whose name is computed.
	Unclear Name = "unclear"
)

// Names returns the rules that can be enabled.
func Names() []Name { return []Name{Release, Server, Outside, Credentials} }

// Set is the rules that are enabled. The empty set denies nothing.
type Set []Name

// All returns every rule.
func All() Set { return Names() }

// ParseSet reads a set as a setting has it: "all", "none", or names joined by
// commas. It returns ErrInvalid for a name that is none.
func ParseSet(text string) (Set, error) {
	switch strings.TrimSpace(text) {
	case "all":
		return All(), nil
	case "none":
		return nil, nil
	}
	var s Set
	for word := range strings.SplitSeq(text, ",") {
		n := Name(strings.TrimSpace(word))
		if !slices.Contains(Names(), n) {
			return nil, fmt.Errorf("rule %q is none of all, none, release, server, outside, credentials: %w", n, town.ErrInvalid)
		}
		s = append(s, n)
	}
	return s, nil
}

func (s Set) has(n Name) bool {
	return slices.Contains(s, n) || n == Unclear && len(s) > 0
}

// Sentences returns what the agent should know before it runs into the rules, a
// sentence for each.
func (s Set) Sentences() []string {
	sentences := map[Name]string{
		Release: "Publishing, deploying, opening or merging pull requests, and pushing anything but your own branch.",
		Server: "Servers, watchers and whatever else does not end by itself, `nohup`, `setsid` and jobs left in the background;" +
			" `timeout 60 COMMAND`, or a start and a `kill` in one command, is allowed.",
		Outside:     "Writing outside your worktree, your home and `$TMPDIR` (not `/tmp`).",
		Credentials: "Printing the environment, reading credential files, and giving a secret variable to a command as an argument.",
	}
	var out []string
	for _, n := range Names() {
		if s.has(n) {
			out = append(out, sentences[n])
		}
	}
	return out
}

// Where is where an agent is at home. Paths are absolute.
type Where struct {
	Workdir       string // its worktree
	Home, Tmp     string // its own directories, either may be empty
	Branch        string // the branch that it may push
	DefaultBranch string
}

// Judge returns whether a call of a tool is denied, by which rule, and a sentence
// that the agent can act on. Calls of other hooks are never denied. It is safe for
// concurrent use, and bounded in time and memory whatever the call holds.
func Judge(call town.HookCall, w Where, enabled Set) (rule Name, reason string, deny bool) {
	if call.Point != town.HookToolBefore || len(enabled) == 0 {
		return "", "", false
	}
	j := &judge{where: w, enabled: enabled, steps: maxSteps, bytes: maxExpanded, funcs: map[string]*function{}}
	sc := newScope(w, call.Dir)
	for _, p := range call.Reads {
		j.read(p)
	}
	for _, p := range call.Writes {
		j.write(sc, p)
	}
	if call.Shell != "" {
		j.script(sc, call.Shell)
		j.leftovers()
	}
	return j.rule, j.reason, j.rule != ""
}

// judge is one judgement. The first denial ends it.
type judge struct {
	where   Where
	enabled Set
	rule    Name
	reason  string

	steps, bytes int // what may still be looked at and expanded
	depth        int // of scripts within scripts and programs that run programs
	funcs        map[string]*function
	pending      []leftover
	lastProc     string // what the <(…) that was judged last prints
}

// leftover is a job in the background that nothing has ended yet.
type leftover struct {
	reason  string
	endless bool // `wait` would never return
}

// deny denies, unless something did already or the rule is not enabled.
func (j *judge) deny(rule Name, format string, args ...any) {
	if j.rule == "" && j.enabled.has(rule) {
		j.rule, j.reason = rule, fmt.Sprintf(format, args...)
	}
}

func (j *judge) unclear(what, why string) {
	j.deny(Unclear, "%s cannot be judged: %s.", show(what), why)
}

// over reports whether the judgement has ended, and counts a step of it.
func (j *judge) over() bool {
	if j.steps--; j.steps < 0 {
		j.unclear("this command", "it does too much; split it into several, or write it into a file and run that")
	}
	return j.rule != ""
}

func (j *judge) leftovers() {
	for _, l := range j.pending {
		j.deny(Server, "%s", l.reason)
	}
}

// read judges a path that is read for the agent to see.
func (j *judge) read(p string) {
	if credentialFile(p) {
		j.deny(Credentials, "%s holds credentials: do without their values; the town adds them to the requests that need them.", show(p))
	}
}

// write judges a path that is written, removed or given to somebody.
func (j *judge) write(sc *scope, p string) {
	full, ok := sc.resolve(p)
	switch {
	case allowedDevice(p):
	case !ok:
		j.deny(Outside, "what would be written at %s cannot be known: write the path out.", show(p))
	case !j.inside(full):
		j.deny(Outside, "%s is outside your directories: write below %s%s.", show(full), j.where.Workdir, j.scratch())
	}
}

func (j *judge) scratch() string {
	if j.where.Tmp == "" {
		return ""
	}
	return ", or for scratch files below " + j.where.Tmp
}

func allowedDevice(p string) bool {
	switch p {
	case "/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/zero", "/dev/full", "-":
		return true
	}
	return strings.HasPrefix(p, "/dev/fd/")
}

// inside reports whether a path is below one of the agent's directories, and not
// what runs the agent.
func (j *judge) inside(full string) bool {
	for _, dir := range []string{j.where.Workdir, j.where.Tmp, j.where.Home} {
		if rest, ok := below(dir, full); ok {
			return dir != j.where.Home || !machinery(rest)
		}
	}
	return false
}

func below(dir, full string) (rest string, ok bool) {
	if dir == "" {
		return "", false
	}
	dir = path.Clean(dir)
	if full == dir {
		return "", true
	}
	return strings.CutPrefix(full, strings.TrimSuffix(dir, "/")+"/")
}

// machinery reports whether a file of the agent's home is what its CLI takes the
// town's hooks and settings from.
func machinery(rel string) bool {
	for _, p := range []string{
		".townd", ".claude/settings", ".codex/config.toml", ".codex/hooks", ".gemini/settings.json", ".config/kilo", ".config/opencode",
	} {
		if strings.HasPrefix(rel, p) {
			return true
		}
	}
	return false
}

// maxShown bounds what of a command a reason repeats, in bytes.
const maxShown = 80

// show is a word for a reason: what is unknown in it as "…", and not too much.
func show(s string) string {
	s = strings.NewReplacer(unknown, "…", secret, "…").Replace(s)
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '…'
		}
		return r
	}, s)
	return "`" + s + "`"
}
