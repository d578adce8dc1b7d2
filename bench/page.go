package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"time"
)

// sample is what one look at an open page found, in bytes.
type sample struct {
	heap float64 // of its script, its elements and the arrays of its terminals
	rss  float64 // of the process that draws it

	still time.Duration // so long it has shown the same
}

// measurePages measures the memory of two pages of the dashboard that are left
// open while an agent prints without a pause: that agent's own, and the town's
// with twenty others on it. A browser's garbage is counted with the rest.
func measurePages(ctx context.Context, s *server) error {
	b := s.b
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		fmt.Fprintln(b.out, "page: chromium is not installed")
		return nil
	}
	if _, err := s.launch(ctx, "flood", "lines", strconv.FormatInt(b.flood, 10), "0"); err != nil {
		return err
	}
	if _, err := s.launchAll(ctx, 20, "calm", func(int) []string { return []string{"lines", "500", "0"} }); err != nil {
		return err
	}
	began := time.Now()
	from, err := s.position(ctx, "flood")
	if err != nil {
		return err
	}
	views := []string{"#/agents/flood", "#/town"}
	seen := make([][]sample, len(views))
	err = together(len(views), func(i int) (err error) {
		seen[i], err = s.leaveOpen(ctx, chromium, views[i])
		return err
	})
	if err != nil {
		return err
	}
	to, err := s.position(ctx, "flood")
	if err != nil {
		return err
	}
	b.report(figure{
		name: "what an agent printed for " + b.openFor.String(), got: float64(to-from) / 1e6 / time.Since(began).Seconds(), unit: "MB/s",
		bound: unbounded, reference: "asked", ref: float64(b.flood) / 1e6,
	})
	for i, view := range views {
		b.reportPage(view, seen[i])
	}
	return nil
}

// reportPage reports what a page held: its trend is that of the medians of the
// first and the last sixth.
func (b *bench) reportPage(view string, samples []sample) {
	sixth := max(1, len(samples)/6)
	for _, f := range []struct {
		name  string
		bound float64
		of    func(sample) float64
	}{
		{"heap", 200, func(s sample) float64 { return s.heap / 1e6 }},
		{"memory of the process", unbounded, func(s sample) float64 { return s.rss / 1e6 }},
	} {
		var all []float64
		for _, s := range samples {
			all = append(all, f.of(s))
		}
		b.report(figure{
			name: fmt.Sprintf("%s: %s, most", view, f.name), got: slices.Max(all), unit: "MB", bound: f.bound,
			reference: "median", ref: median(all),
		})
		b.report(figure{
			name: "the same, last sixth of the time", got: median(all[len(all)-sixth:]), unit: "MB", bound: unbounded,
			reference: "first sixth", ref: median(all[:sixth]),
		})
	}
	longest := slices.MaxFunc(samples, func(a, b sample) int { return cmp.Compare(a.still, b.still) })
	b.report(figure{name: view + ": showed the same, longest", got: longest.still.Seconds(), unit: "s", bound: 60, reference: "looked every", ref: b.lookEvery().Seconds()})
}

// shown is what the page shows of flood: the rows of its terminal, or its tile.
const shown = `(document.querySelector(".xterm-rows")?.innerText ?? document.querySelector("canvas[data-agent=flood]")?.toDataURL())`

func (b *bench) lookEvery() time.Duration { return min(5*time.Second, b.openFor/10) }

// leaveOpen opens a view in a browser of its own and returns what was found while
// it was open.
func (s *server) leaveOpen(ctx context.Context, chromium, view string) (samples []sample, err error) {
	url := "http://" + s.address + "/"
	br, err := s.b.openBrowser(ctx, chromium, url)
	if err != nil {
		return nil, fmt.Errorf("open a browser: %w", err)
	}
	defer func() { err = errors.Join(err, br.close()) }()
	enter := fmt.Sprintf("sessionStorage.setItem('townd.token', %q), location.hash = %q, location.reload()", s.token, view)
	if _, err := br.evaluate(enter); err != nil {
		return nil, err
	}
	before, changed := "", time.Now()
	for end := time.Now().Add(s.b.openFor); time.Now().Before(end); {
		if err := pause(ctx, s.b.lookEvery()); err != nil {
			return nil, err
		}
		now, err := br.await(ctx, shown)
		if err != nil {
			return nil, err
		}
		if now != before {
			before, changed = now, time.Now()
		}
		one, err := br.sample()
		if err != nil {
			return nil, err
		}
		one.still = time.Since(changed)
		samples = append(samples, one)
	}
	return samples, nil
}
