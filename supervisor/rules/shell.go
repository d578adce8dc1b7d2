package rules

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// The bounds of one judgement.
const (
	maxShellBytes = 128 << 10 // as Linux bounds one argument (MAX_ARG_STRLEN in linux/binfmts.h), as that of sh -c
	maxSteps      = 50_000
	maxDepth      = 32   // scripts within scripts, programs that run programs, functions
	maxFrames     = 4000 // of the parser's stack: nested shell of people has a few dozen
)

// script judges a text that a shell runs, and returns what it prints.
func (j *judge) script(sc *scope, text string) string {
	switch {
	case len(text) > maxShellBytes:
		j.unclear("a command of more than 128 KiB", "write it into a file and run that")
	case !known(text):
		j.unclear(text, "a shell runs text that only it will know; write the command out, without computing it")
	case !j.deeper():
	default:
		defer j.shallower()
		file, err := parse(text)
		if err != nil {
			j.unclear(text, fmt.Sprintf("it is no shell that can be read (%v); write it plainly", err))
			return unknown
		}
		return j.stmts(sc, file.Stmts)
	}
	return unknown
}

func parse(text string) (*syntax.File, error) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(&reader{strings.NewReader(text)}, "")
	if p, ok := errors.AsType[syntax.ParseError](err); ok {
		err = errors.New(p.Text)
	}
	return file, err
}

// reader refuses to give more to a parser whose stack is deep: it recurses for
// each level that a text opens, and a stack that is full ends the program.
type reader struct{ text io.Reader }

var errDeep = errors.New("it is nested too deeply")

func (r *reader) Read(p []byte) (int, error) {
	var pc [1]uintptr
	if runtime.Callers(maxFrames, pc[:]) > 0 {
		return 0, errDeep
	}
	return r.text.Read(p)
}

// deeper begins one more level of what runs something else.
func (j *judge) deeper() bool {
	if j.depth++; j.depth > maxDepth {
		j.depth--
		j.unclear("this command", "it runs commands within commands too deeply; write it plainly")
		return false
	}
	return true
}

func (j *judge) shallower() { j.depth-- }

// stmts judges statements one after another and returns what they print: unknown
// where that is not followed.
func (j *judge) stmts(sc *scope, list []*syntax.Stmt) string {
	out := ""
	for _, s := range list {
		if j.over() {
			return unknown
		}
		out = both(out, j.stmt(sc, s))
	}
	return out
}

func both(a, b string) string {
	if len(a)+len(b) > maxValue {
		return unknown
	}
	return a + b
}

func (j *judge) stmt(sc *scope, s *syntax.Stmt) string {
	if j.over() {
		return unknown
	}
	if s.Background || s.Coprocess || s.Disown {
		return j.background(sc, s)
	}
	input := sc.input
	defer func() { sc.input = input }()
	out, redirected := "", false
	for _, r := range s.Redirs {
		redirected = j.redirect(sc, r) || redirected
	}
	if s.Cmd != nil {
		out = j.command(sc, s.Cmd)
	} else if len(s.Redirs) > 0 {
		out = unknown // $(< file)
	}
	if redirected {
		out = ""
	}
	return out
}

// background judges a job that the shell does not wait for. Something later may
// end it, so that it is a leftover only for now.
func (j *judge) background(sc *scope, s *syntax.Stmt) string {
	job := *s
	job.Background, job.Coprocess, job.Disown = false, false, false
	sub := sc.sub()
	sub.behind = true
	before := len(j.pending)
	j.stmt(sub, &job)
	if len(j.pending) == before {
		j.pending = append(j.pending, leftover{reason: "a job left in the background outlives the call: run it in the foreground, " +
			"or end it in the same command with `wait` or `kill`."})
	}
	return ""
}

