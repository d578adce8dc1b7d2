package rules

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// call judges a simple command and returns what it prints.
func (j *judge) call(sc *scope, c *syntax.CallExpr) string {
	if len(c.Args) == 0 {
		for _, a := range c.Assigns {
			j.assign(sc, a)
		}
		return ""
	}
	for _, a := range c.Assigns { // for the command alone
		j.text(sc, a.Value)
	}
	args := j.fields(sc, c.Args)
	if len(args) == 0 || j.rule != "" {
		return ""
	}
	return j.run(sc, args)
}

// programName returns the name that a program is known by: without its directory,
// and without the version that package runners take. "" when it cannot be known.
func programName(arg string) string {
	name := arg
	if !strings.HasPrefix(name, "@") { // a package's scope is part of its name
		name = name[strings.LastIndexByte(name, '/')+1:]
	}
	if i := strings.LastIndexByte(name, '@'); i > 0 {
		name = name[:i]
	}
	if !known(name) || name != "[" && strings.ContainsAny(name, "*?[") {
		return ""
	}
	return name
}

// run judges a program with its arguments and returns what it prints. What would
// run another program is followed into that.
func (j *judge) run(sc *scope, args []string) string {
	if len(args) == 0 || j.over() || !j.deeper() {
		return unknown
	}
	defer j.shallower()
	name := programName(args[0])
	if name == "" {
		j.unclear(strings.Join(args, " "), "its program is not known until it runs; name it")
		return unknown
	}
	j.secretArgs(name, args)
	if f, ok := j.funcs[name]; ok {
		inner := sc.args
		sc.args = append([]string{}, args[1:]...)
		defer func() { sc.args = inner }()
		return j.stmt(sc, f.body)
	}
	if out, ok := j.builtin(sc, name, args); ok {
		return out
	}
	if out, ok := j.carrier(sc, name, args); ok {
		return out
	}
	j.releases(name, args)
	j.serves(sc, name, args)
	j.shows(name, args)
	j.writes(sc, name, args)
	return j.output(sc, name, args)
}

// builtin judges what changes the shell itself.
func (j *judge) builtin(sc *scope, name string, args []string) (string, bool) {
	switch name {
	case "cd", "pushd":
		j.chdir(sc, args[1:])
	case "popd":
		sc.chdir(sc.last, sc.last != "")
	case "read", "mapfile", "readarray":
		in := unknown
		if sc.input != nil {
			in = printed(*sc.input)
		}
		for _, a := range args[1:] {
			if syntax.ValidName(a) {
				sc.set(a, in)
			}
		}
	case "eval":
		return j.script(sc, strings.Join(args[1:], " ")), true
	case "trap":
		if len(args) > 2 && args[1] != "-" && !strings.HasPrefix(args[1], "-") {
			before := len(j.pending)
			j.script(sc.sub(), args[1])
			j.pending = j.pending[:min(before, len(j.pending))]
		}
	case "alias":
		for _, a := range args[1:] {
			if _, code, ok := strings.Cut(a, "="); ok {
				j.script(sc.sub(), code)
			}
		}
	case "wait":
		j.pending = slices.DeleteFunc(j.pending, func(l leftover) bool { return !l.endless })
	case "kill", "pkill", "killall":
		j.pending = nil
	case "set":
		if len(args) == 1 {
			j.deny(Credentials, "`set` prints every variable, secrets among them: ask for the one that you need by its name.")
		}
		if len(args) > 1 && args[1] == "--" {
			sc.args = append([]string{}, args[2:]...)
		}
	case "shift":
		if len(sc.args) > 0 {
			sc.args = sc.args[1:]
		}
	default:
		return "", false
	}
	return "", true
}

func (j *judge) chdir(sc *scope, args []string) {
	p := sc.get("HOME")
	for _, a := range args {
		if a == "-" {
			sc.chdir(sc.last, sc.last != "")
			return
		}
		if !strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "+") {
			p = a
			break
		}
	}
	if !known(p) {
		if full, ok := sc.resolve(p); ok && j.inside(full) { // somewhere below
			sc.chdir(full, true)
			return
		}
		sc.chdir("", false)
		return
	}
	full, ok := sc.resolve(p)
	sc.chdir(full, ok)
}

