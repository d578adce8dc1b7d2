package transcript

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"townd/town"
)

// child returns a command that runs the test binary as name with args.
func child(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// childWrite appends fill to the transcript in args[0] until it has args[1] bytes.
func childWrite(args []string) error {
	total, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	w, err := Open(args[0], storyOptions)
	if err != nil {
		return err
	}
	defer w.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, 8<<10)
	for w.Size() < total {
		n := min(total-w.Size(), 1+rnd.Int64N(int64(len(p))))
		fill(p[:n], w.Size())
		if _, err := w.Write(p[:n]); err != nil {
			return err
		}
	}
	return nil
}

var storyOptions = Options{SegmentBytes: 1 << 20, TotalBytes: 64 << 20}

// A viewer that comes back 200 times, mostly within 100 bytes of a segment's end,
// while the writer (another process) floods and is killed once and segments are
// compressed: it has exactly the bytes printed, each once (W13).
func TestAViewerThatComesBackMissesNothing(t *testing.T) {
	const total = 50 << 20
	dir := filepath.Join(t.TempDir(), "run")
	written, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer stop()
		if err := writeWithOneKill(t.Context(), dir, total); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		for written.Err() == nil {
			if _, err := Compress(dir, farFuture); err != nil && !errors.Is(err, town.ErrNotFound) {
				t.Error(err)
				return
			}
		}
	})

	rnd := rand.New(rand.NewPCG(3, 4))
	at := Position{Run: "r1"}
	var seen []byte
	for cut := range 200 {
		end := (int64(cut)*total/200)/storyOptions.SegmentBytes*storyOptions.SegmentBytes + storyOptions.SegmentBytes
		until := min(total, max(at.Offset+1, end-100+rnd.Int64N(201)))
		if cut == 199 {
			until = total
		}
		back, err := ParsePosition(at.String())
		if err != nil {
			t.Fatal(err)
		}
		p, err := view(written, dir, back.Offset, until)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, p...)
		at.Offset = int64(len(seen))
	}
	want := make([]byte, total)
	fill(want, 0)
	if !bytes.Equal(seen, want) {
		t.Errorf("the viewer has %d bytes, and not those that were printed", len(seen))
	}
	for value := range 256 {
		if bytes.IndexByte(want, byte(value)) < 0 {
			t.Errorf("the story has no byte %#x", value)
		}
	}
}

// writeWithOneKill runs the writer until dir holds total bytes, killing the first
// one half way.
func writeWithOneKill(ctx context.Context, dir string, total int64) error {
	first := child(ctx, "write", dir, strconv.FormatInt(2*total, 10))
	if err := first.Start(); err != nil {
		return err
	}
	r := NewReader(dir)
	defer r.Close()
	for end := int64(0); end < total/2; {
		var err error
		if _, end, err = r.Bounds(); err != nil && !errors.Is(err, town.ErrNotFound) {
			return err
		}
	}
	if err := first.Process.Kill(); err != nil {
		return err
	}
	if err := first.Wait(); err == nil {
		return errors.New("the first writer ended before it was killed")
	}
	return child(ctx, "write", dir, strconv.FormatInt(total, 10)).Run()
}

// view is one visit: what a new reader sees of [off, until).
func view(written context.Context, dir string, off, until int64) ([]byte, error) {
	r := NewReader(dir)
	defer r.Close()
	seen := make([]byte, until-off)
	for n := 0; n < len(seen); {
		done := written.Err() != nil
		got, err := r.ReadAt(seen[n:min(len(seen), n+64<<10)], off+int64(n))
		waiting := errors.Is(err, io.EOF) || errors.Is(err, town.ErrNotFound)
		if err != nil && (!waiting || done) {
			return nil, fmt.Errorf("read at %d: %w", off+int64(n), err)
		}
		n += got
	}
	return seen, nil
}

// A full disk loses nothing: what was not written is told, and goes in after
// room was made (N4).
func TestFullDisk(t *testing.T) {
	cmd := child(t.Context(), "full disk", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}

// childFullDisk runs in its own mount namespace.
func childFullDisk(args []string) error {
	disk := args[0]
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=512k"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 256<<10), 0o600); err != nil {
		return err
	}
	dir := filepath.Join(disk, "run")
	w, err := Open(dir, Options{SegmentBytes: 100_000, TotalBytes: 10 << 20})
	if err != nil {
		return err
	}
	p := make([]byte, 400_000)
	fill(p, 0)
	n, err := w.Write(p)
	if !errors.Is(err, town.ErrNoSpace) || n < 100_000 || int64(n) != w.Size() {
		return fmt.Errorf("Write() = %d, %w on a full disk, size %d", n, err, w.Size())
	}
	if again, err := w.Write(p[n:]); again != 0 || !errors.Is(err, town.ErrNoSpace) {
		return fmt.Errorf("Write() = %d, %w on a disk that is still full", again, err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	rest, err := w.Write(p[n:])
	if err != nil || n+rest != len(p) {
		return fmt.Errorf("Write() = %d, %w after room was made, want %d", rest, err, len(p)-n)
	}
	r := NewReader(dir)
	defer r.Close()
	all, err := readAll(r, 0)
	if err != nil || len(all) != len(p) {
		return fmt.Errorf("read %d bytes, %w, want %d", len(all), err, len(p))
	}
	return errors.Join(checkFill(all, 0), w.Close())
}
