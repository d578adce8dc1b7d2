package supervisor

import (
	"os"
	"path/filepath"
	"testing"

	"townd/supervisor/agentcli"
)

// A server that was killed between making a directory in an agent's home and giving it
// away leaves it to the next one, which gives it away.
func TestADirectoryThatWasNotGivenAwayIsGivenNow(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root gives files away")
	}
	home := t.TempDir()
	dir := filepath.Join(home, "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	const uid = 1 << 24
	if err := writeOwned(agentcli.File{Path: filepath.Join(dir, "file"), Data: []byte("text"), Mode: 0o600}, home, uid, uid); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "file")} {
		if owner, err := ownerOf(path); err != nil || owner != uid {
			t.Errorf("%s is of %d, %v", path, owner, err)
		}
	}
}
