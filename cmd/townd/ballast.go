package main

import (
	"errors"
	"os"
	"path/filepath"

	"townd/town"
)

// ballastBytes is disk that a town gives up to start when there is none left: its
// databases need a little to be opened, and a town that does not start cannot be told
// to free any.
const ballastBytes = 1 << 20

func ballastFile(home string) string { return filepath.Join(home, "ballast") }

// keepBallast lays by what withBallast may need.
func keepBallast(home string) error {
	if st, err := os.Stat(ballastFile(home)); err == nil && st.Size() == ballastBytes {
		return nil
	}
	err := os.WriteFile(ballastFile(home), make([]byte, ballastBytes), 0o600)
	if err != nil {
		_ = os.Remove(ballastFile(home)) // half of it helps nobody
	}
	return err
}

// withBallast opens something that writes to the disk of home, and again without the
// ballast when the disk is full.
func withBallast[T any](home string, open func() (T, error)) (T, error) {
	v, err := open()
	if !errors.Is(err, town.ErrNoSpace) || os.Remove(ballastFile(home)) != nil {
		return v, err
	}
	return open()
}
