package rules

import (
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// maxExpanded bounds what all words of a judgement expand to, in bytes.
const maxExpanded = 4 << 20

// fields returns what a shell makes of words before it runs them.
func (j *judge) fields(sc *scope, words []*syntax.Word) []string {
	var out []string
	for _, w := range words {
		for _, b := range j.braces(w) {
			out = append(out, j.word(sc, b)...)
			if j.over() {
				return out
			}
		}
	}
	return out
}

// text returns a word as one string: that of an assignment, a redirection, a case.
func (j *judge) text(sc *scope, w *syntax.Word) string {
	if w == nil {
		return ""
	}
	e := expander{j: j, sc: sc, whole: true}
	e.parts(w.Parts, false)
	return e.cur.String()
}

// maxBraces bounds the words that braces make of one; with more they are unknown.
const maxBraces = 64

// braces expands {a,b}. What it cannot expand is an unknown word.
func (j *judge) braces(w *syntax.Word) []*syntax.Word {
	lit := false
	for _, p := range w.Parts {
		if l, ok := p.(*syntax.Lit); ok && strings.Contains(l.Value, "{") {
			lit = true
		}
	}
	if !lit {
		return []*syntax.Word{w}
	}
	c := *w // SplitBraces changes the word
	if !syntax.SplitBraces(&c) {
		return []*syntax.Word{w}
	}
	all := spread([][]syntax.WordPart{nil}, c.Parts)
	if all == nil {
		return []*syntax.Word{{Parts: []syntax.WordPart{&syntax.Lit{Value: unknown}}}}
	}
	words := make([]*syntax.Word, len(all))
	for i, parts := range all {
		words[i] = &syntax.Word{Parts: parts}
	}
	return words
}

// spread returns the words that begin with each of begun and go on with parts, nil
// when there are too many or a sequence is among them.
func spread(begun [][]syntax.WordPart, parts []syntax.WordPart) [][]syntax.WordPart {
	for _, p := range parts {
		var next [][]syntax.WordPart
		brace, ok := p.(*syntax.BraceExp)
		for _, b := range begun {
			if !ok {
				next = append(next, append(slices.Clip(b), p))
				continue
			}
			if brace.Sequence {
				return nil
			}
			for _, elem := range brace.Elems {
				more := spread([][]syntax.WordPart{b}, elem.Parts)
				if more == nil || len(next)+len(more) > maxBraces {
					return nil
				}
				next = append(next, more...)
			}
		}
		begun = next
	}
	return begun
}

// procFile is the file that a shell makes of <(…).
const procFile = "/dev/fd/63"

// word returns the fields of one word.
func (j *judge) word(sc *scope, w *syntax.Word) []string {
	e := expander{j: j, sc: sc}
	e.parts(w.Parts, false)
	e.end()
	return e.out
}

// expander makes fields of a word's parts.
type expander struct {
	j     *judge
	sc    *scope
	whole bool // one string comes of it: nothing is split
	cur   strings.Builder
	begun bool // cur is a field though it may be empty
	out   []string
}

func (e *expander) end() {
	if e.begun || e.cur.Len() > 0 {
		e.out = append(e.out, e.cur.String())
	}
	e.cur.Reset()
	e.begun = false
}

func (e *expander) add(s string) {
	if e.j.bytes -= len(s); e.j.bytes < 0 {
		e.j.steps = 0 // the next step ends it
		s = unknown
	}
	e.cur.WriteString(s)
}

func (e *expander) parts(parts []syntax.WordPart, quoted bool) {
	for i, p := range parts {
		switch p := p.(type) {
		case *syntax.Lit:
			s := p.Value
			if i == 0 && !quoted {
				s = e.tilde(s)
			}
			e.add(unescape(s, quoted))
		case *syntax.SglQuoted:
			e.begun = true
			if p.Dollar {
				e.add(ansi(p.Value))
			} else {
				e.add(p.Value)
			}
		case *syntax.DblQuoted:
			e.begun = true
			e.parts(p.Parts, true)
		case *syntax.ParamExp:
			e.param(p, quoted)
		case *syntax.CmdSubst:
			e.values(quoted, printed(e.j.stmts(e.sc.sub(), p.Stmts)))
		case *syntax.ProcSubst:
			e.j.lastProc = e.j.stmts(e.sc.sub(), p.Stmts)
			e.add(procFile)
		default: // arithmetic, patterns
			e.j.substitutions(e.sc, p)
			e.add(unknown)
		}
	}
}

// tilde replaces a leading ~ by the home, or by what is unknown for another's.
func (e *expander) tilde(s string) string {
	rest, ok := strings.CutPrefix(s, "~")
	switch {
	case !ok:
		return s
	case rest == "" || rest[0] == '/':
		return e.sc.get("HOME") + rest
	case strings.HasPrefix(rest, "+"):
		return e.sc.get("PWD") + rest[1:]
	}
	return unknown + rest
}

// values adds the values of an expansion: split where a shell splits them.
func (e *expander) values(quoted bool, values ...string) {
	for i, v := range values {
		if i > 0 && !e.whole {
			e.end()
		} else if i > 0 {
			e.add(" ")
		}
		if quoted || e.whole || !strings.ContainsAny(v, " \t\n") && !e.sc.split {
			e.add(v)
			continue
		}
		if e.sc.split {
			v = unknown
		}
		for k, f := range strings.Fields(v) {
			if k > 0 {
				e.end()
			}
			e.add(f)
		}
	}
}

func (e *expander) param(p *syntax.ParamExp, quoted bool) {
	if p.Exp != nil || p.Repl != nil || p.Slice != nil || p.Index != nil {
		e.j.substitutions(e.sc, p)
	}
	name := ""
	if p.Param != nil {
		name = p.Param.Value
	}
	if all, ok := e.all(p, name); ok {
		e.values(quoted, all...)
		return
	}
	if p.Length || p.Names != 0 {
		e.add(unknown)
		return
	}
	v := e.lookup(p, name)
	if p.Excl {
		if v = e.sc.get(v); !known(e.lookup(p, name)) {
			v = secret // it may be any variable
		}
	}
	e.values(quoted, e.operate(p, v))
}

// all returns every value of $@ or ${array[@]}.
func (e *expander) all(p *syntax.ParamExp, name string) ([]string, bool) {
	if p.Length || p.Excl || p.Exp != nil || p.Repl != nil || p.Slice != nil {
		return nil, false
	}
	if name == "@" || name == "*" {
		return e.sc.args, e.sc.args != nil
	}
	index, ok := p.Index.(*syntax.Word)
	if !ok || !e.sc.arrays[name] {
		return nil, false
	}
	if lit := index.Lit(); lit != "@" && lit != "*" {
		return nil, false
	}
	return e.sc.vars[name], true
}

func (e *expander) lookup(p *syntax.ParamExp, name string) string {
	if p.Index != nil {
		if secretName(name) {
			return e.sc.get(name)
		}
		return unknown
	}
	if n, err := strconv.Atoi(name); err == nil {
		if n > 0 && n <= len(e.sc.args) {
			return e.sc.args[n-1]
		}
		return unknown
	}
	if !syntax.ValidName(name) {
		return unknown
	}
	return e.sc.get(name)
}

// operate applies ${name<operator>…} as far as it is followed.
func (e *expander) operate(p *syntax.ParamExp, v string) string {
	lost := unknown
	if strings.Contains(v, secret) {
		lost = secret
	}
	switch {
	case p.Repl != nil || p.Slice != nil:
		return lost
	case p.Exp == nil:
		return v
	}
	switch p.Exp.Op {
	case syntax.AlternateUnset, syntax.AlternateUnsetOrNull:
		return unknown // the other word, or nothing: never the value
	case syntax.DefaultUnset, syntax.DefaultUnsetOrNull, syntax.AssignUnset, syntax.AssignUnsetOrNull:
		if known(v) && v != "" {
			return v
		}
		return lost
	case syntax.ErrorUnset, syntax.ErrorUnsetOrNull:
		return v
	case syntax.RemSmallSuffix, syntax.RemLargeSuffix: // of a path the directory mostly stays
		if known(v) {
			return v[:strings.LastIndexByte(v, '/')+1] + unknown
		}
		return lost
	default:
		return lost
	}
}

// substitutions judges the commands within something that is not followed.
func (j *judge) substitutions(sc *scope, n syntax.Node) {
	syntax.Walk(n, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CmdSubst:
			j.stmts(sc.sub(), n.Stmts)
			return false
		case *syntax.ProcSubst:
			j.stmts(sc.sub(), n.Stmts)
			return false
		}
		return j.rule == ""
	})
}

