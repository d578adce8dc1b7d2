package typing_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// behaviour is how the misbehaving program behaves.
type behaviour struct {
	Record    string // the file that gets each text submitted, as a line of JSON
	StartMs   int    // until it reads; then it throws away what came before
	Banner    bool   // it has printed something until then
	Canonical bool
	NoEcho    bool
	Paste     bool // asks for pastes in brackets
	Chips     bool // shows long pastes as chips
	Screen    bool // paints the whole screen, else it edits one line
	StormMs   int  // paints it again that often
	Swallow   int  // Enters that it takes and drops, before each text that it submits
	Newline   bool // what it does with those instead: a line feed in the text
	Quiet     bool // prints nothing when it has got a text
	Deaf      bool // never reads
	DieAt     string
	LagMs     int // until it acts on what it read
}

// program is the program at work; it ends with its terminal.
type program struct {
	behaviour
	record  *os.File
	text    string
	chip    string
	left    int // Enters to swallow
	history []string
	frames  int
	rows    int // of the text shown, when it edits a line
}

func programMain(config string) {
	p := &program{}
	if err := json.Unmarshal([]byte(config), &p.behaviour); err != nil {
		panic(err)
	}
	var err error
	if p.record, err = os.OpenFile(p.Record, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
		panic(err)
	}
	if p.Banner {
		fmt.Print("starting\r\n")
	}
	time.Sleep(time.Duration(p.StartMs) * time.Millisecond)
	p.left = p.Swallow
	p.setMode()
	switch {
	case p.Deaf:
		fmt.Print("ready\r\n")
		select {}
	case p.Canonical:
		p.readLines()
	default:
		p.readKeys()
	}
}

// setMode sets the terminal up and throws away what was typed before, as tty.setraw
// and getpass of Python do.
func (p *program) setMode() {
	mode, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		panic(err)
	}
	if !p.Canonical {
		mode.Iflag &^= unix.ICRNL | unix.IXON | unix.ISTRIP
		mode.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG | unix.IEXTEN
		mode.Oflag &^= unix.OPOST
	} else if p.NoEcho {
		mode.Lflag &^= unix.ECHO
	}
	if err := unix.IoctlSetTermios(0, unix.TCSETSF, mode); err != nil {
		panic(err)
	}
}

func (p *program) submit(text string) {
	line, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	if _, err := p.record.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

func (p *program) die(at string) {
	if p.DieAt == at {
		os.Exit(3)
	}
}

func (p *program) readLines() {
	fmt.Print("> ")
	for in := bufio.NewReader(os.Stdin); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		p.submit(strings.TrimSuffix(line, "\n"))
		p.die("enter")
		if !p.Quiet {
			fmt.Printf("%d bytes\n> ", len(line))
		}
	}
}

func (p *program) readKeys() {
	if p.Paste {
		fmt.Print("\x1b[?2004h")
	}
	p.paint()
	keys := make(chan []byte)
	go func() {
		for buf := make([]byte, 64<<10); ; {
			n, err := os.Stdin.Read(buf)
			if err != nil {
				os.Exit(0)
			}
			keys <- bytes.Clone(buf[:n])
		}
	}()
	var storm <-chan time.Time
	if p.StormMs > 0 {
		storm = time.Tick(time.Duration(p.StormMs) * time.Millisecond)
	}
	var held []byte // an unfinished sequence
	for {
		select {
		case k := <-keys:
			time.Sleep(time.Duration(p.LagMs) * time.Millisecond)
			held = p.take(append(held, k...))
			p.paint()
		case <-storm:
			p.paint()
		}
	}
}

const pasteBegin, pasteEnd = "\x1b[200~", "\x1b[201~"

