package keeper

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"townd/town"
)

// lockPatience is how long a lock is waited for that nobody may have any more.
const lockPatience = time.Second

// Flock locks f for the caller alone, until it is closed or the process ends. A process
// that was killed in the middle of a start leaves its locks to the child, until that has
// executed its program: they are waited for, a second at most. ErrConflict: another
// process holds it.
func Flock(f *os.File) error {
	for waited := time.Duration(0); ; waited += lockPatience / 100 {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		case waited >= lockPatience:
			return fmt.Errorf("lock %s: %w", f.Name(), town.ErrConflict)
		}
		time.Sleep(lockPatience / 100) // flock has no form that ends by itself
	}
}
