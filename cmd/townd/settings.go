package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"townd/gitmgr"
	"townd/supervisor/rules"
)

// Config is everything that `townd serve` can be told. It is whole and valid
// before anything starts.
type Config struct {
	Home            string        // where the town keeps its state
	Listen          string        // host:port of the control API
	Token           string        // of the control API; made in Home when empty
	PublicURL       string        // how people reach the town, without a slash at its end; "" when it does not know
	ShareFor        time.Duration // a shared link lives at most and by default; 0 lets nothing be shared
	GitProtocols    []string      // that repositories may be reached by
	StopBudget      time.Duration // from the first SIGTERM until every agent is gone
	MaxAgents       int           // live at once
	UIDBase         uint32        // first user id for agents
	UIDCount        uint32        // how many; 0 means agents run as the server's user
	GIDBase         uint32        // first group id for repositories
	TranscriptBytes int64         // kept of one run's output
	ArtifactBytes   int64         // of files that are kept of one run
	GzipAfter       time.Duration // output last written so long ago is compressed; 0 never
	DeleteAfter     time.Duration // output of runs over for so long is deleted; 0 never
	LogLevel        slog.Level
	ProjectHooks    map[string]bool // rigs whose repositories' own hooks and settings agents' programs run
	Rules           rules.Set       // what agents' hooks deny
	Coordinator     coordinatorSettings
	Git             gitSettings
	House           houseSettings
	Models          modelSettings
}

// setting is one field of Config as people give it: by flag, else by
// environment variable, else the default.
type setting struct {
	flag  string // "" for what must not be seen in a list of processes
	env   string
	usage string
	value pflag.Value
}

// settings returns every setting, each set to its default.
func (c *Config) settings() []setting {
	hours := func(h float64) time.Duration { return time.Duration(h * float64(time.Hour)) }
	return append([]setting{
		{"home", "TOWND_HOME", "directory of the town's state (default /var/lib/townd for root, else townd in the XDG state directory)", text(&c.Home, "")},
		{"listen", "TOWND_LISTEN", "address of the control API, host:port", text(&c.Listen, defaultListen)},
		{"", "TOWND_TOKEN", "token that callers of the control API show; made in the file token of the home directory when unset", text(&c.Token, "")},
		{"public-url", "TOWND_PUBLIC_URL", "address at which people reach the town, as https://town.example.com: links to it begin so; when unset, with the address that who asks for them has used", address(&c.PublicURL)},
		{"share-hours", "TOWND_SHARE_HOURS", "time for which a shared link to an agent's run opens it, at most and when nobody says for how long; 0 shares nothing", duration(&c.ShareFor, time.Hour, hours(24))},
		{"git-protocols", "TOWND_GIT_PROTOCOLS", "protocols that repositories may be reached by, of https, ssh, http, git, file", list(&c.GitProtocols, "https,ssh")},
		{"stop-seconds", "TOWND_STOP_SECONDS", "time for ending every agent after SIGTERM", duration(&c.StopBudget, time.Second, 8*time.Second)},
		{"max-agents", "TOWND_MAX_AGENTS", "agents that may live at once", whole(&c.MaxAgents, 256)},
		{"uid-base", "TOWND_UID_BASE", "first user id for agents, used when the server runs as root", whole(&c.UIDBase, 40000)},
		{"uid-count", "TOWND_UID_COUNT", "user ids for agents; 0 runs them as the server's user", whole(&c.UIDCount, 1000)},
		{"gid-base", "TOWND_GID_BASE", "first group id for repositories, used when the server runs as root", whole(&c.GIDBase, 50000)},
		{"transcript-bytes", "TOWND_TRANSCRIPT_BYTES", "output kept of one run; the oldest goes first", whole(&c.TranscriptBytes, 64<<20)},
		{"artifact-bytes", "TOWND_ARTIFACT_BYTES", "bytes kept of the files that one run leaves in $TOWND_ARTIFACTS", whole(&c.ArtifactBytes, 64<<20)},
		{"log-gzip-after-hours", "AGENT_LOG_GZIP_AFTER_HOURS", "age at which agents' output is compressed; 0 never", duration(&c.GzipAfter, time.Hour, hours(24))},
		{"log-delete-after-days", "AGENT_LOG_DELETE_AFTER_DAYS", "age at which the output of ended runs is deleted; 0 never", duration(&c.DeleteAfter, 24*time.Hour, hours(30*24))},
		{"rules", "TOWND_RULES", "what agents' programs are kept from, where they have hooks: " + joined(rules.Names()) + ", all or none", ruleSet(&c.Rules)},
		{"project-hooks", "TOWND_PROJECT_HOOKS", "rigs whose repositories' own hooks and settings agents' programs may run", set(&c.ProjectHooks)},
		{"log-level", "LOG_LEVEL", "least of the server's own log: debug, info, warn or error", level(&c.LogLevel, slog.LevelInfo)},
	}, slices.Concat(c.Coordinator.settings(), c.Git.settings(), c.House.settings(), c.Models.settings())...)
}

