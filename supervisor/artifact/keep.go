package artifact

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"townd/town"
)

const (
	maxFiles   = 100   // of an agent that are kept
	maxNames   = 10000 // that are looked at
	maxLeftOut = 200   // that are named
)

// Own is an artifact that the town makes itself.
type Own struct {
	Name      string
	Kind      town.ArtifactKind
	Data      []byte
	Truncated bool
}

// From is the directory that an agent leaves files in: Name below Dir, which is the
// agent's too, and so may hold anything. Nothing there is a way out of it.
type From struct {
	Dir, Name string
	UID       uint32 // whose files are taken
	MaxBytes  int64  // of all of them; a file that is more than what is left of it is left out
}

// Keep puts what a run leaves into its directory dir, in the place of what was taken
// before: own, and the regular files at the top of from, the first 100 by name. What is
// not taken is named with the reason. Only one Keep may be at work in a directory. When it
// fails what was there before is there.
func Keep(ctx context.Context, dir, run string, own []Own, from From) (town.Artifacts, error) {
	before, err := List(dir)
	if err != nil {
		before.TakenAt = new(time.Time) // what is there cannot be read, and is to be replaced
	}
	k := &keeping{dir: filepath.Join(dir, filesName), from: from}
	names, more, err := k.open()
	if err != nil {
		return before, fmt.Errorf("keep artifacts: %w", err)
	}
	defer k.close()
	k.list = town.Artifacts{RunID: run, TakenAt: new(time.Now().UTC()), Artifacts: []town.Artifact{}, LeftOutCount: more}
	if len(own) == 0 && len(names) == 0 && before.TakenAt == nil {
		return before, nil // most runs: not a byte is written
	}
	if err = k.all(ctx, own, names); err == nil {
		err = k.finish(filepath.Join(dir, listName))
	}
	if err != nil {
		k.prune(before)
		return before, fmt.Errorf("keep artifacts: %w", err)
	}
	k.prune(k.list)
	return k.list, nil
}

// keeping is one Keep on its way.
type keeping struct {
	dir  string // of the contents
	from From
	src  *os.File // nil when the agent has no such directory
	list town.Artifacts
}

// open opens the agent's directory and lists it, in order; more is how many names were
// not looked at, as far as they were counted.
func (k *keeping) open() (names []string, more int, err error) {
	home, err := openDir(unix.AT_FDCWD, k.from.Dir)
	if err != nil {
		return nil, 0, ignoreMissing(err)
	}
	defer home.Close()
	if k.src, err = openDir(int(home.Fd()), k.from.Name); err != nil {
		return nil, 0, ignoreMissing(err)
	}
	names, err = k.src.Readdirnames(maxNames + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	if len(names) > maxNames {
		names, more = names[:maxNames], 1
	}
	slices.Sort(names)
	return names, more, nil
}

func (k *keeping) close() {
	if k.src != nil {
		_ = k.src.Close() // read only
	}
}

// openDir opens a directory that must not be a link.
func openDir(at int, name string) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ignoreMissing takes what an agent has put in the place of its directory, and what it has
// closed to us, for none.
func ignoreMissing(err error) error {
	for _, none := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EACCES} {
		if errors.Is(err, none) {
			return nil
		}
	}
	return err
}

func (k *keeping) all(ctx context.Context, own []Own, names []string) error {
	if err := os.Mkdir(k.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err // its run is deleted, or was never begun
	}
	for _, o := range own {
		a, err := k.store(bytes.NewReader(o.Data), int64(len(o.Data)))
		if err != nil {
			return err
		}
		a.Name, a.Kind, a.Truncated = o.Name, o.Kind, o.Truncated
		k.list.Artifacts = append(k.list.Artifacts, a)
	}
	left, taken := k.from.MaxBytes, 0
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		a, why, err := k.take(name, left, taken)
		if err != nil {
			return err
		}
		if why != "" {
			k.leaveOut(name, why)
			continue
		}
		left, taken = left-a.Bytes, taken+1
		k.list.Artifacts = append(k.list.Artifacts, a)
	}
	return nil
}

func (k *keeping) leaveOut(name, why string) {
	if k.list.LeftOutCount++; len(k.list.LeftOut) < maxLeftOut {
		k.list.LeftOut = append(k.list.LeftOut, town.LeftOut{Path: printable(name), Why: why})
	}
}