// unescape takes the backslashes of a literal away.
func unescape(s string, quoted bool) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (!quoted || strings.IndexByte("$`\"\\\n", s[i+1]) >= 0) {
			i++
			if s[i] == '\n' {
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ansi decodes the escapes of $'…'.
func ansi(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		base, digits, from := 0, 0, i+1
		switch c := s[i]; {
		case c == 'x':
			base, digits = 16, 2
		case c == 'u':
			base, digits = 16, 4
		case c == 'U':
			base, digits = 16, 8
		case c >= '0' && c <= '7':
			base, digits, from = 8, 3, i
		default:
			b.WriteString(ansiEscape(c))
			continue
		}
		to := from
		for to < len(s) && to-from < digits && isDigit(s[to], base) {
			to++
		}
		n, err := strconv.ParseUint(s[from:to], base, 32)
		switch {
		case err != nil:
			b.WriteString(s[i-1 : to])
		case base == 8 || digits == 2:
			b.WriteByte(byte(n))
		default:
			b.WriteRune(rune(n))
		}
		i = to - 1
	}
	return b.String()
}

func isDigit(c byte, base int) bool {
	_, err := strconv.ParseUint(string(rune(c)), base, 8)
	return err == nil
}

func ansiEscape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case '\\', '\'', '"', '?':
		return string(rune(c))
	}
	return `\` + string(rune(c))
}
