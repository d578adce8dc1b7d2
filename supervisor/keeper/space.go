package keeper

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// space watches how full the disk of one transcript is. It is used by one goroutine.
type space struct {
	dir     string
	reserve int64 // bytes to leave free
	allowed int64 // to be written before the next look
	looked  time.Time
	short   error // what the last look found
}

// A look at the disk is worth its system call once for so many bytes, or so long.
const (
	lookEveryBytes = 1 << 20
	lookEvery      = time.Second
	lookWhenShort  = retryAfter - 50*time.Millisecond
)

// check is called before n bytes are written; it returns why they should not be.
func (s *space) check(n int) error {
	every := lookEvery
	if s.short != nil {
		every = lookWhenShort
	}
	now := time.Now()
	if s.allowed -= int64(n); s.allowed > 0 && now.Sub(s.looked) < every {
		return s.short
	}
	s.allowed, s.looked, s.short = lookEveryBytes, now, nil
	free, err := freeBytes(s.dir)
	if err != nil {
		return nil // when the disk cannot tell, writing will
	}
	s.allowed = min(s.allowed, free-s.reserve)
	if free < s.reserve {
		s.allowed = lookEveryBytes
		s.short = fmt.Errorf("disk full: %d MiB free, %d MiB are kept free", free>>20, s.reserve>>20)
	}
	return s.short
}

// freeBytes returns what is left for us on the file system of path.
func freeBytes(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", path, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// oomKills returns how many processes of our control group the kernel has killed
// for want of memory; 0 when it does not tell.
func oomKills() int64 {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	var most int64
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3) // id:controllers:path, cgroups(7)
		if len(fields) != 3 {
			continue
		}
		var files []string
		switch fields[1] {
		case "":
			files = []string{
				filepath.Join("/sys/fs/cgroup", fields[2], "memory.events"),
				filepath.Join("/sys/fs/cgroup/unified", fields[2], "memory.events"),
			}
		case "memory":
			files = []string{filepath.Join("/sys/fs/cgroup/memory", fields[2], "memory.oom_control")}
		}
		for _, file := range files {
			most = max(most, oomKillsIn(file))
		}
	}
	return most
}

// oomKillsIn reads the count from a file of lines "key value".
func oomKillsIn(file string) int64 {
	p, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	lines := bufio.NewScanner(bytes.NewReader(p))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "oom_kill "); ok {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}