// carriers are programs that run the one in their arguments: what stands before
// it, as options with a value, and how many words.
var carriers = map[string]struct {
	values string // options that take the next word
	skip   int    // words before the program
}{
	"sudo": {values: "-u -g -h -p -C -D -R -T"}, "doas": {values: "-u -C"}, "command": {}, "builtin": {}, "exec": {values: "-a"}, "nice": {values: "-n"},
	"ionice": {values: "-c -n -p"}, "stdbuf": {values: "-i -o -e"}, "time": {values: "-f -o"}, "busybox": {}, "toybox": {},
	"strace": {values: "-e -o -p -s"}, "ltrace": {values: "-e -o -p -s"}, "chronic": {}, "unbuffer": {}, "xvfb-run": {values: "-n -s"}, "catchsegv": {},
	"chroot": {skip: 1}, "gosu": {skip: 1}, "flock": {values: "-w -E", skip: 1}, "taskset": {skip: 1}, "unshare": {}, "setarch": {}, "linux64": {},
	"npx": {values: "-p --package -w"}, "bunx": {}, "pnpx": {}, "uvx": {values: "--from --with -p"}, "corepack": {}, "dotenv": {values: "-e -v"}, "cross-env": {}, "env-cmd": {values: "-f"},
	"npm exec": {values: "-p --package"}, "npm x": {values: "-p --package"}, "pnpm exec": {}, "pnpm dlx": {}, "yarn exec": {}, "yarn dlx": {}, "bun x": {},
	"pipx run": {values: "--spec"}, "poetry run": {}, "uv run": {values: "--with -p --group --extra"}, "bundle exec": {}, "pipenv run": {}, "hatch run": {}, "pdm run": {}, "rye run": {},
	"mise exec": {}, "asdf exec": {}, "direnv exec": {skip: 1}, "doppler run": {values: "-p -c"}, "op run": {}, "devbox run": {}, "conda run": {values: "-n -p"},
	"watchexec": {values: "-e -w"}, "nohup": {}, "setsid": {}, "script": {}, "xargs": {values: "-n -P -L -I -d -E -s -a --max-args --max-procs --delimiter --arg-file --replace"},
	"env": {values: "-u -C --unset --chdir"}, "timeout": {values: "-k -s --kill-after --signal", skip: 1}, "gtimeout": {values: "-k -s", skip: 1},
	"parallel": {values: "-j -I"},
}

// carrier follows a program that runs another; it reports whether name is one.
func (j *judge) carrier(sc *scope, name string, args []string) (string, bool) {
	if shells[name] {
		return j.shell(sc, args), true
	}
	if name == "." || name == "source" {
		if len(args) > 1 && args[1] == procFile {
			j.unclear("source", "the shell runs text that only it will know; write the commands out")
		}
		return "", true
	}
	if name == "python" || name == "python3" || name == "py" {
		for i, a := range args {
			if a == "-m" && i+1 < len(args) {
				return j.run(sc, args[i+1:]), true
			}
			if i > 0 && !strings.HasPrefix(a, "-") {
				break
			}
		}
		return "", false
	}
	key, rest := name, args[1:]
	c, ok := carriers[key]
	if !ok && len(rest) > 0 {
		key = name + " " + rest[0]
		if c, ok = carriers[key]; ok {
			rest = rest[1:]
		}
	}
	if !ok {
		return "", false
	}
	inner := sc
	if key == "env" || key == "sudo" || strings.HasSuffix(key, "timeout") || key == "xargs" {
		inner = sc.sub()
	}
	opts, program := before(rest, strings.Fields(c.values), c.skip, key == "env" || key == "sudo" || key == "cross-env" || key == "dotenv")
	return j.carried(inner, key, opts, program), true
}

// before splits the options and words that stand before a program from it.
func before(args, values []string, skip int, assigns bool) (opts, program []string) {
	i := 0
	for ; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			i++
			opts, program = args[:i], args[i:]
			return opts, program[min(skip, len(program)):]
		case slices.Contains(values, a):
			i++
		case strings.HasPrefix(a, "-") && len(a) > 1:
		case assigns && strings.Contains(a, "="):
		case skip > 0:
			skip--
		default:
			return args[:i], args[i:]
		}
	}
	return args, nil
}

