package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// C43: a home that does not last is told of, a disk is not.
func TestHomeThatIsNoDiskIsToldOf(t *testing.T) {
	for kind, want := range map[int64]string{unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.EXT4_SUPER_MAGIC: "", unix.XFS_SUPER_MAGIC: ""} {
		if got := diskWarning("/home", kind); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("diskWarning(%#x) = %q, want it to tell of %q", kind, got, want)
		}
	}
	if got, err := homeWarning("/dev/shm"); err != nil || !strings.Contains(got, "/dev/shm") {
		t.Errorf("homeWarning(/dev/shm) = %q, %v; want a warning", got, err)
	}
	if _, err := homeWarning("/nowhere"); err == nil {
		t.Error("homeWarning(/nowhere) has no error")
	}
}
