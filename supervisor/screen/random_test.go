package screen

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// randomJob is a stream of what programs send, in no sensible order. Of three, one
// changes its size, one its width and the screen, one its screen only.
func randomJob(seed uint64) job {
	rnd := rand.New(rand.NewPCG(seed, 7))
	j := job{Cols: 4 + rnd.IntN(30), Rows: 2 + rnd.IntN(10)}
	for range 1 + rnd.IntN(25) {
		if rnd.IntN(8) == 0 && seed%3 > 0 {
			size := [2]int{2 + rnd.IntN(40), j.Rows}
			if seed%3 == 1 {
				size[1] = 1 + rnd.IntN(14)
			}
			j.Events = append(j.Events, event{size: size})
			continue
		}
		var s strings.Builder
		for range 1 + rnd.IntN(20) {
			piece := randomPiece(rnd)
			if seed%3 == 1 && (strings.Contains(piece, "47") || strings.Contains(piece, "1049")) {
				continue
			}
			s.WriteString(piece)
		}
		j.Events = append(j.Events, event{bytes: []byte(s.String())})
	}
	j.Cuts = []int{len(j.Events)}
	return j
}

func randomPiece(rnd *rand.Rand) string {
	n := func() int {
		if rnd.IntN(20) == 0 {
			return rnd.IntN(2000)
		}
		return rnd.IntN(12)
	}
	pick := func(all string) string {
		choices := strings.Split(all, " ")
		return choices[rnd.IntN(len(choices))]
	}
	switch rnd.IntN(12) {
	case 0:
		return fmt.Sprintf("\x1b[%d%s", n(), pick("A B C D E F G ` a d e I Z @ P X L M S T g K J X @ P L M"))
	case 1:
		return fmt.Sprintf("\x1b[%d;%d%s", n(), n(), pick("H f r H"))
	case 2:
		return "\x1b[" + pick("m 0m 1m 2;3m 4m 4:3m 4:0m 7m 31m 42m 91m 105m 38;5;200m 48;5;17m 38;2;1;2;3m 48:2:9:8:7m 38:2::4:5:6m 58;5;3m 39m 49m 22m 24m 27m 53m 38:5:77m 1;31;44m 9;8m 29;28m")
	case 3:
		return "\x1b[" + pick("?7l ?7h ?7h ?7h 4h 4l 4l 20h 20l ?45h ?45l ?25l ?25h ?47h ?47l ?1047h ?1047l ?1049h ?1049l ?1048h ?1048l !p ?2004h ?1000h")
	case 4:
		return pick("\r\n \n \r \b \t \v \x1b7 \x1b8 \x1bD \x1bE \x1bM \x1bH \x1b#8 \x1b(0 \x1b(B \x1b)0 \x0e \x0f \u0084 \u0085 \u0088 \x1bn \x1b*0 \x1b(A \x1bc")
	case 5:
		return pick("日本 中 한국 😀 é e\u0301 a\u0308\u0301 ❤️ 👍🏽 ｶﾞ \u200b ☺ Ω ─ \u00ad \u1112\u1161\u11ab")
	case 6:
		return pick("\x1b]0;title\a \x1b]2;✳\u3000t\x1b\\ \x1b]8;;http://x\x1b\\ \x1b]1;icon\a \x1bP+q544e\x1b\\ \x1b_apc\x1b\\ \x1b]11;?\a \x1b[6n \x1b[c \x1b[>q \x1b[?u \x1b]\a \x1b]0\a")
	case 7:
		return fmt.Sprintf("\x1b[%d%s", n(), pick("b b b @ A '} '~ \"q")) + pick("x yy zzz")
	case 8:
		return pick("\xff \xc3 \xe2\x82 \xf0\x9f \xc0\x80 \xed\xa0\x80 \x80 \x7f \x00 \ufeff \x1b[1\r2C \x1b[?1;2<m \x1b[:5m \x1b[1:2:3K \x18 \x1b[3\x1b[4D")
	}
	return strings.Repeat(string(rune('a'+rnd.IntN(26))), 1+rnd.IntN(15)) + pick(" 1 ! _")
}

// Random streams look as in xterm.js, which is also asked anew with -streams. The
// known differences, which no stream contains:
//   - The alternate screen of a terminal that became less tall while it was not
//     shown: xterm.js remembers lines above it and shows rows twice afterwards.
//   - National character sets (ESC ( K and such) are taken for ASCII.
//   - REP prints at most 16384 characters, a title has at most 1024 bytes, at most
//     64 bytes combine with a character: bounds of ours.
//   - The width of characters newer than Unicode 11: see TestWidths.
func TestRandomStreams(t *testing.T) {
	var jobs []job
	for seed := range uint64(60) {
		jobs = append(jobs, randomJob(seed))
	}
	compareRandom(t, jobs, golden(t, "random", jobs))
	jobs = nil
	for seed := range uint64(*streams) {
		jobs = append(jobs, randomJob(1000+seed))
	}
	if len(jobs) > 0 {
		compareRandom(t, jobs, xterm(t, jobs))
	}
}

func compareRandom(t *testing.T, jobs []job, want [][]drawn) {
	t.Helper()
	failed := 0
	for i, j := range jobs {
		if want[i] == nil {
			continue // xterm.js gave up
		}
		got := j.draw(t)
		if diff := cmp.Diff(want[i], got); diff != "" {
			failed++
			if failed < 4 {
				t.Errorf("stream %d of %dx%d (-xterm +ours):\n%s", i, j.Cols, j.Rows, diff)
			}
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d streams differ", failed, len(jobs))
	}
}