// redirect judges a redirection, sets what comes in by it, and reports whether
// output goes elsewhere.
func (j *judge) redirect(sc *scope, r *syntax.Redirect) bool {
	switch r.Op {
	case syntax.Hdoc, syntax.DashHdoc:
		j.feed(sc, j.heredoc(sc, r))
		return false
	case syntax.WordHdoc:
		j.feed(sc, j.text(sc, r.Word)+"\n")
		return false
	case syntax.RdrIn, syntax.RdrInOut:
		p := j.text(sc, r.Word)
		j.read(p)
		in := j.procOutput(r.Word)
		sc.input = &in
		if r.Op == syntax.RdrInOut {
			j.write(sc, p)
		}
		return false
	case syntax.DplIn:
		return false
	default: // those that write
	}
	p := j.text(sc, r.Word)
	if r.Op == syntax.DplOut && (p == "-" || p != "" && strings.Trim(p, "0123456789-") == "") {
		return false
	}
	j.write(sc, p)
	return r.N == nil || r.N.Value == "1"
}

// feed makes text what comes in.
func (j *judge) feed(sc *scope, text string) {
	if strings.Contains(text, secret) {
		j.deny(Credentials, "a variable with a secret's name is given away here: let the program read it from its environment, never from text.")
	}
	sc.input = &text
}

