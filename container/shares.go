package container

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"townd/api"
	"townd/town"
)

// shareLimit bounds the links that open something.
const shareLimit = 200

// shareSetting is how people know the setting that bounds a link's life.
const shareSetting = "TOWND_SHARE_HOURS"

// storedShare is a link as it is kept: what opens it is known by its hash only.
type storedShare struct {
	api.Share
	Structured bool   `json:"structured"` // the run has no terminal
	Sum        []byte `json:"sha256"`     // of the secret
}

// share is a link that opens something.
type share struct {
	storedShare
	over context.Context // stored, for it is the link's life: it ends at its time, or when the link is taken back
	end  context.CancelFunc
}

func newShare(s storedShare) *share {
	over, end := context.WithDeadline(context.Background(), s.ExpiresAt)
	return &share{s, over, end}
}

// whenOver has f called when the link ends, unless stop is called before. Of no link it
// is never called.
func (sh *share) whenOver(f func()) (stop func() bool) {
	if sh == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(sh.over, f)
}

// ended reports whether the link opens nothing any more. The clock is looked at too,
// which may have been set.
func (sh *share) ended(now time.Time) bool {
	return sh.over.Err() != nil || !now.Before(sh.ExpiresAt)
}

// Shares are the links that show one run of one agent to whoever has them, in a
// file of the town's home. The zero value lets nothing be shared. Safe for concurrent use.
type Shares struct {
	path    string // "" keeps them in memory only
	longest time.Duration
	log     *slog.Logger

	mu    sync.Mutex
	byID  map[string]*share
	dirty bool // the file is not what byID is
}

// OpenShares returns the links in the file at path, none where there is no file. No
// link lives longer than longest from when it was made; with 0 there are none. What
// of the file cannot be understood is told in warning, and left beside it in
// path.broken.
func OpenShares(path string, longest time.Duration, log *slog.Logger) (_ *Shares, warning string, err error) {
	s := &Shares{path: path, longest: longest, log: log, byID: make(map[string]*share)}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read shared links: %w", err)
	}
	if err := s.load(data); err != nil {
		broken := path + ".broken"
		warning = fmt.Sprintf("some shared links are lost, %s cannot be understood: %v", path, err)
		if err := renameio.WriteFile(broken, data, 0o600); err != nil {
			return nil, "", fmt.Errorf("%s; it is not copied to %s: %w", warning, broken, err)
		}
		log.Error("shared links not understood", "file", path, "copy", broken, "error", err)
		s.dirty = true
	}
	return s, warning, nil
}

// load takes over every link of the file that can be understood, and returns what is
// wrong with the others.
func (s *Shares) load(data []byte) error {
	var entries []json.RawMessage
	if err := json.Unmarshal(data, &entries); err != nil {
		return err
	}
	var wrong []error
	for i, entry := range entries {
		st, err := parseShare(entry)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("link %d: %w", i+1, err))
			continue
		}
		if most := st.CreatedAt.Add(s.longest); st.ExpiresAt.After(most) {
			st.ExpiresAt = most
		}
		s.byID[st.ID] = newShare(st)
	}
	return errors.Join(wrong...)
}

func parseShare(entry []byte) (st storedShare, err error) {
	if err := json.Unmarshal(entry, &st); err != nil {
		return st, err
	}
	if len(st.Sum) != sha256.Size {
		return st, errors.New("sha256 is no such hash")
	}
	return st, errors.Join(town.CheckID(st.ID), town.CheckID(st.AgentID), town.CheckID(st.Run))
}

