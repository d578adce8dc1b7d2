package container

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"townd/api"
	"townd/town"
)

func openShares(t testing.TB, path string, longest time.Duration) *Shares {
	t.Helper()
	s, warning, err := OpenShares(path, longest, slog.New(slog.NewJSONHandler(t.Output(), nil)))
	if err != nil || warning != "" {
		t.Fatalf("OpenShares() warns %q, %v", warning, err)
	}
	return s
}

func all(api.Share) bool { return true }

func addShare(t testing.TB, s *Shares, id string, life time.Duration) (api.Share, string) {
	t.Helper()
	made, token, err := s.add(&run{agent: "toast", id: id}, life)
	if err != nil {
		t.Fatal(err)
	}
	return made, token
}

func TestShareOutlivesTheServerAndIsKeptAsAHash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shares.json")
	s := openShares(t, path, time.Hour)
	kept, token := addShare(t, s, "r1", time.Hour)
	gone, goneToken := addShare(t, s, "r2", time.Hour)
	if err := s.remove(gone.ID); err != nil {
		t.Fatal(err)
	}
	next := openShares(t, path, time.Hour) // what a server finds that comes after a kill
	if sh, err := next.find(token); err != nil || sh.Share != kept {
		t.Errorf("find() = %+v, %v; want %+v", sh, err, kept)
	}
	if _, err := next.find(goneToken); !errors.Is(err, town.ErrUnauthorized) {
		t.Errorf("find() of one that was taken back = %v", err)
	}
	if err := next.remove(gone.ID); !errors.Is(err, town.ErrNotFound) {
		t.Errorf("remove() again = %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(secret)
	if err != nil || len(raw) != 32 {
		t.Fatalf("the secret is %q, want 256 bits", secret)
	}
	if text := string(data); strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString(raw)) {
		t.Errorf("the file holds the secret: %s", data)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has %v, %v; want 0600", info.Mode(), err)
	}
}

func TestShareExpiresAndIsForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shares.json")
	synctest.Test(t, func(t *testing.T) {
		s := openShares(t, path, time.Hour)
		made, token := addShare(t, s, "r1", time.Minute)
		sh, err := s.find(token)
		if err != nil {
			t.Fatal(err)
		}
		var over atomic.Bool
		defer sh.whenOver(func() { over.Store(true) })()
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		if _, err := s.find(token); err != nil || over.Load() {
			t.Errorf("just before its end find() = %v, over %v", err, over.Load())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if _, err := s.find(token); !errors.Is(err, town.ErrUnauthorized) || !over.Load() {
			t.Errorf("at its end (%v) find() = %v, over %v", made.ExpiresAt, err, over.Load())
		}
		s.tidy(all)
	})
	if data, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(data)) != "[]" {
		t.Errorf("the file holds %s, %v; want nothing", data, err)
	}
}

func TestShareThatIsTakenBackEndsAtOnce(t *testing.T) {
	s := openShares(t, filepath.Join(t.TempDir(), "shares.json"), time.Hour)
	made, token := addShare(t, s, "r1", time.Hour)
	sh, err := s.find(token)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	defer sh.whenOver(func() { close(over) })()
	if err := s.remove(made.ID); err != nil {
		t.Fatal(err)
	}
	<-over
	if _, err := s.find(token); !errors.Is(err, town.ErrUnauthorized) {
		t.Errorf("find() = %v, want ErrUnauthorized", err)
	}
}

// A link is taken back also when the disk is full, and that comes to the disk when it can.
func TestShareIsTakenBackThoughItCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	path := filepath.Join(dir, "shares.json")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := openShares(t, path, time.Hour)
	made, token := addShare(t, s, "r1", time.Hour)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := s.remove(made.ID); err == nil || !strings.Contains(err.Error(), "until this server ends") {
		t.Errorf("remove() without a disk = %v", err)
	}
	if _, err := s.find(token); !errors.Is(err, town.ErrUnauthorized) {
		t.Errorf("find() = %v, want ErrUnauthorized", err)
	}
	if _, _, err := s.add(&run{agent: "toast", id: "r1"}, time.Hour); err == nil || len(s.byID) != 0 {
		t.Errorf("add() without a disk = %v, %d links", err, len(s.byID))
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	s.tidy(all)
	if left := openShares(t, path, time.Hour).list(all); len(left) != 0 {
		t.Errorf("the next server has %+v", left)
	}
}

