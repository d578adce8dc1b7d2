package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// closeProcess keeps our memory and our environment, which hold keys, from other
// processes of our user: without root, agents are such processes. Programs that we
// start are not affected (prctl(2), PR_SET_DUMPABLE).
func closeProcess() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close our process to others: %w", err)
	}
	return nil
}
