package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// figure is one measurement beside what it is measured against.
type figure struct {
	name      string
	got       float64
	unit      string // of got, bound and ref
	bound     float64
	atLeast   bool    // bound is a floor, else a ceiling
	reference string  // says what ref is
	ref       float64 // measured in the same run
}

// unbounded is the bound of a figure that is only shown.
var unbounded = math.Inf(1)

func (f figure) met() bool {
	if f.atLeast {
		return f.got >= f.bound
	}
	return f.got <= f.bound
}

const row = "%-8s %-46s %7s %11s %14s  %-4s %s\n"

func (b *bench) printHead() {
	fmt.Fprintf(b.out, row, "scenario", "figure", "ratio", "measured", "bound", "", "reference")
}

// report prints a figure and remembers whether it missed its bound.
func (b *bench) report(f figure) {
	bound, verdict := "", ""
	if !math.IsInf(f.bound, 0) {
		sign := "<= "
		if f.atLeast {
			sign = ">= "
		}
		bound, verdict = sign+number(f.bound, f.unit), "ok"
		if !f.met() {
			verdict, b.missed = "MISS", true
		}
	}
	ratio := "-"
	if f.ref != 0 {
		ratio = strconv.FormatFloat(f.got/f.ref, 'f', 2, 64)
	}
	fmt.Fprintf(b.out, row, b.scenario, f.name, ratio, number(f.got, f.unit), bound, verdict, f.reference+" "+number(f.ref, f.unit))
}

// number writes v with three digits that mean something.
func number(v float64, unit string) string {
	digits := 0
	if v != math.Trunc(v) {
		digits = max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	}
	s := strconv.FormatFloat(v, 'f', min(digits, 4), 64)
	if unit != "" {
		s += " " + unit
	}
	return s
}

// quantile returns the value below which the share q of all values lies.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func median(values []float64) float64 { return quantile(values, 0.5) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