// carried judges the program that another runs.
func (j *judge) carried(sc *scope, key string, opts, program []string) string {
	switch key {
	case "env":
		if len(program) == 0 && !slices.ContainsFunc(opts, func(o string) bool { return o == "-S" || strings.HasPrefix(o, "--help") || o == "--version" }) {
			j.deny(Credentials, "`env` prints every variable, secrets among them: ask for the one that you need by its name.")
		}
		for i, o := range opts {
			if (o == "-C" || o == "--chdir") && i+1 < len(opts) {
				j.chdir(sc, opts[i+1:i+2])
			}
		}
		if i := slices.IndexFunc(opts, func(o string) bool { return strings.HasPrefix(o, "-S") || strings.HasPrefix(o, "--split-string") }); i >= 0 {
			text := strings.TrimPrefix(strings.TrimPrefix(opts[i], "--split-string="), "-S")
			return j.script(sc, strings.Join(append([]string{text}, program...), " "))
		}
	case "timeout", "gtimeout":
		sc.bounded = sc.bounded || shortEnough(opts)
	case "nohup", "setsid":
		j.deny(Server, "%s is there to outlive the call: run it in the foreground, with `timeout` if it may take long.", show(key))
	case "xargs", "parallel":
		return j.xargs(sc, opts, program)
	case "flock", "npx", "npm exec", "script":
		if len(program) > 0 && slices.ContainsFunc(opts, func(o string) bool { return o == "-c" || o == "--call" || o == "--command" }) {
			return j.script(sc, program[0])
		}
		if key == "flock" && len(program) > 1 && program[0] == "-c" {
			return j.script(sc, program[1])
		}
		if key == "script" {
			return unknown
		}
	}
	if len(program) == 0 {
		return unknown
	}
	return j.run(sc, program)
}

// longest is how long a command may take on purpose.
const longest = 5 * time.Minute

// shortEnough reports whether the time that timeout(1) is given is known and short.
func shortEnough(opts []string) bool {
	for _, o := range opts {
		if d, ok := duration(o); ok {
			return d <= longest && d > 0
		}
	}
	return false
}

// duration reads a time as sleep(1) and timeout(1) do.
func duration(s string) (time.Duration, bool) {
	if s == "infinity" || s == "inf" {
		return 1 << 62, true
	}
	unit := time.Second
	if n := len(s); n > 0 {
		if u, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[s[n-1]]; ok {
			unit, s = u, s[:n-1]
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 {
		return 0, false
	}
	return time.Duration(min(f*float64(unit), 1<<62)), true
}

// xargs judges a program whose last arguments are what comes in.
func (j *judge) xargs(sc *scope, opts, program []string) string {
	in := unknown
	if sc.input != nil {
		in = printed(*sc.input)
	}
	sc.input = nil
	words := strings.Fields(in)
	for i, o := range opts {
		mark, ok := strings.CutPrefix(o, "-I")
		if ok && mark == "" && i+1 < len(opts) {
			mark = opts[i+1]
		}
		if !ok || mark == "" {
			continue
		}
		replaced := make([]string, len(program))
		for k, a := range program {
			replaced[k] = strings.ReplaceAll(a, mark, in)
			if len(replaced[k]) > maxValue {
				replaced[k] = unknown
			}
		}
		return j.run(sc, replaced)
	}
	if len(program) == 0 {
		program = []string{"echo"}
	}
	return j.run(sc, slices.Concat(program, words))
}

var shells = map[string]bool{"sh": true, "bash": true, "dash": true, "zsh": true, "ksh": true, "mksh": true, "ash": true, "su": true, "runuser": true}

// shell judges what a shell is given to run: the text of -c, or what comes in. A
// file is not read here.
func (j *judge) shell(sc *scope, args []string) string {
	sub := sc.sub()
	for i := 1; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "-o" || a == "+o" || a == "-O" || a == "+O" || a == "--rcfile" || a == "--init-file":
			i++
		case a == "--command" || strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.Contains(a, "c"):
			for i++; i < len(args) && strings.HasPrefix(args[i], "-"); i++ {
			}
			if i >= len(args) {
				return unknown
			}
			sub.args = append([]string{}, args[min(i+2, len(args)):]...)
			return j.script(sub, args[i])
		case a == "-" || a == "-s" || a == "--" || a == "/dev/stdin" || strings.HasPrefix(a, "-"):
		case a == procFile || !known(a) && a == unknown:
			j.unclear(args[0]+" "+a, "the shell runs text that only it will know; write it into a file, read that, then run it")
			return unknown
		default:
			return unknown // a script's file, or su's user
		}
	}
	if sc.input == nil {
		return ""
	}
	text := *sc.input
	sub.input = nil
	return j.script(sub, text)
}

