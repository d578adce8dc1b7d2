package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"townd/api"
	"townd/town"
)

// defaultListen is where a town listens that is told nothing.
const defaultListen = "127.0.0.1:8080"

// urlOf is how this machine reaches a town that listens on address: one that
// listens on every address answers on a loopback one.
func urlOf(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	return "http://" + address
}

// remote is the town that a command talks to.
type remote struct {
	*api.Client
	hall hall // its coordinator
	url  string
}

// connect returns the town that the environment names. It does not talk to it.
func connect(std stdio) (*remote, error) {
	address := cmp.Or(std.getenv("TOWND_URL"), urlOf(cmp.Or(std.getenv("TOWND_LISTEN"), defaultListen)))
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("TOWND_URL: must be http://host:port or https://host, not %q", address)
	}
	token, err := findToken(std, u)
	if err != nil {
		return nil, err
	}
	base, id := strings.TrimSuffix(address, "/"), cmp.Or(std.getenv("TOWND_TOWN_ID"), defaultTown)
	return &remote{Client: api.New(base, token, nil), hall: hall{api.NewHall(base, id, token, nil)}, url: address}, nil
}

// findToken returns TOWND_TOKEN, else, for a town on this machine, the token that
// its server made. Another machine never gets that one: it is not theirs.
func findToken(std stdio, u *url.URL) (string, error) {
	if token := std.getenv("TOWND_TOKEN"); token != "" {
		return token, nil
	}
	if !isLoopback(u.Hostname()) {
		return "", fmt.Errorf("TOWND_TOKEN: set it to the token of the town at %s (townd token prints it there)", u.Host)
	}
	token, err := readToken(homeOf(std.getenv))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // no server ran here yet: the call will say so
	}
	return token, err
}

// homeOf returns the directory of the town on this machine.
func homeOf(getenv func(string) string) string {
	if home := getenv("TOWND_HOME"); home != "" {
		return home
	}
	return defaultHome(getenv)
}

func tokenFile(home string) string { return filepath.Join(home, "token") }

func readToken(home string) (string, error) {
	b, err := os.ReadFile(tokenFile(home))
	if err != nil {
		return "", fmt.Errorf("read the town's token (or set TOWND_TOKEN): %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// explain adds to a client's error what to do about it.
func (r *remote) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no town answers at %s: start one with `townd serve`, or set TOWND_URL to where it is", r.url)
	case errors.Is(err, town.ErrUnauthorized):
		return fmt.Errorf("the town at %s does not take this token: set TOWND_TOKEN to what `townd token` prints where its server runs", r.url)
	}
	return err
}

// withTown makes the RunE of a command that talks to a town.
func withTown(std stdio, do func(ctx context.Context, r *remote, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		r, err := connect(std)
		if err != nil {
			return err
		}
		return r.explain(do(cmd.Context(), r, args))
	}
}

// completeAgents completes the ids of agents, those for which keep is true.
func completeAgents(std stdio, keep func(town.Agent) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, prefix string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Second) // a person waits for it
		defer cancel()
		r, err := connect(std)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		agents, err := r.Agents(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for _, a := range agents {
			if keep(a) && strings.HasPrefix(a.AgentID, prefix) {
				ids = append(ids, cobra.CompletionWithDesc(a.AgentID, fmt.Sprintf("%s %s", a.CLI, a.Status)))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

func anyAgent(town.Agent) bool    { return true }
func liveAgent(a town.Agent) bool { return a.Status.Live() }
func deadAgent(a town.Agent) bool { return !a.Status.Live() }
