package container

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// redacted stands for what was taken out.
const redacted = "[redacted]"

// minMasked is the shortest value that is looked for inside texts: a shorter one
// would be found in innocent words. It is still masked where it stands alone.
const minMasked = 6

// maxSecrets bounds the values remembered; the oldest goes first.
const maxSecrets = 4096

// Secrets is a set of values that must not be shown: the town's token, and what
// callers give to their agents under names of secrets. It masks them in texts,
// and with them whatever has the form of a credential. Safe for concurrent use.
type Secrets struct {
	mu       sync.RWMutex
	order    []string
	known    map[string]bool
	replacer *strings.Replacer // of the values of at least minMasked bytes
}

// NewSecrets returns a set of values; empty ones are left out.
func NewSecrets(values ...string) *Secrets {
	s := &Secrets{known: make(map[string]bool), replacer: strings.NewReplacer()}
	s.Add(values...)
	return s
}

// Add adds values to the set.
func (s *Secrets) Add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := false
	for _, v := range values {
		if v = strings.TrimSpace(v); v != "" && !s.known[v] {
			s.known[v], added = true, true
			s.order = append(s.order, v)
		}
	}
	if !added {
		return
	}
	for len(s.order) > maxSecrets {
		delete(s.known, s.order[0])
		s.order = s.order[1:]
	}
	var pairs []string
	for _, v := range slices.SortedFunc(slices.Values(s.order), longestFirst) {
		if len(v) >= minMasked {
			for _, written := range spellings(v) {
				pairs = append(pairs, written, redacted)
			}
		}
	}
	s.replacer = strings.NewReplacer(pairs...)
}

// spellings are the ways a value is written in texts: as it is, in an error's
// %q, in a URL.
func spellings(v string) []string {
	quoted := strconv.Quote(v)
	return slices.Compact([]string{v, quoted[1 : len(quoted)-1], url.QueryEscape(v)})
}

// longestFirst keeps a secret that another one begins with from being half shown.
func longestFirst(a, b string) int { return len(b) - len(a) }

// AddEnv adds the values of an environment whose names are those of secrets.
func (s *Secrets) AddEnv(env map[string]string) {
	var values []string
	for name, value := range env {
		if secretName(name) && len(value) >= minMasked { // not FEATURE_TOKENS=on
			values = append(values, value)
		}
	}
	s.Add(values...)
}

// credentialForms are texts that are credentials whoever's they are. A text
// without one of the marks has none of the form.
var credentialForms = []struct {
	marks []string
	form  *regexp.Regexp
	with  string
}{
	{[]string{"://"}, regexp.MustCompile(`://[^/\s"']*@`), "://" + redacted + "@"},
	{[]string{"earer ", "asic "}, regexp.MustCompile(`\b([Bb]earer|[Bb]asic)\s+[^\s"',;]{6,}`), "$1 " + redacted},
	{
		[]string{"ticket=", "token=", "key=", "secret=", "password="},
		regexp.MustCompile(`\b((?:ticket|token|key|api_key|secret|password|access_token)=)[^&\s"']+`), "$1" + redacted,
	},
	{
		[]string{"gh", "glpat-"},
		regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}`), redacted,
	},
	{[]string{"sk-"}, regexp.MustCompile(`\bsk-[A-Za-z0-9_-]{16,}`), redacted},
}

// Mask returns text with every secret in it replaced.
func (s *Secrets) Mask(text string) string {
	s.mu.RLock()
	replacer, whole := s.replacer, s.known[strings.TrimSpace(text)]
	s.mu.RUnlock()
	if whole {
		return redacted
	}
	text = replacer.Replace(text)
	for _, c := range credentialForms {
		if slices.ContainsFunc(c.marks, func(mark string) bool { return strings.Contains(text, mark) }) {
			text = c.form.ReplaceAllString(text, c.with)
		}
	}
	return text
}

// secretWords are what the names of secrets hold, in lower case without
// separators.
var secretWords = []string{
	"token", "password", "passwd", "passphrase", "secret", "apikey", "accesskey", "privatekey", "authorization", "credential",
	"cookie", "ticket", "capability",
}

// secretName reports whether a value under this name is one not to show.
func secretName(name string) bool {
	name = strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(name))
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}
