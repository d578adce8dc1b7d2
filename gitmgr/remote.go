package gitmgr

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"townd/town"
)

// The kinds of a remote that failed. Each is a town.ErrGit too.
var (
	ErrAuth       = fmt.Errorf("its credential is missing, wrong or expired: %w", town.ErrGit)
	ErrDenied     = fmt.Errorf("its credential has no right to do this: %w", town.ErrGit)
	ErrRepository = fmt.Errorf("no such repository, or none that the credential may see: %w", town.ErrGit)
	ErrNetwork    = fmt.Errorf("the remote is not reached or not well: %w", town.ErrGit) // worth another try later
	ErrRace       = fmt.Errorf("the remote's branch has moved: %w", town.ErrGit)
)

// RemoteURL returns the URL of a rig's remote, and ErrNotFound for a rig without a clone.
func (m *Manager) RemoteURL(rigID string) (string, error) {
	r, err := m.existing(rigID)
	if err != nil {
		return "", err
	}
	return r.remoteURL()
}

// remoteSays is what git says of a remote that failed, most telling first.
var remoteSays = []struct {
	pattern *regexp.Regexp
	kind    error
}{
	{regexp.MustCompile(`stale info|fetch first|non-fast-forward|incorrect old value|reference already exists|remote rejected.*(failed to update ref|cannot lock ref|failed to lock)`), ErrRace},
	{regexp.MustCompile(`Authentication failed|could not read (Username|Password)|Permission denied \(|Host key verification failed|returned error: 401`), ErrAuth},
	{regexp.MustCompile(`returned error: 403|hook declined|protected branch|remote rejected|deny updating|service not enabled`), ErrDenied},
	{regexp.MustCompile(`(?i)repository '?.*'? ?not found|returned error: 404|does not appear to be a git repository|repository '.*' does not exist`), ErrRepository},
	{regexp.MustCompile(`returned error: (408|425|429|5\d\d)|Could not resolve|Failed to connect|Couldn't connect|onnection (reset|refused|timed out|closed)|RPC failed|early EOF|hung up unexpectedly|unexpected disconnect|Empty reply|Operation too slow|SSL_|TLS|Recv failure|Send failure|Network is unreachable|No route to host`), ErrNetwork},
}

// remoteKind tells why a remote failed from what git said. What the remote itself
// said ("remote: …") is any text: it is not believed.
func remoteKind(said string) error {
	var own strings.Builder
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "remote:") {
			own.WriteString(line)
		}
	}
	for _, s := range remoteSays {
		if s.pattern.MatchString(own.String()) {
			return s.kind
		}
	}
	return town.ErrGit
}

const (
	remoteRetries = 3 // after the first try, when somebody waits for the answer
	retryPause    = 500 * time.Millisecond
)

// again waits before try n (1 for the first repetition), doubling, and reports
// whether err is worth it: the network, or a remote that is not well. A remote that
// did not answer until our deadline has had its time.
func (m *Manager) again(ctx context.Context, n, most int, err error) bool {
	e, ok := errors.AsType[*runError](err)
	if !ok || e.exit <= 0 || n > most || !errors.Is(err, ErrNetwork) {
		return false
	}
	return m.backOff(ctx, n)
}

// backOff waits before try n and reports whether ctx still wants it.
func (m *Manager) backOff(ctx context.Context, n int) bool {
	pause := m.pause << (n - 1)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause/2 + rand.N(pause)):
		return true
	}
}
