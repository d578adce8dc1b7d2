package gitmgr

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"townd/town"
)

// settings outrank every configuration file, so that no repository decides what
// our git runs: no hooks, no monitor, no helper that knows or asks for a secret.
var settings = [][2]string{
	{"core.hooksPath", "/dev/null"},
	{"core.fsmonitor", "false"},
	{"core.attributesFile", "/dev/null"},
	{"core.excludesFile", "/dev/null"},
	{"gc.auto", "0"},
	{"gc.packRefs", "false"},
	{"maintenance.auto", "false"},
	{"safe.directory", "*"},
	{"credential.helper", ""}, // an empty value drops those of configuration files
	{"submodule.recurse", "false"},
	{"protocol.ext.allow", "never"},
	{"commit.gpgSign", "false"},
	{"advice.detachedHead", "false"},
	{"advice.addEmbeddedRepo", "false"},
	{"http.lowSpeedLimit", "1000"}, // bytes a second, for
	{"http.lowSpeedTime", "60"},    // seconds: a remote that stalls is given up
}

// passed are the variables of our own environment that reach git when it calls a
// remote. A proxy's URL may hold a password, so agents' git never has them.
var passed = []string{
	"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
	"http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSH_AUTH_SOCK",
}

// sshOptions make ssh ask nobody anything.
var sshOptions = []string{"-o", "BatchMode=yes", "-o", "ConnectTimeout=30"}

// checkTraversable returns an ErrInvalid that names the directory above Home which
// the users of agents could not pass.
func checkTraversable(c Config) error {
	if c.GIDBase == 0 {
		return nil
	}
	for dir := filepath.Dir(c.Home); ; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err == nil && fi.Mode()&0o001 == 0 {
			return fmt.Errorf("git home %s: the users of agents cannot pass %s (mode %04o): chmod o+x it or choose another home: %w",
				c.Home, dir, fi.Mode().Perm(), town.ErrInvalid)
		}
		if dir == "/" {
			return nil
		}
	}
}

// prepareHome makes c.Home and the empty home directory of our git, and returns
// the environment of every git command.
func prepareHome(c Config) ([]string, error) {
	home := filepath.Join(c.Home, ".home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, fmt.Errorf("git home: %w", spaceKind(err))
	}
	for _, dir := range []string{c.Home, home} {
		if err := os.Chmod(dir, 0o755); err != nil && !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("git home: %w", err)
		}
	}
	global := "/dev/null"
	if slices.Contains(c.Protocols, "file") {
		// git-upload-pack of a local remote sees none of GIT_CONFIG_COUNT, and
		// refuses a repository of another user unless its user says otherwise.
		global = filepath.Join(c.Home, ".gitconfig")
		const text = "[safe]\n\tdirectory = *\n"
		// Not again when it is there: a server must start on a full disk too.
		if have, err := os.ReadFile(global); err != nil || string(have) != text {
			if err := writeFile(global, text, 0o644); err != nil {
				return nil, fmt.Errorf("git home: %w", spaceKind(err))
			}
		}
	}
	env := []string{
		"PATH=" + searchPath(),
		"HOME=" + home,
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + global,
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=/bin/false",
		"SSH_ASKPASS=/bin/false",
		"SSH_ASKPASS_REQUIRE=never",
		sshEnv(c, nil),
		"GIT_ALLOW_PROTOCOL=" + strings.Join(c.Protocols, ":"),
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_DEFAULT_REF_FORMAT=files", // share.go gives single refs their owners
	}
	return append(env, settingsEnv(settings)...), nil
}

// sshEnv tells git how to run ssh.
func sshEnv(c Config, more []string) string {
	return "GIT_SSH_COMMAND=" + strings.Join(slices.Concat([]string{c.SSH}, more, sshOptions), " ")
}

// searchPath is where programs are found.
func searchPath() string {
	return cmp.Or(os.Getenv("PATH"), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

// settingsEnv puts settings in git's environment; a later one replaces it whole.
func settingsEnv(settings [][2]string) []string {
	env := []string{"GIT_CONFIG_COUNT=" + strconv.Itoa(len(settings))}
	for i, s := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s[1]))
	}
	return env
}

// remoteEnv returns what git needs besides to reach a remote.
func remoteEnv() (env []string) {
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// writeFile replaces the file at once for every reader; it does not wait for the disk.
func writeFile(path, text string, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // err says why already
	}
	return err
}
