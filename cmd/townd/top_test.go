package main

import (
	"strings"
	"testing"
)

func TestTopShowsAgentsAndAttachesToTheChosenOne(t *testing.T) {
	tt := startTown(t)
	for _, name := range []string{"rye", "toast"} {
		tt.ok("start", "--repo", tt.repo, "--name", name, "--", "sh", "-c", "echo here is "+name+"; exec cat")
	}
	p := newPerson(t, 120, 20)
	env := tt.env()
	for name, value := range env { // of the program that attaches
		t.Setenv(name, value)
	}
	done := make(chan int, 1)
	go func() {
		done <- run(t.Context(), []string{"top"}, stdio{p.tty, p.tty, p.screen, func(name string) string { return env[name] }})
	}()
	p.screen.await(t, "Enter attach")
	p.screen.await(t, "> rye")
	p.types(t, "j")
	p.screen.await(t, "> toast")
	p.types(t, "\r")
	p.screen.await(t, "here is toast")
	drawn := strings.Count(p.screen.String(), "Enter attach")
	p.types(t, "\x03")
	p.screen.awaitTimes(t, drawn+1, "Enter attach")
	p.types(t, "q")
	if code := <-done; code != 0 {
		t.Errorf("top ended with %d", code)
	}
}
