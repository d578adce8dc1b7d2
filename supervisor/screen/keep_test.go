package screen

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestAKeptScreenIsThatOfItsEnd(t *testing.T) {
	dir := t.TempDir()
	want := Screen{Offset: 90, Cols: 4, Rows: 2, Lines: []string{"é\u202e<", ""}, ANSI: "\x1bcé", CursorX: 3, Exact: true}
	if err := Keep(dir, 92, want); err != nil {
		t.Fatal(err)
	}
	if got, ok := Kept(dir, 92); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("Kept() = %+v, %v, want %+v", got, ok, want)
	}
	if got, ok := Kept(dir, 93); ok {
		t.Errorf("Kept() of another end = %+v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, keptName), []byte(`{"end":92,"screen":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, ok := Kept(dir, 92); ok {
		t.Errorf("Kept() of half a file = %+v", got)
	}
	if got, ok := Kept(t.TempDir(), 0); ok {
		t.Errorf("Kept() of none = %+v", got)
	}
}