func (j *judge) heredoc(sc *scope, r *syntax.Redirect) string {
	if r.Hdoc == nil {
		return ""
	}
	e := expander{j: j, sc: sc, whole: true}
	for _, p := range r.Word.Parts {
		if l, ok := p.(*syntax.Lit); !ok || strings.Contains(l.Value, `\`) { // a quoted word: the body is as it stands
			return r.Hdoc.Lit()
		}
	}
	e.parts(r.Hdoc.Parts, true)
	return e.cur.String()
}

// procOutput is what `< <(…)` gives to read; of a file it is unknown. The word was
// judged just now.
func (j *judge) procOutput(w *syntax.Word) string {
	if len(w.Parts) == 1 {
		if _, ok := w.Parts[0].(*syntax.ProcSubst); ok {
			return j.lastProc
		}
	}
	return unknown
}

// command judges a command and returns what it prints.
func (j *judge) command(sc *scope, c syntax.Command) string {
	switch c := c.(type) {
	case *syntax.CallExpr:
		return j.call(sc, c)
	case *syntax.BinaryCmd:
		return j.binary(sc, c)
	case *syntax.Block:
		return j.stmts(sc, c.Stmts)
	case *syntax.Subshell:
		return j.stmts(sc.sub(), c.Stmts)
	case *syntax.IfClause:
		for ; c != nil; c = c.Else {
			j.stmts(sc, c.Cond)
			j.stmts(sc, c.Then)
		}
	case *syntax.WhileClause:
		j.stmts(sc, c.Cond)
		j.stmts(sc, c.Do)
		if endless(c) {
			j.endless(sc, "a loop without an end")
		}
	case *syntax.ForClause:
		j.loop(sc, c)
	case *syntax.CaseClause:
		j.text(sc, c.Word)
		for _, item := range c.Items {
			for _, p := range item.Patterns {
				j.text(sc, p)
			}
			j.stmts(sc, item.Stmts)
		}
	case *syntax.FuncDecl:
		if c.Name != nil {
			j.funcs[c.Name.Value] = &function{body: c.Body}
		}
		return ""
	case *syntax.DeclClause:
		j.declare(sc, c)
		return ""
	case *syntax.TimeClause:
		if c.Stmt != nil {
			return j.stmt(sc, c.Stmt)
		}
	case *syntax.CoprocClause:
		return j.background(sc, c.Stmt)
	default: // tests and arithmetic
		j.substitutions(sc, c)
		return ""
	}
	return unknown
}

// binary judges a pipeline or a list of && and ||. Long ones lean to the left, so
// they are followed in a loop.
func (j *judge) binary(sc *scope, c *syntax.BinaryCmd) string {
	stmts, ops := []*syntax.Stmt{c.Y}, []syntax.BinCmdOperator{c.Op}
	x := c.X
	for {
		b, ok := x.Cmd.(*syntax.BinaryCmd)
		if !ok || len(x.Redirs) > 0 || x.Background {
			break
		}
		stmts, ops = append(stmts, b.Y), append(ops, b.Op)
		x = b.X
	}
	out := j.link(sc, x, ops[len(ops)-1], nil)
	for i, s := range slices.Backward(stmts) {
		next := syntax.AndStmt
		if i > 0 {
			next = ops[i-1]
		}
		if piped(ops[i]) {
			in := out
			out = j.link(sc, s, syntax.Pipe, &in)
			continue
		}
		out = both(out, j.link(sc, s, next, nil))
	}
	return out
}

func piped(op syntax.BinCmdOperator) bool { return op == syntax.Pipe || op == syntax.PipeAll }

// link judges a part of a list; next is the operator after it. The parts of a
// pipeline are subshells.
func (j *judge) link(sc *scope, s *syntax.Stmt, next syntax.BinCmdOperator, input *string) string {
	if piped(next) {
		sc = sc.sub()
		if input != nil {
			sc.input = input
		}
	}
	return j.stmt(sc, s)
}

// endless reports whether a loop has a condition that always holds and nothing
// that leaves it.
func endless(c *syntax.WhileClause) bool {
	if len(c.Cond) != 1 {
		return false
	}
	call, ok := c.Cond[0].Cmd.(*syntax.CallExpr)
	if !ok || len(call.Args) != 1 {
		return false
	}
	always := map[string]bool{"true": !c.Until, ":": !c.Until, "false": c.Until}
	if !always[call.Args[0].Lit()] {
		return false
	}
	leaves := false
	for _, s := range c.Do {
		syntax.Walk(s, func(n syntax.Node) bool {
			if call, ok := n.(*syntax.CallExpr); ok && len(call.Args) > 0 {
				switch call.Args[0].Lit() {
				case "break", "exit", "return", "exec", "kill":
					leaves = true
				}
			}
			return !leaves
		})
	}
	return !leaves
}

// loop judges a body once for each of the words it runs for.
func (j *judge) loop(sc *scope, c *syntax.ForClause) {
	iter, ok := c.Loop.(*syntax.WordIter)
	if !ok {
		j.substitutions(sc, c.Loop)
		j.stmts(sc, c.Do)
		return
	}
	items := sc.args
	if iter.InPos.IsValid() {
		items = j.fields(sc, iter.Items)
	} else if items == nil {
		items = []string{unknown}
	}
	for _, item := range items {
		if j.over() {
			return
		}
		sc.set(iter.Name.Value, item)
		j.stmts(sc, c.Do)
	}
}

// declare judges export, declare, local, readonly and their like.
func (j *judge) declare(sc *scope, c *syntax.DeclClause) {
	prints, named := false, false
	for _, a := range c.Args {
		if a.Name == nil { // an option
			prints = prints || strings.ContainsAny(j.text(sc, a.Value), "px")
			named = named || !strings.HasPrefix(j.text(sc, a.Value), "-")
			continue
		}
		named = true
		if prints && a.Naked && secretName(a.Name.Value) {
			j.deny(Credentials, "%s would print a secret: test that it is set with `[ -n … ]` instead.", show(c.Variant.Value))
		}
		if !a.Naked {
			j.assign(sc, a)
		}
	}
	if !named && (prints || len(c.Args) == 0) && c.Variant.Value != "local" {
		j.deny(Credentials, "%s prints every variable, secrets among them: ask for the one that you need by its name.", show(c.Variant.Value))
	}
}

func (j *judge) assign(sc *scope, a *syntax.Assign) {
	switch {
	case a.Array != nil:
		var values []string
		for _, e := range a.Array.Elems {
			if e.Value != nil {
				values = append(values, j.fields(sc, []*syntax.Word{e.Value})...)
			}
		}
		if a.Append {
			values = append(append([]string{}, sc.vars[a.Name.Value]...), values...)
		}
		sc.set(a.Name.Value, values...)
		sc.arrays[a.Name.Value] = true
	case a.Index != nil:
		j.text(sc, a.Value)
		sc.set(a.Name.Value, unknown)
	case a.Append:
		sc.set(a.Name.Value, sc.get(a.Name.Value)+j.text(sc, a.Value))
	default:
		sc.set(a.Name.Value, j.text(sc, a.Value))
	}
}
