package screen

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// keptName is the file in a run's directory that holds the screen it ended with.
const keptName = "screen.json"

type kept struct {
	End    int64  `json:"end"` // of the output that was drawn
	Screen Screen `json:"screen"`
}

// Keep writes the screen that a run ended with, after end bytes, into its directory.
func Keep(dir string, end int64, s Screen) error {
	data, err := json.Marshal(kept{End: end, Screen: s})
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, keptName), data, 0o600)
}

// Kept returns the screen that was kept of a run that ended after end bytes; ok is
// false when there is none, or one of another end.
func Kept(dir string, end int64) (s Screen, ok bool) {
	data, err := os.ReadFile(filepath.Join(dir, keptName))
	if err != nil {
		return Screen{}, false
	}
	var k kept
	if json.Unmarshal(data, &k) != nil || k.End != end {
		return Screen{}, false
	}
	return k.Screen, true
}
