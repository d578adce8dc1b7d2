package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"townd/supervisor/keeper"
	"townd/town"
)

// claimUsers makes the agents' user ids from base on this town's alone among the
// towns of this machine, until the claim is closed: a town ends an agent by
// ending every process of its user. The claim is a lock on a file, where agents
// cannot go: a socket's name they would take when a server dies, and keep its
// successor out. The namespace in it keeps containers apart that share /run.
func claimUsers(c *Config) (io.Closer, error) {
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return nil, fmt.Errorf("claim users: %w", err)
	}
	f, err := os.OpenFile(fmt.Sprintf("/run/townd-users-%s-%d.lock", namespace, c.UIDBase), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil { // a container that cannot be written to, but for the home: no other town is in it
		f, err = os.OpenFile(filepath.Join(c.Home, "users.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("claim users: %w", err)
	}
	err = keeper.Flock(f)
	if errors.Is(err, town.ErrConflict) {
		err = fmt.Errorf("another town on this machine has the users from %d on: choose another TOWND_UID_BASE and TOWND_GID_BASE", c.UIDBase)
	}
	if err == nil {
		err = checkUsers(c)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// checkUsers returns an error when a town that never ran an agent, nor had a rig,
// where git runs as their users, finds processes of these users: they are another's,
// whose server is down for the moment. Later such processes are our own, whatever
// they say of themselves.
func checkUsers(c *Config) error {
	for _, signs := range []string{"runs/*", "rigs/[!.]*"} {
		if found, err := filepath.Glob(filepath.Join(c.Home, signs)); err == nil && len(found) > 0 {
			return nil
		}
	}
	procs, err := keeper.Scan()
	if err != nil {
		return fmt.Errorf("look for agents of other towns: %w", err)
	}
	for _, p := range procs {
		if p.UID >= c.UIDBase && p.UID-c.UIDBase < c.UIDCount {
			return fmt.Errorf("process %d runs as user %d, which is for this town's agents: end it, or choose another TOWND_UID_BASE", p.PID, p.UID)
		}
	}
	return nil
}

// freeUsers returns a base of user ids that no other town claims, for a town
// that nobody chose one for.
func freeUsers(c Config) (base uint32, err error) {
	for base := uint32(42000); base < 58000; base += c.UIDCount {
		c.UIDBase = base
		claim, err := claimUsers(&c)
		if err != nil {
			continue // taken: the next may be free
		}
		return base, claim.Close()
	}
	return 0, errors.New("no range of user ids is free for one more town")
}
