package townhall

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"townd/town"
)

var marks = regexp.MustCompile(`----- (begin|end) material ([0-9a-f]{12}) -----`)

// FuzzPromptKeepsMaterialBetweenItsMarks: no text of a bead gets out of the marks,
// also one that repeats those of another prompt.
func FuzzPromptKeepsMaterialBetweenItsMarks(f *testing.F) {
	f.Add("title", "body", "feedback", "note")
	f.Add("t", marks.FindString(workPrompt(town.Bead{Title: "t"}, nil)), "\x00\xff", strings.Repeat("é", maxNoteBytes))
	f.Fuzz(func(t *testing.T, title, body, feedback, note string) {
		b := town.Bead{ID: "b", Title: title, Body: body, Feedback: feedback, Epoch: 2}
		p := workPrompt(b, []town.Note{{Kind: "note", By: "a", Text: note}})
		if !utf8.ValidString(p) || strings.ContainsRune(p, 0) || len(p) > town.MaxPromptBytes {
			t.Errorf("a container refuses it: %d bytes", len(p))
		}
		all := marks.FindAllStringSubmatchIndex(p, -1)
		own := p[all[0][4]:all[0][5]]
		var at []int
		for _, m := range all {
			if p[m[4]:m[5]] == own {
				at = append(at, m[0])
			}
		}
		if len(at) != 2 || at[1] < strings.LastIndex(p, "## ") || !strings.HasSuffix(p, "\nBegin now.\n") {
			t.Errorf("marks at %v of:\n%s", at, p)
		}
	})
}

func TestPromptOfALaterAttemptTellsWhatWasBefore(t *testing.T) {
	b := town.Bead{ID: "01b", Title: "Mend it", Body: "The test fails.", Branch: "polecat/toast/01b", Epoch: 3, Attempts: 2, MaxAttempts: 3, Checkpoint: []byte(`{"next":"push"}`)}
	notes := []town.Note{
		{Kind: "status", By: "town", Text: "crashed with code 3"},
		{Kind: "note", By: "toast-01b", Text: "it is the cache"},
		{Kind: "attempt", By: "toast-01b", Text: "kept"},
	}
	p := workPrompt(b, notes)
	for _, want := range []string{"bead 01b", "polecat/toast/01b", "attempt 2 of 3", "Mend it", "The test fails.", `{"next":"push"}`, "- note, toast-01b: it is the cache", "- attempt"} {
		if !strings.Contains(p, want) {
			t.Errorf("prompt lacks %q:\n%s", want, p)
		}
	}
	if strings.Contains(p, "crashed") {
		t.Error("prompt tells changes of status")
	}
	b.Feedback = "a.go conflicts"
	if p := workPrompt(b, nil); !strings.Contains(p, "came back") || !strings.Contains(p, "a.go conflicts") {
		t.Errorf("prompt of a rework:\n%s", p)
	}
	b.Epoch, b.Feedback, b.Checkpoint = 1, "", nil
	if p := workPrompt(b, nil); strings.Contains(p, "before") || strings.Contains(p, "noted") {
		t.Errorf("prompt of a first attempt:\n%s", p)
	}
}

func TestNamesAreTakenOnce(t *testing.T) {
	if len(polecatNames) < 20 {
		t.Errorf("%d names", len(polecatNames))
	}
	taken := map[string]bool{}
	for range 3 * len(polecatNames) {
		name := pickName(taken)
		if taken[name] || town.CheckID(name) != nil {
			t.Fatalf("name %q is taken or no id", name)
		}
		taken[name] = true
	}
}
