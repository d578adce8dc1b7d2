package rules

import (
	"maps"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A text that a shell makes of a word is known in parts: unknown and secret stand
// in it for what the shell alone will know. No word of a shell holds these bytes.
const (
	unknown = "\x00"
	secret  = "\x01" // unknown too, and the value of a variable with a secret's name
	opaque  = unknown + secret
)

func known(s string) bool { return !strings.ContainsAny(s, opaque) }

// scope is what a shell, or one of its subshells, knows at a point.
type scope struct {
	dir     string // the working directory, "" when it cannot be known
	last    string // the one before
	vars    map[string][]string
	arrays  map[string]bool
	args    []string // of the function that runs; nil outside of one
	input   *string  // what comes in, nil when nothing that we know of does
	bounded bool     // within a short timeout
	behind  bool     // in the background
	split   bool     // IFS was changed: words split in ways we do not follow
}

// maxVars bounds the variables of a scope, so that making a subshell is cheap.
const maxVars = 200

func newScope(w Where, dir string) *scope {
	if !path.IsAbs(dir) {
		dir = path.Join(w.Workdir, dir)
	}
	sc := &scope{dir: path.Clean(dir), vars: map[string][]string{}, arrays: map[string]bool{}}
	sc.set("HOME", w.Home)
	sc.set("TMPDIR", w.Tmp)
	sc.set("TOWND_ARTIFACTS", path.Join(w.Home, "artifacts"))
	return sc
}

// sub returns a subshell's scope.
func (sc *scope) sub() *scope {
	c := *sc
	c.vars, c.arrays = maps.Clone(sc.vars), maps.Clone(sc.arrays)
	return &c
}

// maxValue bounds a variable that is followed.
const maxValue = 8 << 10

func (sc *scope) set(name string, values ...string) {
	if name == "IFS" {
		sc.split = true
	}
	size := 0
	for _, v := range values {
		size += len(v) + 1
	}
	if _, ok := sc.vars[name]; !ok && len(sc.vars) >= maxVars || size > maxValue {
		values = []string{unknown}
		if !ok {
			return // it is looked up as unknown anyway
		}
	}
	sc.vars[name] = values
	delete(sc.arrays, name)
}

// get returns the value of a variable that is not an array's element.
func (sc *scope) get(name string) string {
	if name == "PWD" && sc.dir != "" {
		return sc.dir
	}
	if values, ok := sc.vars[name]; ok {
		if len(values) == 0 {
			return ""
		}
		return values[0]
	}
	if secretName(name) {
		return secret
	}
	return unknown
}

func (sc *scope) chdir(dir string, ok bool) {
	sc.last = sc.dir
	sc.dir = ""
	if ok {
		sc.dir = dir
	}
}

// resolve returns the absolute path that p means, as far as its end is known: an
// unknown part is taken for a name within the directory before it. It reports
// false when that directory is unknown too.
func (sc *scope) resolve(p string) (string, bool) {
	rest := ""
	if i := strings.IndexAny(p, opaque); i >= 0 {
		slash := strings.LastIndexByte(p[:i], '/')
		if slash < 0 && i == 0 {
			return "", false
		}
		// A ".." after what is unknown may lead anywhere.
		if strings.Contains(p[i:], "..") {
			return "", false
		}
		p, rest = p[:slash+1], "…"
	}
	if !path.IsAbs(p) {
		if sc.dir == "" {
			return "", false
		}
		p = path.Join(sc.dir, p)
	}
	return path.Join(p, rest), true
}

// function is a function of the script.
type function struct {
	body *syntax.Stmt
}

// printed takes the newlines away that end what a program prints, as $(…) does.
func printed(s string) string { return strings.TrimRight(s, "\n") }