// defaultHome is where a town lives that is told nothing.
func defaultHome(getenv func(string) string) string {
	if os.Geteuid() == 0 {
		return "/var/lib/townd"
	}
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "townd")
	}
	return filepath.Join(getenv("HOME"), ".local/state/townd")
}

// addFlags declares every setting that has a flag.
func addFlags(flags *pflag.FlagSet, settings []setting) {
	for _, s := range settings {
		if s.flag != "" {
			flags.Var(s.value, s.flag, s.usage+" ($"+s.env+")")
		}
	}
}

// applyEnvironment sets what no flag has set from the environment. An empty
// variable counts as unset: that is what NAME= in a .env file means.
func applyEnvironment(flags *pflag.FlagSet, settings []setting, getenv func(string) string) error {
	var errs []error
	for _, s := range settings {
		given := getenv(s.env)
		if given == "" || s.flag != "" && flags.Changed(s.flag) {
			continue
		}
		if err := s.value.Set(given); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.env, err))
		}
	}
	return errors.Join(errs...)
}

// load sets what no flag has set from the environment, fills in the home
// directory, and returns all that is wrong.
func (c *Config) load(flags *pflag.FlagSet, settings []setting, getenv func(string) string) error {
	if err := applyEnvironment(flags, settings, getenv); err != nil {
		return err
	}
	if c.Home == "" {
		c.Home = defaultHome(getenv)
	}
	c.Coordinator.inherit(getenv)
	return c.validate()
}

// maxID is the largest user or group id; the one above it means "no change" to
// chown(2).
const maxID = math.MaxUint32 - 1

// maxPool bounds the worktrees that wait in each rig: every one is a whole checkout.
const maxPool = 32

// validate returns every reason why c cannot be used, each with the name of the
// variable that sets it.
func (c *Config) validate() error {
	var errs []error
	bad := func(env, format string, args ...any) {
		errs = append(errs, fmt.Errorf(env+": "+format, args...))
	}
	if !filepath.IsAbs(c.Home) {
		bad("TOWND_HOME", "must be an absolute path, not %q", c.Home)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("TOWND_LISTEN", "must be host:port, as 127.0.0.1:8080: %v", err)
	}
	if err := checkHeader(c.Token); err != nil {
		bad("TOWND_TOKEN", "%v", err)
	}
	c.Coordinator.validate(bad)
	if len(c.GitProtocols) == 0 {
		bad("TOWND_GIT_PROTOCOLS", "must name at least one protocol")
	}
	for _, p := range c.GitProtocols {
		if !slices.Contains(allProtocols, p) {
			bad("TOWND_GIT_PROTOCOLS", "%q is not one of %s", p, strings.Join(allProtocols, ", "))
		}
	}
	for _, rig := range slices.Sorted(maps.Keys(c.Git.Repos)) {
		if err := gitmgr.CheckURL(c.Git.Repos[rig], c.GitProtocols); err != nil {
			bad("GH_PRECLONE_REPOS", "%s: %v", rig, err)
		}
	}
	if c.Git.Pool < 0 || c.Git.Pool > maxPool {
		bad("TOWND_POOL_SIZE", "must be 0 to %d", maxPool)
	}
	if c.StopBudget < time.Second || c.StopBudget > time.Hour {
		bad("TOWND_STOP_SECONDS", "must be 1 to 3600")
	}
	if c.House.Every > 0 && c.House.Every < time.Second {
		bad("TOWND_SWEEP_SECONDS", "must be 0, or 1 or more")
	}
	if c.MaxAgents < 1 {
		bad("TOWND_MAX_AGENTS", "must be at least 1")
	}
	if c.UIDCount > 0 && (c.UIDBase == 0 || uint64(c.UIDBase)+uint64(c.UIDCount)-1 > maxID) {
		bad("TOWND_UID_BASE", "with TOWND_UID_COUNT must stay within 1 to %d", uint32(maxID))
	}
	if c.UIDCount > 0 && (c.GIDBase == 0 || c.GIDBase > maxID/2) {
		bad("TOWND_GID_BASE", "must be 1 to %d", uint32(maxID/2))
	}
	if c.TranscriptBytes < 1<<20 {
		bad("TOWND_TRANSCRIPT_BYTES", "must be at least %d", 1<<20)
	}
	if err := c.Git.check(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.Models.config(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkHeader returns why a token cannot be one, nil if it can.
func checkHeader(token string) error {
	if strings.ContainsAny(token, " \t\r\n") {
		return errors.New("must not contain white space: it travels in an HTTP header")
	}
	return nil
}

// value is a pflag.Value of any type.
type value[T any] struct {
	p      *T
	kind   string
	parse  func(string) (T, error)
	format func(T) string
}

func (v *value[T]) String() string { return v.format(*v.p) }
func (v *value[T]) Type() string   { return v.kind }

func (v *value[T]) Set(s string) error {
	parsed, err := v.parse(strings.TrimSpace(s))
	if err == nil {
		*v.p = parsed
	}
	return err
}

func text(p *string, def string) pflag.Value {
	*p = def
	return &value[string]{
		p, "text",
		func(s string) (string, error) { return s, nil },
		func(s string) string { return s },
	}
}

// address is the base of URLs, by http or https.
func address(p *string) pflag.Value {
	return &value[string]{
		p, "URL",
		func(s string) (string, error) {
			u, err := url.Parse(s)
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
				return "", errors.New("must be http://host or https://host, with a path at most") // what was given may hold a password
			}
			return strings.TrimRight(s, "/#?"), nil
		},
		func(s string) string { return s },
	}
}

func ruleSet(p *rules.Set) pflag.Value {
	*p = rules.All()
	return &value[rules.Set]{p, "list", rules.ParseSet, func(s rules.Set) string {
		if len(s) == len(rules.All()) {
			return "all"
		}
		return joined(s)
	}}
}

func joined[S ~string](names []S) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = string(name)
	}
	return strings.Join(all, ",")
}