// after returns the arguments after the options, taking the word after each of
// values for that option's.
func after(args []string, values ...string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			return append(out, args[i+1:]...)
		case slices.Contains(values, a):
			i++
		case strings.HasPrefix(a, "-") && a != "-":
		default:
			out = append(out, a)
		}
	}
	return out
}

// valueOf returns the value of an option, as -o FILE, -oFILE, --output FILE or
// --output=FILE.
func valueOf(args []string, names ...string) (string, bool) {
	for i, a := range args {
		for _, n := range names {
			if a == n && i+1 < len(args) {
				return args[i+1], true
			}
			if v, ok := strings.CutPrefix(a, n+"="); ok && strings.HasPrefix(n, "--") {
				return v, true
			}
			if v, ok := strings.CutPrefix(a, n); ok && v != "" && len(n) == 2 {
				return v, true
			}
		}
	}
	return "", false
}

// output is what a program prints, as far as other words are made of it.
func (j *judge) output(sc *scope, name string, args []string) string {
	switch name {
	case "echo":
		return strings.Join(after(args[1:]), " ") + "\n"
	case "printf":
		if len(args) == 2 && !strings.Contains(args[1], "%") {
			return strings.ReplaceAll(args[1], `\n`, "\n")
		}
		if len(args) == 3 && (args[1] == "%s" || args[1] == `%s\n`) {
			return args[2]
		}
	case "pwd":
		return sc.dir
	case "mktemp":
		if j.where.Tmp != "" {
			return path.Join(j.where.Tmp, "tmp.") + unknown
		}
	case "dirname":
		if len(args) == 2 && known(args[1]) {
			return path.Dir(args[1])
		}
		if len(args) == 2 {
			return args[1][:max(strings.LastIndexByte(args[1], '/'), 0)]
		}
	case "realpath", "readlink":
		if p := after(args[1:]); len(p) == 1 {
			if full, ok := sc.resolve(p[0]); ok {
				return full
			}
		}
	case "which":
		if len(args) == 2 {
			return unknown + "/" + args[1]
		}
	case "find", "ls", "rg", "fd", "fdfind":
		return listed(after(args[1:], "-name", "-type", "-path", "-iname", "-not", "-maxdepth", "-mindepth", "-g", "-t", "-e", "-o", "-newer"))
	case "grep", "egrep", "fgrep":
		if sc.input == nil || len(after(args[1:])) > 1 {
			if p := after(args[1:], "-e", "-f", "-A", "-B", "-C", "-m"); len(p) > 1 {
				return listed(p[1:])
			}
			return listed(nil)
		}
		return *sc.input
	case "head", "tail", "sort", "uniq", "cat", "tr", "tee":
		if sc.input != nil && len(after(args[1:], "-n", "-c", "-k", "-t")) == 0 && name != "tr" {
			return *sc.input
		}
	case "git":
		return j.gitOutput(args)
	}
	return unknown
}

// listed is a path among those below the given ones, when they lie below the
// working directory or are one.
func listed(paths []string) string {
	rooted := ""
	for _, p := range paths {
		if !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, unknown) && !strings.Contains(p, "..") {
			continue
		}
		rooted = p
	}
	switch {
	case rooted == "":
		return "./" + unknown
	case len(paths) == 1 && known(rooted):
		return rooted + "/" + unknown
	}
	return unknown
}