// take acts on keys and returns those that are not complete.
func (p *program) take(k []byte) []byte {
	for len(k) > 0 {
		switch {
		case bytes.HasPrefix(k, []byte(pasteBegin)):
			text, rest, ok := bytes.Cut(k[len(pasteBegin):], []byte(pasteEnd))
			if !ok {
				return k
			}
			p.pasted(string(text))
			k = rest
			continue
		case k[0] == 0x1b && len(k) < len(pasteBegin):
			return k
		case bytes.HasPrefix(k, []byte(pasteEnd)):
			k = k[len(pasteEnd):]
			continue
		case k[0] == '\r':
			p.enter()
		case k[0] == 0x15:
			p.text, p.chip = p.text[:max(0, strings.LastIndexByte(strings.TrimSuffix(p.text, "\n"), '\n')+1)], ""
		case k[0] == '\n' || k[0] >= ' ' && k[0] != 0x7f:
			p.text += string(k[:1])
			p.die("text")
		}
		k = k[1:]
	}
	return nil
}

func (p *program) pasted(text string) {
	p.text += text
	if n := strings.Count(text, "\n"); p.Chips && (n > 0 || len(text) > 200) {
		p.chip = fmt.Sprintf("[Pasted text #%d +%d lines]", len(p.history)+1, n)
	}
	p.die("text")
}

func (p *program) enter() {
	if p.left > 0 {
		p.left--
		if p.Newline {
			p.text += "\n"
		}
		return
	}
	text := p.text
	p.text, p.chip, p.left = "", "", p.Swallow
	p.submit(text)
	p.die("enter")
	if text == "" {
		return
	}
	p.history = append(p.history, text)
	if !p.Screen && !p.Quiet {
		fmt.Printf("\r\n%d bytes\r\n", len(text))
		p.rows = 0
	}
}

func (p *program) shown() string {
	if p.NoEcho {
		return ""
	}
	if p.chip != "" {
		return p.chip
	}
	return p.text
}

func (p *program) paint() {
	if p.Screen {
		p.paintScreen()
		return
	}
	var b strings.Builder
	if p.rows > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.rows)
	}
	text := "> " + p.shown()
	b.WriteString("\r\x1b[J" + strings.ReplaceAll(text, "\n", "\r\n"))
	p.rows = 0
	for line := range strings.SplitSeq(text, "\n") {
		p.rows += 1 + max(0, len([]rune(line))-1)/cols
	}
	p.rows--
	_, _ = os.Stdout.WriteString(b.String())
}

const cols, rows = 80, 24

// paintScreen clears the screen and paints everything, the input in a box.
func (p *program) paintScreen() {
	p.frames++
	var b strings.Builder
	b.WriteString("\x1b[?25l\x1b[H\x1b[2J")
	fmt.Fprintf(&b, "%c a program, frame %d\r\n", []rune("⠋⠙⠹⠸")[p.frames%4], p.frames)
	for _, h := range p.history[max(0, len(p.history)-2):] {
		if r := []rune(strings.ReplaceAll(h, "\n", " ")); len(r) > 150 {
			h = string(r[:150])
		}
		fmt.Fprintf(&b, "you: %s\r\n", strings.ReplaceAll(h, "\n", "\r\n"))
	}
	var wrapped []string
	for line := range strings.SplitSeq(p.shown(), "\n") {
		r := []rune(line)
		for len(r) > cols-6 {
			wrapped, r = append(wrapped, string(r[:cols-6])), r[cols-6:]
		}
		wrapped = append(wrapped, string(r))
	}
	wrapped = wrapped[max(0, len(wrapped)-8):]
	b.WriteString("╭" + strings.Repeat("─", cols-2) + "╮\r\n")
	for i, line := range wrapped {
		sign := " "
		if i == 0 {
			sign = "❯"
		}
		fmt.Fprintf(&b, "│%s %s%s│\r\n", sign, line, strings.Repeat(" ", cols-4-len([]rune(line))))
	}
	fmt.Fprintf(&b, "╰%s╯\r\n  %d working %d s, Esc to interrupt", strings.Repeat("─", cols-2), p.frames%10, rand.IntN(60)) //nolint:gosec // a counter
	last := len([]rune(wrapped[len(wrapped)-1]))
	fmt.Fprintf(&b, "\x1b[2A\r\x1b[%dC\x1b[?25h", last+3)
	_, _ = os.Stdout.WriteString(b.String())
}
