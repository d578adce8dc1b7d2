package container

import (
	"bytes"
	"regexp"
)

// terminalReports are what terminals send by themselves: replies to queries in
// the output they draw. The town answers those queries itself, once, so a
// viewer's replies are dropped: they would be typed as junk, again at every
// replay. In order: device attributes, device status, cursor position, colours
// and other OSC reports, modes, window and cell sizes, XTVERSION and DECRQSS,
// Kitty keyboard flags. A cursor report of row 1 with a column of 2 to 8 is left:
// xterm writes F3 with Shift, Alt and Control in the same way.
var terminalReports = regexp.MustCompile("^(?:" +
	"\x1b\\[[?>=][0-9;]*c" +
	"|\x1b\\[\\??[0-9]+n" +
	"|\x1b\\[(?:\\?[0-9;]*|[0-9]{2,};[0-9]+|[02-9];[0-9]+|1;(?:[019]|[0-9]{2,}))R" +
	"|\x1b\\](?:4;[0-9]+|1[0-9]|5;[0-9]+);(?:rgba?:)[0-9a-fA-F/]*(?:\x07|\x1b\\\\)" +
	"|\x1b\\[\\??[0-9]+;[0-9]\\$y" +
	"|\x1b\\[[4689];[0-9]+;[0-9]+t" +
	"|\x1bP(?:>\\||[01]\\$r|[01]\\+r)[^\x1b]*\x1b\\\\" +
	"|\x1b\\[\\?[0-9]+u" +
	")")

// reportBeginnings are how reports begin, long enough to be no key: a terminal
// that sent these is in the middle of one.
var reportBeginnings = regexp.MustCompile("^(?:" +
	"\x1b\\[[?>=][0-9;$]*" +
	"|\x1b\\](?:4|5|1[0-9]);[^\x07\x1b]*\x1b?" +
	"|\x1bP(?:>\\||[01][$+])[^\x1b]*\x1b?" +
	")$")

// maxReportBytes bounds what is held back of a report that has not ended.
const maxReportBytes = 1024

// inputFilter drops terminals' reports from a viewer's input, also those that
// come in several frames. The zero value is ready for use.
type inputFilter struct{ held []byte }

// keys returns p without reports. What it returns may share memory with p.
func (f *inputFilter) keys(p []byte) []byte {
	if len(f.held) > 0 {
		p = append(f.held, p...)
		f.held = nil
	}
	if bytes.IndexByte(p, 0x1b) < 0 {
		return p
	}
	kept := make([]byte, 0, len(p))
	for {
		i := bytes.IndexByte(p, 0x1b)
		if i < 0 {
			return append(kept, p...)
		}
		kept, p = append(kept, p[:i]...), p[i:]
		if report := terminalReports.Find(p); report != nil {
			p = p[len(report):]
			continue
		}
		if len(p) <= maxReportBytes && reportBeginnings.Match(p) {
			f.held = bytes.Clone(p)
			return kept
		}
		kept, p = append(kept, p[0]), p[1:]
	}
}