// set is a list of names without order.
func set(p *map[string]bool) pflag.Value {
	return &value[map[string]bool]{
		p, "list",
		func(s string) (map[string]bool, error) {
			names := map[string]bool{}
			for name := range strings.SplitSeq(s, ",") {
				if name = strings.TrimSpace(name); name != "" {
					names[name] = true
				}
			}
			return names, nil
		},
		func(names map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(names)), ",") },
	}
}

func list(p *[]string, def string) pflag.Value {
	v := &value[[]string]{
		p, "list",
		func(s string) ([]string, error) {
			var items []string
			for item := range strings.SplitSeq(s, ",") {
				if item = strings.TrimSpace(item); item != "" {
					items = append(items, item)
				}
			}
			return items, nil
		},
		func(items []string) string { return strings.Join(items, ",") },
	}
	*p, _ = v.parse(def)
	return v
}

func whole[T int | int64 | uint32](p *T, def T) pflag.Value {
	*p = def
	return &value[T]{
		p, "number",
		func(s string) (T, error) {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil || n < 0 || int64(T(n)) != n {
				return 0, fmt.Errorf("must be a whole number, not %q", s)
			}
			return T(n), nil
		},
		func(n T) string { return strconv.FormatInt(int64(n), 10) },
	}
}

// yes is true or false.
func yes(p *bool) pflag.Value {
	return &value[bool]{
		p, "boolean",
		func(s string) (bool, error) {
			b, err := strconv.ParseBool(s)
			if err != nil {
				return false, fmt.Errorf("must be true or false, not %q", s)
			}
			return b, nil
		},
		strconv.FormatBool,
	}
}

// duration is a number of units.
func duration(p *time.Duration, unit, def time.Duration) pflag.Value {
	*p = def
	return &value[time.Duration]{
		p, "number",
		func(s string) (time.Duration, error) {
			n, err := strconv.ParseFloat(s, 64)
			if err != nil || !(n >= 0 && n <= float64(math.MaxInt64)/float64(unit)) {
				return 0, fmt.Errorf("must be a number of 0 or more, not %q", s)
			}
			return time.Duration(n * float64(unit)), nil
		},
		func(d time.Duration) string { return strconv.FormatFloat(float64(d)/float64(unit), 'f', -1, 64) },
	}
}

func level(p *slog.Level, def slog.Level) pflag.Value {
	*p = def
	return &value[slog.Level]{
		p, "level",
		func(s string) (l slog.Level, err error) {
			if l.UnmarshalText([]byte(s)) != nil {
				return 0, fmt.Errorf("must be debug, info, warn or error, not %q", s)
			}
			return l, nil
		},
		func(l slog.Level) string { return strings.ToLower(l.String()) },
	}
}
