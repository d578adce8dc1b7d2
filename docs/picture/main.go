// Picture makes the picture of the README: it runs `townd try` on a terminal of
// its own and draws what that showed, in its colours, as an SVG.
//
//	go run ./docs/picture bin/townd docs/try.svg
package main

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// The size of the terminal, and of a character on the picture.
const (
	cols, rows = 110, 200
	charWidth  = 8.43
	lineHeight = 19
	margin     = 18
)

// The line that ends the picture, and the one after which nothing follows.
const (
	lastShown = "merged into main"
	lastLine  = "Ctrl-C ends the town"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: picture PROGRAM FILE")
	}
	output, err := record(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[2], draw(output), 0o644); err != nil {
		log.Fatal(err)
	}
}

// record returns what `townd try` prints until its last line; then it ends it.
func record(program string) ([]byte, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "try", "--cli", "demo")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "PATH=") })
	// In PATH it calls itself by its name.
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: cols, Rows: rows})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	defer terminal.Close()
	patience := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer patience.Stop()
	var output []byte
	for buf := make([]byte, 4096); ; {
		n, err := terminal.Read(buf)
		output = append(output, buf[:n]...)
		if _, after, ok := bytes.Cut(output, []byte(lastLine)); ok && bytes.Contains(after, []byte("\n")) {
			break
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("townd try ended early:\n%s", output), cmd.Wait())
		}
	}
	_, err = terminal.Write([]byte{3}) // Ctrl-C
	for buf := make([]byte, 4096); err == nil; {
		_, err = terminal.Read(buf) // to its end
	}
	shown, _, _ := bytes.Cut(output, []byte(lastShown))
	return append(shown, lastShown...), cmd.Wait()
}

// style is what escape sequences have asked for.
type style struct {
	colour string
	bold   bool
}

// The colours of the picture: the terminal's own, and SGR's 31, 32, 36 and 2.
const (
	background = "#11151c"
	foreground = "#d5dae3"
)

var colours = map[string]string{"31": "#ff7b72", "32": "#56d364", "36": "#79c0ff", "2": "#7d8590"}

// span is text of one style.
type span struct {
	style
	text string
}

// draw returns the lines of output as an SVG. It knows line ends and colours,
// which is all that `townd try` uses; other sequences are left out.
func draw(output []byte) []byte {
	var b bytes.Buffer
	lines := bytes.Split(bytes.ReplaceAll(bytes.TrimRight(output, "\r\n"), []byte("\r"), nil), []byte("\n"))
	width, height := float64(cols)*charWidth+2*margin, len(lines)*lineHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", background)
	var s style
	for i, line := range lines {
		var spans []span
		spans, s = split(line, s)
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s" xml:space="preserve">`, margin, margin+(i+1)*lineHeight-5, foreground)
		for _, span := range spans {
			b.WriteString(span.svg())
		}
		b.WriteString("</text>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (s span) svg() string {
	attributes := ""
	if s.colour != "" {
		attributes += ` fill="` + s.colour + `"`
	}
	if s.bold {
		attributes += ` font-weight="bold"`
	}
	return "<tspan" + attributes + ">" + html.EscapeString(s.text) + "</tspan>"
}

// split cuts a line at its escape sequences. s is the style it begins in; it
// returns the one it ends in.
func split(line []byte, s style) ([]span, style) {
	var spans []span
	for len(line) > 0 {
		text, rest, escape := bytes.Cut(line, []byte("\x1b["))
		if len(text) > 0 {
			spans = append(spans, span{s, string(text)})
		}
		if !escape {
			break
		}
		end := bytes.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
		if end < 0 {
			break
		}
		if rest[end] == 'm' {
			s = s.with(string(rest[:end]))
		}
		line = rest[end+1:]
	}
	return spans, s
}

func (s style) with(parameter string) style {
	switch parameter {
	case "0":
		return style{}
	case "1":
		s.bold = true
	default:
		s.colour = colours[parameter]
	}
	return s
}