// lifetime returns how long a link lives that seconds are asked for, 0 for as long as may be.
func (s *Shares) lifetime(seconds float64) (time.Duration, error) {
	if s.longest == 0 {
		return 0, fmt.Errorf("no run of this town is shared: %s is 0: %w", shareSetting, town.ErrForbidden)
	}
	if seconds == 0 {
		return s.longest, nil
	}
	if !(seconds >= 1 && seconds <= s.longest.Seconds()) {
		return 0, &town.InvalidError{Issues: []town.Issue{{
			Path: "seconds", Message: fmt.Sprintf("must be 1 to %.0f, which is what %s allows", s.longest.Seconds(), shareSetting),
		}}}
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// add makes a link to a run and returns it with what opens it. It is on disk then.
func (s *Shares) add(r *run, life time.Duration) (_ api.Share, token string, err error) {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails (go doc crypto/rand.Read)
	sum, now := sha256.Sum256(secret[:]), time.Now().UTC()
	made := api.Share{ID: town.NewID(now), AgentID: r.agent, Run: r.id, CreatedAt: now, ExpiresAt: now.Add(life)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(func(sh *share) bool { return sh.ended(now) })
	if len(s.byID) >= shareLimit {
		return api.Share{}, "", &town.CapacityError{
			What:       fmt.Sprintf("%d links are shared, the most allowed; take one back (DELETE /shares/{id}) or let one expire", shareLimit),
			RetryAfter: s.next().Sub(now),
		}
	}
	s.byID[made.ID] = newShare(storedShare{made, r.structured, sum[:]})
	if err := s.write(); err != nil {
		s.drop(func(sh *share) bool { return sh.ID == made.ID })
		return api.Share{}, "", err
	}
	return made, made.ID + "." + base64.RawURLEncoding.EncodeToString(secret[:]), nil
}

// next returns when the first of the links expires.
func (s *Shares) next() (at time.Time) {
	for _, sh := range s.byID {
		if at.IsZero() || sh.ExpiresAt.Before(at) {
			at = sh.ExpiresAt
		}
	}
	return at
}

var errShare = fmt.Errorf("this takes what is in a shared link, as Authorization: Bearer <id>.<secret>; "+
	"the link has expired or was taken back, or never was one: %w", town.ErrUnauthorized)

// find returns the link that token opens, else errShare, which does not tell why.
func (s *Shares) find(token string) (*share, error) {
	id, sum, ok := parseShareToken(token)
	s.mu.Lock()
	sh := s.byID[id]
	s.mu.Unlock()
	if !ok || sh == nil || subtle.ConstantTimeCompare(sum[:], sh.Sum) != 1 || sh.ended(time.Now()) {
		return nil, errShare
	}
	return sh, nil
}

// parseShareToken reads "<id>.<secret>" and returns the hash of the secret. There is
// one way to write each.
func parseShareToken(token string) (id string, sum [sha256.Size]byte, ok bool) {
	id, text, ok := strings.Cut(token, ".")
	secret, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(secret) != 32 || len(text) != base64.RawURLEncoding.EncodedLen(32) || town.CheckID(id) != nil {
		return "", sum, false
	}
	return id, sha256.Sum256(secret), true
}

// list returns the links for which alive is true, in the order they were made, and lets
// go of the others.
func (s *Shares) list(alive func(api.Share) bool) []api.Share {
	s.tidy(alive)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []api.Share{}
	for _, sh := range s.sorted() {
		list = append(list, sh.Share)
	}
	return list
}

func (s *Shares) sorted() []*share {
	return slices.SortedFunc(maps.Values(s.byID), func(a, b *share) int { return cmp.Compare(a.ID, b.ID) })
}

// remove takes a link back. It opens nothing from then on, also when there is an error: then it
// is not on disk yet, which is tried again.
func (s *Shares) remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.drop(func(sh *share) bool { return sh.ID == id }) {
		return fmt.Errorf("shared link %q: %w", id, town.ErrNotFound)
	}
	if err := s.write(); err != nil {
		return fmt.Errorf("the link is taken back until this server ends: %w", err)
	}
	return nil
}

// tidy lets go of what has ended and of what is not alive, and writes what could not
// be written before.
func (s *Shares) tidy(alive func(api.Share) bool) {
	s.mu.Lock()
	all := s.sorted()
	s.mu.Unlock()
	now := time.Now()
	gone := make(map[string]bool) // looked at without the lock: alive asks others
	for _, sh := range all {
		gone[sh.ID] = sh.ended(now) || !alive(sh.Share)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(func(sh *share) bool { return gone[sh.ID] })
	if !s.dirty {
		return
	}
	if err := s.write(); err != nil {
		s.log.Error("shared links not kept", "error", err)
	}
}

// drop ends the links for which is is true and reports whether there were any.
func (s *Shares) drop(is func(*share) bool) (dropped bool) {
	for id, sh := range s.byID {
		if is(sh) {
			sh.end()
			delete(s.byID, id)
			s.dirty, dropped = true, true
		}
	}
	return dropped
}

// write makes the file what byID is, so that a kill or a power failure at any moment leaves
// the old or the new one, and after it the new one.
func (s *Shares) write() error {
	s.dirty = true
	list := []storedShare{}
	for _, sh := range s.sorted() {
		list = append(list, sh.storedShare)
	}
	data, err := json.Marshal(list)
	if err == nil && s.path != "" {
		err = errors.Join(renameio.WriteFile(s.path, append(data, '\n'), 0o600), syncDir(filepath.Dir(s.path)))
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("write shared links: %w", town.ErrNoSpace)
	}
	if err != nil {
		return fmt.Errorf("write shared links: %w", err)
	}
	s.dirty = false
	return nil
}

// syncDir makes a rename in dir outlive a power failure.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
