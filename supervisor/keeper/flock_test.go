package keeper

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"townd/town"
)

// A server that is killed while it starts git must not keep the next one out.
func TestALockIsHadWhenTheChildOfWhoWasKilledEnds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	first := open()
	if err := Flock(first); err != nil {
		t.Fatal(err)
	}
	if err := Flock(open()); !errors.Is(err, town.ErrConflict) {
		t.Errorf("Flock() of what another holds = %v, want a conflict", err)
	}
	child := exec.Command("cat") // ends with its input
	child.ExtraFiles = []*os.File{first}
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	first.Close()
	second, locked := open(), make(chan error, 1)
	go func() { locked <- Flock(second) }()
	in.Close()
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
	if err := <-locked; err != nil {
		t.Errorf("Flock() after the child's end = %v", err)
	}
}