func TestSharesAreBounded(t *testing.T) {
	s := openShares(t, "", time.Hour)
	for i := range shareLimit {
		addShare(t, s, fmt.Sprint("r", i), time.Hour)
	}
	_, _, err := s.add(&run{agent: "toast", id: "more"}, time.Hour)
	if capacity, ok := errors.AsType[*town.CapacityError](err); !ok || capacity.RetryAfter <= 0 || capacity.RetryAfter > time.Hour {
		t.Errorf("add() beyond the limit = %v, want a CapacityError of an hour at most", err)
	}
	if left := s.list(func(sh api.Share) bool { return sh.Run != "r7" }); len(left) != shareLimit-1 {
		t.Errorf("%d links are left when the run of one is gone, want %d", len(left), shareLimit-1)
	}
	addShare(t, s, "more", time.Hour)
}

// The setting counts from when a link was made: made smaller it shortens those that are there.
func TestSettingBoundsLinksThatAreThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shares.json")
	made, token := addShare(t, openShares(t, path, 48*time.Hour), "r1", 48*time.Hour)
	sh, err := openShares(t, path, time.Hour).find(token)
	if err != nil || !sh.ExpiresAt.Equal(made.CreatedAt.Add(time.Hour)) {
		t.Errorf("find() = %+v, %v; want an end an hour after %v", sh, err, made.CreatedAt)
	}
	off := openShares(t, path, 0)
	if _, err := off.find(token); !errors.Is(err, town.ErrUnauthorized) {
		t.Errorf("with 0 find() = %v, want ErrUnauthorized", err)
	}
	if _, err := off.lifetime(60); !errors.Is(err, town.ErrForbidden) || !strings.Contains(err.Error(), "TOWND_SHARE_HOURS") {
		t.Errorf("with 0 lifetime() = %v, want ErrForbidden and the setting's name", err)
	}
}

func TestGarbageAmongSharesIsToldAndLosesNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shares.json")
	s := openShares(t, path, time.Hour)
	_, token := addShare(t, s, "r1", time.Hour)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entry := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(whole)), "["), "]")
	for name, c := range map[string]struct {
		file string
		kept bool
	}{
		"no JSON":         {"\x00\x01garbage", false},
		"nothing":         {"", false},
		"cut":             {string(whole[:len(whole)/2]), false},
		"another value":   {`{"shares":7}`, false},
		"a bad hash":      {"[" + entry + "," + strings.Replace(entry, `"sha256":"`, `"sha256":"AA`, 1) + "]", true},
		"another entry":   {"[7," + entry + "]", true},
		"no id":           {"[{}," + entry + ",null]", true},
		"a path as a run": {"[" + strings.Replace(entry, `"r1"`, `"../../x"`, 1) + "," + entry + "]", true},
	} {
		if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		s, warning, err := OpenShares(path, time.Hour, slog.New(slog.DiscardHandler))
		if err != nil || !strings.Contains(warning, path) {
			t.Errorf("%s: OpenShares() warns %q, %v", name, warning, err)
			continue
		}
		if _, err := s.find(token); (err == nil) != c.kept {
			t.Errorf("%s: find() = %v, want the link kept: %v", name, err, c.kept)
		}
		if copied, err := os.ReadFile(path + ".broken"); err != nil || string(copied) != c.file {
			t.Errorf("%s: the copy is %q, %v", name, copied, err)
		}
		_, fresh := addShare(t, s, "r2", time.Hour)
		if _, err := openShares(t, path, time.Hour).find(fresh); err != nil {
			t.Errorf("%s: after it find() = %v", name, err)
		}
	}
}

func FuzzShareToken(f *testing.F) {
	good := "06e1v0c8k3w1x9m2q4r7t5y6za." + base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	for _, seed := range []string{good, good + "=", good + "\n", good[:len(good)-1] + "B", "." + good, "a.b.c", "", ".", "..", "é." + good[27:], strings.Repeat("a", 200) + good[26:]} {
		f.Add(seed)
	}
	s := openShares(f, "", time.Hour)
	made, token := addShare(f, s, "r1", time.Hour)
	f.Fuzz(func(t *testing.T, text string) {
		id, sum, ok := parseShareToken(text)
		secret, err := base64.RawURLEncoding.DecodeString(text[min(len(id)+1, len(text)):])
		if ok && (err != nil || town.CheckID(id) != nil || sum != sha256.Sum256(secret) || text != id+"."+base64.RawURLEncoding.EncodeToString(secret)) {
			t.Errorf("parseShareToken(%q) = %q, which is written otherwise", text, id)
		}
		for _, text := range []string{text, made.ID + "." + text} {
			if _, err := s.find(text); err == nil && text != token {
				t.Errorf("find(%q) opened the link", text)
			}
		}
	})
}
