package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// browser is a Chromium with one page, spoken to by the DevTools protocol over
// pipes. No part of the protocol is enabled: one that records what the page loads
// keeps it in the memory that is measured. Not safe for concurrent use.
type browser struct {
	cmd     *exec.Cmd
	to      *os.File
	from    *bufio.Reader
	calls   int
	session string // of the page
}

var errProtocol = errors.New("the browser refused")

// openBrowser starts a browser whose page is at url. It ends with ctx; the caller
// closes it.
func (b *bench) openBrowser(ctx context.Context, program, url string) (_ *browser, err error) {
	dir, err := os.MkdirTemp(b.dir, "browser-")
	if err != nil {
		return nil, err
	}
	theirs, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	from, ours, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirs.Close(), to.Close())
	}
	br := &browser{to: to, from: bufio.NewReader(from)}
	br.cmd = exec.CommandContext(ctx, program, "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run",
		"--window-size=1440,900", "--user-data-dir="+dir, "about:blank")
	br.cmd.Env = b.environ()
	br.cmd.ExtraFiles = []*os.File{theirs, ours} // 3 and 4, as it wants
	br.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	br.cmd.Cancel = func() error { return syscall.Kill(-br.cmd.Process.Pid, syscall.SIGKILL) }
	err = br.cmd.Start()
	_, _ = theirs.Close(), ours.Close() // the browser's now
	if err != nil {
		return nil, errors.Join(err, to.Close(), from.Close())
	}
	if err := br.attach(ctx, url); err != nil {
		return nil, errors.Join(err, br.close())
	}
	return br, nil
}

// attach opens the page and waits until it is there.
func (br *browser) attach(ctx context.Context, url string) error {
	var target struct{ TargetID string }
	if err := br.call("Target.createTarget", map[string]any{"url": url}, &target); err != nil {
		return err
	}
	var attached struct{ SessionID string }
	if err := br.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return err
	}
	br.session = attached.SessionID
	_, err := br.await(ctx, fmt.Sprintf("location.href.startsWith(%q) && document.readyState === 'complete' ? 'yes' : ''", url))
	return err
}

// close ends the browser with all its processes.
func (br *browser) close() error {
	_ = br.cmd.Cancel() // it may have ended
	_ = br.cmd.Wait()   // "signal: killed"
	return br.to.Close()
}

// call calls a method of the page's session, before there is one of the browser's,
// and reads its result into out. What comes before the answer is no one's.
func (br *browser) call(method string, params, out any) error {
	br.calls++
	message := map[string]any{"id": br.calls, "method": method, "params": params}
	if br.session != "" {
		message["sessionId"] = br.session
	}
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if _, err := br.to.Write(append(data, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	for {
		data, err := br.from.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("%s: browser ended: %w", method, err)
		}
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(data[:len(data)-1], &answer); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		switch {
		case answer.ID != br.calls:
		case answer.Error != nil:
			return fmt.Errorf("%s: %w: %s", method, errProtocol, answer.Error.Message)
		default:
			return json.Unmarshal(answer.Result, out)
		}
	}
}

// evaluate returns the text that an expression is in the page, "" while there is
// none: between two documents nothing can be evaluated.
func (br *browser) evaluate(expression string) (string, error) {
	var got struct{ Result struct{ Value string } }
	err := br.call("Runtime.evaluate", map[string]any{"expression": "String(" + expression + " ?? '')"}, &got)
	if errors.Is(err, errProtocol) {
		err = nil
	}
	return got.Result.Value, err
}

// await waits until the expression is a text that is not empty, and returns it.
func (br *browser) await(ctx context.Context, expression string) (string, error) {
	for end := time.Now().Add(time.Minute); ; {
		text, err := br.evaluate(expression)
		if err != nil || text != "" {
			return text, err
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("waited in vain for %s", expression)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// sample measures the page. Of the processes that may draw it the largest is
// taken, for there are empty ones in store.
func (br *browser) sample() (sample, error) {
	var held struct{ UsedSize, EmbedderHeapUsedSize, BackingStorageSize float64 }
	if err := br.call("Runtime.getHeapUsage", struct{}{}, &held); err != nil {
		return sample{}, err
	}
	var rss int64
	err := processes(func(pid int, dir string) {
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // of an ended process: nothing to see
		if group, err := syscall.Getpgid(pid); err != nil || group != br.cmd.Process.Pid || !bytes.Contains(line, []byte("--type=renderer")) {
			return
		}
		if u, err := usageOf(pid); err == nil {
			rss = max(rss, u.rss)
		}
	})
	return sample{heap: held.UsedSize + held.EmbedderHeapUsedSize + held.BackingStorageSize, rss: float64(rss)}, err
}
