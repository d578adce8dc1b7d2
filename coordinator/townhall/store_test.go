package townhall

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"townd/api"
	"townd/town"
)

func TestADatabaseOfANewerVersionIsRefusedAndNotTouched(t *testing.T) {
	for name, change := range map[string]string{
		"version 99":      `PRAGMA user_version = 99`,
		"another program": `PRAGMA application_id = 7`,
	} {
		t.Run(name, func(t *testing.T) {
			clock := newTestClock()
			path := filepath.Join(t.TempDir(), "hall.db")
			if err := openHall(t, path, clock).Close(); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(change); err != nil {
				t.Fatal(err)
			}
			db.Close()
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Open(t.Context(), testConfig(path, clock))
			if !errors.Is(err, town.ErrConflict) || !strings.Contains(err.Error(), name) {
				t.Errorf("Open() = %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

// oldHall is the path of a database as version 1 of it was left by its last server.
func oldHall(t testing.TB, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hall.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all := append([]string{
		migration1, fmt.Sprintf(`PRAGMA application_id = %d`, applicationID), `PRAGMA user_version = 1`,
		`INSERT INTO rigs (id, settings, created_at, updated_at) VALUES ('rig', '{"gitUrl":"https://example.com/rig.git"}', 1, 1)`,
	}, statements...)
	for _, s := range all {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return path
}

func TestAnOldEscalationIsRaisedAgainToo(t *testing.T) {
	clock := newTestClock()
	made := clock.now().Add(-3 * time.Hour)
	h := openHall(t, oldHall(t, fmt.Sprintf(`INSERT INTO escalations (id, severity, title, body, agent_id, bead_id, rig_id, cause, count, status, answer,
		created_at, updated_at) VALUES ('e', 'medium', 'old', '', '', '', '', '', 1, 'open', '', %d, %[1]d)`, ms(made))), clock)
	for hours, want := range []int{0, 1, 1} {
		if _, err := h.expired(t.Context(), clock.now(), nil); err != nil {
			t.Fatal(err)
		}
		if all, err := h.Escalations(t.Context(), ""); err != nil || len(all) != 1 || all[0].Raises != want || !all[0].CreatedAt.Equal(made) {
			t.Errorf("after %d hours: %+v, %v, want it raised %d times", hours, all, err, want)
		}
		clock.pass(time.Hour)
	}
}

// insertOld makes a bead of version 1.
func insertOld(id, source, status string) string {
	return fmt.Sprintf(`INSERT INTO beads (id, rig_id, type, title, body, status, why, priority, labels, source, dedupe_key, convoy_id, attempts,
		max_attempts, reworks, hold, name, agent_id, epoch, nudges, branch, start_point, target, commit_id, pull_request, summary, feedback, due, blockers,
		created_at, updated_at) VALUES ('%s', 'rig', 'issue', '%[1]s', '', '%s', '', 'medium', '[]', '%s', '', '', 0, 3, 0, '', '', '', 0, 0, '', '', '', '', '',
		'', '', 1, 0, 1, 1)`, id, status, source)
}

func TestOldBeadsOfAgentsCountToo(t *testing.T) {
	clock := newTestClock()
	path := oldHall(t, insertOld("theirs", "person", "open"), insertOld("found", "agent:toast", "open"),
		`INSERT INTO agents (id, rig_id, role, name, bead_id, status, reason, turn_state, turn_count, says, generation, run_id, last_seen_at, last_event_type,
			active_tools, message_count, event_cursor, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, tool_calls, rss_bytes,
			cpu_percent, processes) VALUES ('toast', 'rig', 'polecat', 'toast', 'theirs', 'exited', '', 'none', 0, '', 1, '', 1, '', '[]', 0, 0, 0, 0, 0, 0, 0,
			0, 0, 0, 0)`)
	cfg := testConfig(path, clock)
	cfg.Beads.PerBead = 1
	h, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	if b := bead(t, h, "theirs"); b.ParentID != "" {
		t.Errorf("a person's bead has the parent %q", b.ParentID)
	}
	if b := bead(t, h, "found"); b.ParentID != "theirs" {
		t.Errorf("an agent's bead has the parent %q", b.ParentID)
	}
	_, _, err = h.CreateBead(t.Context(), Caller{AgentID: "toast", Role: town.RolePolecat}, "rig", town.BeadRequest{Title: "another"})
	wantKind(t, err, town.ErrConflict)
}

func TestACorruptDatabaseIsToldAndMovedAsideWhenAsked(t *testing.T) {
	for name, spoil := range map[string]func(b []byte) []byte{
		"no database": func([]byte) []byte { return []byte(strings.Repeat("no database at all ", 1000)) },
		"cut":         func(b []byte) []byte { return b[:len(b)/2] },
		"overwritten": func(b []byte) []byte {
			for i := 4096; i < len(b); i++ {
				b[i] = byte(i * 7)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newTestClock()
			path := filepath.Join(t.TempDir(), "hall.db")
			h := openHall(t, path, clock)
			addRig(t, h, "rig", town.RigSettings{})
			for range 50 {
				addBead(t, h, town.BeadRequest{Body: strings.Repeat("x", 1000)})
			}
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			spoiled := spoil(b)
			if err := os.WriteFile(path, spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // it is told every time, and stays where it is
				_, err = Open(t.Context(), testConfig(path, clock))
				wantKind(t, err, ErrCorrupt)
			}
			aside, err := MoveAside(path, clock.now())
			if err != nil {
				t.Fatal(err)
			}
			if after, err := os.ReadFile(aside); err != nil || !bytes.Equal(after, spoiled) {
				t.Errorf("what was moved aside is not what was there (%v)", err)
			}
			if beads, _, err := openHall(t, path, clock).Beads(t.Context(), api.BeadQuery{}); err != nil || len(beads) != 0 {
				t.Errorf("Beads() of the new one = %d, %v", len(beads), err)
			}
			if _, err := MoveAside(path, clock.now()); !errors.Is(err, town.ErrConflict) {
				t.Errorf("MoveAside() onto another = %v", err)
			}
		})
	}
}

func TestAFullDiskIsToldAndLosesNothing(t *testing.T) {
	h, _ := newHall(t)
	b := addBead(t, h, town.BeadRequest{})
	limit := func(pages string) {
		t.Helper()
		if err := h.write(t.Context(), news, func(t *tx) error {
			var n int
			return t.h.store.writer.conn.QueryRowContext(t.ctx, `PRAGMA max_page_count = `+pages).Scan(&n)
		}); err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // SQLite takes what is used as the least
	var err error
	for range 10 {
		if _, _, err = h.CreateBead(t.Context(), Person, "rig", town.BeadRequest{Title: "x", Body: strings.Repeat("x", 100_000)}); err != nil {
			break
		}
	}
	wantKind(t, err, town.ErrNoSpace)
	limit("1000000")
	if got := take(t, h); got.ID != b.ID {
		t.Errorf("took %s", got.ID)
	}
}

func TestADatabaseThatAnotherHoldsIsUnavailable(t *testing.T) {
	clock := newTestClock()
	path := filepath.Join(t.TempDir(), "hall.db")
	h := openHall(t, path, clock)
	addRig(t, h, "rig", town.RigSettings{})
	if err := h.write(t.Context(), news, func(t *tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.writer.conn.ExecContext(t.Context(), `PRAGMA busy_timeout = 20`); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec(`BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	_, _, err = h.CreateBead(t.Context(), Person, "rig", town.BeadRequest{Title: "x"})
	wantKind(t, err, town.ErrUnavailable)
	if _, err := h.Rigs(t.Context()); err != nil {
		t.Errorf("Rigs() beside another's lock = %v", err)
	}
	if _, err := other.Exec(`ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	addBead(t, h, town.BeadRequest{})
}

func TestAClosedHallIsUnavailable(t *testing.T) {
	h, _ := newHall(t)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := h.Rigs(t.Context())
	wantKind(t, err, town.ErrUnavailable)
	_, err = h.Pause(t.Context(), Person, "x")
	wantKind(t, err, town.ErrUnavailable)
}

// Proves Q3, P4, P13.
func TestADatabaseIsItsOwnersAndItsTowns(t *testing.T) {
	clock := newTestClock()
	path := filepath.Join(t.TempDir(), "a #%? name.db")
	h := openHall(t, path, clock)
	addRig(t, h, "rig", town.RigSettings{})
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(path + suffix); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 600", suffix, info, err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log is left beside the closed database: %v", err)
	}
	cfg := testConfig(path, clock)
	cfg.TownID = "other"
	_, err := Open(t.Context(), cfg)
	wantKind(t, err, town.ErrConflict)
	if rigs, err := openHall(t, path, clock).Rigs(t.Context()); err != nil || len(rigs) != 1 {
		t.Errorf("Rigs() = %v, %v", rigs, err)
	}
}

func TestAnOperationThatFailsChangesNothing(t *testing.T) {
	h, _ := newHall(t)
	half := errors.New("half way")
	begin := func(tx *tx) {
		if _, err := tx.exec(`UPDATE rigs SET settings = '{}'`); err != nil {
			t.Error(err)
		}
	}
	if err := h.write(t.Context(), fact, func(tx *tx) error { begin(tx); return half }); !errors.Is(err, half) {
		t.Errorf("write() = %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = h.write(t.Context(), fact, func(tx *tx) error { begin(tx); panic("no") })
	}()
	if rig, err := h.Rig(t.Context(), "rig"); err != nil || rig.GitURL == "" {
		t.Errorf("Rig() = %+v, %v", rig, err)
	}
	addBead(t, h, town.BeadRequest{})
}

func TestAWaiterThatLeavesDoesNotWrite(t *testing.T) {
	h, _ := newHall(t)
	h.store.turn <- struct{}{} // someone writes
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := h.Pause(ctx, Person, "x"); !errors.Is(err, gone) {
		t.Errorf("Pause() = %v", err)
	}
	<-h.store.turn
}

// Q9: readers see the last state while someone writes.
func TestReadersDoNotWaitForTheWriter(t *testing.T) {
	h, _ := newHall(t)
	err := h.write(t.Context(), fact, func(tx *tx) error {
		if err := setSetting(tx, settingPaused, "x"); err != nil {
			return err
		}
		s, err := h.Status(t.Context())
		if err == nil && s.Paused != "" {
			err = fmt.Errorf("a reader sees what is not committed: %q", s.Paused)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A pass that began before a pause or a standby claims nothing after it.
func TestNothingIsClaimedThatWasPausedMeanwhile(t *testing.T) {
	h, _ := newHall(t)
	addBead(t, h, town.BeadRequest{})
	none := func(what, paused string) {
		t.Helper()
		if b, ok, err := h.claimNext(t.Context(), "rig", paused, pickName); err != nil || ok {
			t.Errorf("claimNext() %s = %+v, %v, %v; want none", what, b, ok, err)
		}
	}
	if _, err := h.Pause(t.Context(), Person, "lunch"); err != nil {
		t.Fatal(err)
	}
	none("of a town that was paused", "")
	if _, err := h.Pause(t.Context(), Person, ""); err != nil {
		t.Fatal(err)
	}
	none("of a town whose breaker has closed", "breaker: x")
	addRig(t, h, "rig", town.RigSettings{Paused: true})
	none("of a rig that was paused", "")
	addRig(t, h, "rig", town.RigSettings{})
	take(t, h)
}

func TestAKeyIsAnsweredAsTheFirstTime(t *testing.T) {
	clock := newTestClock()
	path := filepath.Join(t.TempDir(), "hall.db")
	h := openHall(t, path, clock)
	addRig(t, h, "rig", town.RigSettings{})
	ctx := WithKey(t.Context(), "key", "POST /beads")
	_, _, err := h.CreateBead(ctx, Person, "nobody", town.BeadRequest{Title: "x"})
	wantKind(t, err, town.ErrNotFound) // is not kept
	first, created, err := h.CreateBead(ctx, Person, "rig", town.BeadRequest{Title: "x"})
	if err != nil || !created {
		t.Fatalf("CreateBead() = %v, %v", created, err)
	}
	take(t, h)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = openHall(t, path, clock)
	again, created, err := h.CreateBead(ctx, Person, "rig", town.BeadRequest{Title: "x"})
	if err != nil || !created || again.ID != first.ID || again.Status != town.BeadOpen || !again.CreatedAt.Equal(first.CreatedAt) {
		t.Errorf("CreateBead() again = %+v, %v, %v; want the answer of the first time", again, created, err)
	}
	_, err = h.SendMail(WithKey(t.Context(), "key", "POST /mail"), Person, town.MailRequest{To: "mayor", Subject: "x"})
	wantKind(t, err, town.ErrConflict)
	clock.pass(49 * time.Hour)
	if err := h.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, _, err := h.CreateBead(ctx, Person, "rig", town.BeadRequest{Title: "x"}); err != nil || again.ID == first.ID {
		t.Errorf("CreateBead() after two days = %s, %v; want a new one", again.ID, err)
	}
}

func TestChangedTellsOfEveryChange(t *testing.T) {
	h, _ := newHall(t)
	for name, change := range map[string]func(){
		"bead":  func() { addBead(t, h, town.BeadRequest{}) },
		"rig":   func() { addRig(t, h, "other", town.RigSettings{}) },
		"beat":  func() { beat(t, h, "box") },
		"pause": func() { _, _ = h.Pause(t.Context(), Person, "x") },
	} {
		changed := h.Changed()
		change()
		select {
		case <-changed:
		default:
			t.Errorf("%s: nobody is told", name)
		}
	}
}

// C9: of many who claim at once, each gets another bead.
// Proves P1, P3.
func TestClaimsAtOnceGetDifferentBeads(t *testing.T) {
	h, _ := newHall(t)
	const beads, claims = 20, 30
	for range beads {
		addBead(t, h, town.BeadRequest{})
	}
	var mu sync.Mutex
	got := map[string]int{}
	names := map[string]int{}
	var wg sync.WaitGroup
	for range claims {
		wg.Go(func() {
			b, ok, err := h.claimNext(t.Context(), "rig", "", pickName)
			if err != nil {
				t.Error(err)
			}
			if ok {
				mu.Lock()
				defer mu.Unlock()
				got[b.ID]++
				names[b.AgentID]++
			}
		})
	}
	wg.Wait()
	if len(got) != beads || len(names) != beads {
		t.Errorf("%d beads by %d agents, want %d each", len(got), len(names), beads)
	}
}

// counts is how many rows of each table there are.
func counts(t testing.TB, h *Hall) map[string]int {
	t.Helper()
	got := map[string]int{}
	for _, table := range []string{"beads", "notes", "events", "runs", "questions", "mail", "escalations", "merges"} {
		if err := h.read(t.Context(), func(r reader) error {
			var n int
			err := r.row(`SELECT count(*) FROM ` + table).Scan(&n)
			got[table] = n
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// lived makes a bead with something of everything that is written down about one, and
// ends it, or leaves it at work.
func lived(t testing.TB, h *Hall, run string, end bool) town.Bead {
	t.Helper()
	addBead(t, h, town.BeadRequest{})
	b := take(t, h)
	me := Caller{AgentID: b.AgentID, Role: town.RolePolecat}
	a := shown(b)
	a.RunID = run
	beat(t, h, "box", a)
	said := event(run, 1)
	said.AgentID, said.BeadID = b.AgentID, b.ID
	_, err1 := h.AppendEvents(t.Context(), "box", []town.AgentEvent{said})
	_, err2 := h.Ask(t.Context(), me, b.AgentID, town.AskRequest{Question: "?", Options: []string{"a", "b"}})
	_, err3 := h.SendMail(t.Context(), Person, town.MailRequest{To: b.AgentID, Subject: "unread"})
	_, err4 := h.AddNote(t.Context(), me, b.ID, "found", "")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	if end {
		if _, err := h.CloseBead(t.Context(), Person, b.ID, api.CloseRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestWhatWasWrittenDownAboutABeadIsThrownAwayLongAfterItsEnd(t *testing.T) {
	h, clock := newHall(t)
	ended, open := lived(t, h, "ended", true), lived(t, h, "open", false)
	tidy := func() map[string]int {
		t.Helper()
		if err := h.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		return counts(t, h)
	}
	before := counts(t, h)
	clock.pass(180 * day)
	if got := tidy(); !maps.Equal(got, before) {
		t.Errorf("after 180 days: %v, want %v", got, before)
	}
	clock.pass(time.Second)
	got := tidy()
	for table, n := range map[string]int{"beads": 2, "events": 1, "runs": 1, "questions": 1, "mail": 1} {
		if got[table] != n {
			t.Errorf("%d %s are left, want %d", got[table], table, n)
		}
	}
	for id, want := range map[string]bool{ended.ID: false, open.ID: true} {
		if notes, err := h.Notes(t.Context(), id); err != nil || (len(notes) > 0) != want {
			t.Errorf("%d notes of bead %s, %v; want some: %v", len(notes), id, err, want)
		}
	}
	// Taken up again it is no ended bead, and has its time again after its next end.
	if _, err := h.PatchBead(t.Context(), Person, open.ID, town.BeadPatch{Status: town.BeadFailed}); err != nil {
		t.Fatal(err)
	}
	clock.pass(100 * day)
	if _, err := h.RetryBead(t.Context(), Person, open.ID, ""); err != nil {
		t.Fatal(err)
	}
	clock.pass(100 * day)
	if got := tidy(); got["events"] != 1 || got["questions"] != 1 {
		t.Errorf("a bead that was taken up again has lost some of it: %v", got)
	}
}

func TestOfEndedBeadsAndReadMailTheNewestAreKept(t *testing.T) {
	clock := newTestClock()
	cfg := testConfig(memory, clock)
	cfg.Keep.EndedBeads, cfg.Keep.ReadMails = 2, 3
	h, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	addRig(t, h, "rig", town.RigSettings{})
	for i := range 5 {
		lived(t, h, fmt.Sprint("run", i), true)
		m, err := h.SendMail(t.Context(), Person, town.MailRequest{To: "mayor", Subject: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.AckMail(t.Context(), Person, "mayor", []string{m.ID}); err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Minute)
	}
	if _, err := h.SendMail(t.Context(), Person, town.MailRequest{To: "mayor", Subject: "unread"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := counts(t, h); got["beads"] != 5 || got["events"] != 2 || got["questions"] != 2 {
		t.Errorf("left are %v, want what is of 2 of 5 beads", got)
	}
	mail, err := h.Mail(t.Context(), Person, MailQuery{To: "mayor", All: true})
	if err != nil || len(mail) != 4 || mail[0].Subject != "2" || mail[3].Subject != "unread" {
		t.Errorf("Mail() = %+v, %v; want the newest 3 that were read, and the unread one", mail, err)
	}
	clock.pass(31 * day)
	if err := h.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if mail, err := h.Mail(t.Context(), Person, MailQuery{To: "mayor", All: true}); err != nil || len(mail) != 1 {
		t.Errorf("a month later: %+v, %v; want the unread one", mail, err)
	}
}
