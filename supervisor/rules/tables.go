package rules

import (
	"slices"
	"strings"
)

// table is command lines by their program: words that follow each other where a
// subcommand stands, a word with * at its end matching what begins so, one that
// begins with - an option anywhere.
type table map[string][][]string

func newTable(lines string) table {
	t := table{}
	for line := range strings.Lines(lines) {
		if words := strings.Fields(line); len(words) > 0 {
			for program := range strings.SplitSeq(words[0], "|") {
				t[program] = append(t[program], words[1:])
			}
		}
	}
	return t
}

// match returns the line that args are, "" for none. An argument that is unknown
// is whatever it may not be.
func (t table) match(name string, args []string) (line string, sure bool) {
	lines := t[name]
	args = args[1:]
	if len(args) > maxSubcommands {
		args = args[:maxSubcommands]
	}
	if slices.ContainsFunc(args, harmless) {
		return "", false
	}
	for _, words := range lines {
		if hit, sure := matchWords(words, args); hit {
			return strings.Join(append([]string{name}, words...), " "), sure
		}
	}
	return "", false
}

// maxSubcommands bounds how far into its arguments a program's subcommand stands.
const maxSubcommands = 64

// harmless reports whether an option makes a command only tell what it would do.
func harmless(a string) bool {
	switch a {
	case "--help", "--version", "--dry-run", "--dryrun", "--dry-run=client", "--dry-run=server", "--dry-run=true":
		return true
	}
	return false
}

func matchWords(words, args []string) (hit, sure bool) {
	if len(words) == 0 {
		return true, true
	}
	if strings.HasPrefix(words[0], "-") {
		i := slices.IndexFunc(args, func(a string) bool {
			return a == words[0] || strings.HasPrefix(words[0], "--") && strings.HasPrefix(a, words[0]+"=") && !strings.HasSuffix(a, "=false")
		})
		if i < 0 {
			return false, false
		}
		return matchWords(words[1:], args)
	}
	option := false
	for i, a := range args {
		switch {
		case strings.HasPrefix(a, "-"):
			option = !strings.Contains(a, "=")
			continue
		case strings.HasPrefix(a, "+"): // a toolchain, as cargo takes it
			continue
		case strings.ContainsAny(a, opaque):
			if option { // its value
				option = false
				continue
			}
			hit, _ := matchWords(words[1:], args[i+1:])
			return hit, false
		}
		prefix, ok := strings.CutSuffix(words[0], "*")
		if a == words[0] || ok && strings.HasPrefix(a, prefix) || words[0] == "+" {
			if hit, sure := matchWords(words[1:], args[i+1:]); hit {
				return true, sure
			}
		}
		if !option {
			return false, false
		}
		option = false
	}
	return false, false
}