// take copies one of the agent's files, of which no more than left bytes, or says why not.
func (k *keeping) take(name string, left int64, taken int) (a town.Artifact, why string, err error) {
	switch {
	case !isPrintable(name):
		return a, "its name is not printable text", nil
	case slices.ContainsFunc(k.list.Artifacts, func(a town.Artifact) bool { return a.Name == name }):
		return a, "its name is that of an artifact of the town", nil
	case taken == maxFiles:
		return a, fmt.Sprintf("%d files are kept already", maxFiles), nil
	}
	f, size, why := k.openFile(name)
	if why != "" {
		return a, why, nil
	}
	defer f.Close()
	if size > left {
		return a, fmt.Sprintf("has %d bytes, and %d may be kept yet", size, left), nil
	}
	a, err = k.store(f, left)
	switch {
	case errors.Is(err, errGrew):
		return a, fmt.Sprintf("grew beyond the %d bytes that may be kept yet", left), nil
	case errors.Is(err, errRead):
		return a, "cannot be read", nil
	}
	a.Name, a.Kind = name, town.ArtifactFile
	return a, "", err
}

// openFile opens a regular file of the agent's. Anything else is not opened, and what takes
// its place meanwhile neither waits nor is read.
func (k *keeping) openFile(name string) (f *os.File, size int64, why string) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(k.src.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, 0, "cannot be read"
	}
	if why = k.unfit(&st); why != "" {
		return nil, 0, why
	}
	fd, err := unix.Openat(int(k.src.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, "cannot be read"
	}
	f = os.NewFile(uintptr(fd), name)
	if err := unix.Fstat(fd, &st); err != nil {
		why = "cannot be read"
	} else {
		why = k.unfit(&st)
	}
	if why != "" {
		_ = f.Close() // read only
		return nil, 0, why
	}
	return f, st.Size, ""
}

// unfit says why a file is not taken: it is none, or a link to somebody else's.
func (k *keeping) unfit(st *unix.Stat_t) string {
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return "is a directory"
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "is no regular file"
	case st.Uid != k.from.UID:
		return "is not the agent's own"
	}
	return ""
}

var (
	errGrew = errors.New("grew")
	errRead = errors.New("read")
)

// store copies from, at most most bytes of it, to the file named by its digest.
func (k *keeping) store(from io.Reader, most int64) (a town.Artifact, err error) {
	tmp, err := os.CreateTemp(k.dir, ".new-")
	if err != nil {
		return a, err
	}
	sum := sha256.New()
	src := &source{Reader: io.LimitReader(from, most+1)}
	a.Bytes, err = io.Copy(io.MultiWriter(tmp, sum), src)
	switch {
	case src.err != nil:
		err = errRead
	case err == nil && a.Bytes > most:
		err = errGrew
	}
	err = cmp.Or(err, tmp.Close())
	if err == nil {
		a.SHA256 = hex.EncodeToString(sum.Sum(nil))
		err = os.Rename(tmp.Name(), filepath.Join(k.dir, a.SHA256))
	}
	if err != nil {
		_ = tmp.Close()           // it may be already
		_ = os.Remove(tmp.Name()) // err says why already
	}
	return a, err
}

// source remembers that it could not be read: the disk that is written to is another matter.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// finish writes the list in one step.
func (k *keeping) finish(path string) error {
	data, err := json.Marshal(k.list)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	return os.Rename(path+".new", path)
}

// prune deletes what a list does not name. What it cannot delete goes with the run.
func (k *keeping) prune(list town.Artifacts) {
	keep := map[string]bool{}
	for _, a := range list.Artifacts {
		keep[a.SHA256] = true
	}
	entries, _ := os.ReadDir(k.dir)
	for _, e := range entries {
		if !keep[e.Name()] {
			_ = os.Remove(filepath.Join(k.dir, e.Name()))
		}
	}
}

// isPrintable reports whether a name can be shown and sent as it is: text that neither
// steers a terminal nor turns the direction of what follows.
func isPrintable(name string) bool { return name != "" && printable(name) == name }

// printable replaces what is not fit to be shown.
func printable(name string) string {
	var b []rune
	for _, r := range name {
		if !unicode.IsPrint(r) {
			r = utf8.RuneError
		}
		b = append(b, r)
	}
	return string(b)
}
