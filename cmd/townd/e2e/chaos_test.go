package e2e_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"townd/api"
	"townd/supervisor/agenttest"
	"townd/town"
)

var chaosTime = flag.Duration("chaos", 2*time.Minute, "how long TestATownOutlivesChaos kills what it can")

// The town of the chaos.
const (
	chaosAgents = 20
	chaosKills  = 15              // agents, at most: from 20 failures on the town pauses itself
	chaosPause  = 3 * time.Second // between two kills, on average
)

// Servers with their coordinator, a coordinator by itself, and agents are killed at
// random while twenty agents work: at the end every bead is closed, each was merged
// once, nothing waits to be reported, and no process or worktree is left. Ten minutes
// of it: go test ./cmd/townd/e2e -run Chaos -chaos 10m.
func TestATownOutlivesChaos(t *testing.T) {
	t.Parallel()
	for name, apart := range map[string]bool{"coordinator in the server": false, "coordinator by itself": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newChaos(t, apart)
			for end := time.Now().Add(*chaosTime); time.Now().Before(end) && !t.Failed(); {
				c.fill()
				time.Sleep(rand.N(2 * chaosPause)) // at any moment
				c.strike()
			}
			c.finish()
		})
	}
}

// chaos is a town in which everything is killed.
type chaos struct {
	*circle
	other *otherHall // nil when the coordinator is in the server
	beads []string
	kills map[string]int
}

func newChaos(t *testing.T, apart bool) *chaos {
	t.Helper()
	env := map[string]string{"TOWND_HEARTBEAT_SECONDS": "1", "MAX_CONCURRENT_EXECUTIONS": fmt.Sprint(chaosAgents), "TOWND_TOKEN": "the-token-of-the-chaos"}
	c := &chaos{kills: map[string]int{}}
	url := ""
	if apart {
		url = "http://" + freeAddress(t)
		env["TOWND_COORDINATOR_URL"], env["TOWND_TOWN_ID"] = url, "local"
	}
	c.circle = &circle{testTown: prepareTown(t, env)}
	c.token = env["TOWND_TOKEN"]
	if apart {
		path := filepath.Join(agenttest.Home(t), "town.db")
		self := agenttest.Program(t, "")[0]
		c.other = &otherHall{t: t, argv: []string{self, hallArgument, path, strings.TrimPrefix(url, "http://"), "http://" + c.address}, log: newBuffer()}
		c.other.begin(c.token)
		c.after = append(c.after, c.other.end)
	} else {
		url = "http://" + c.address
	}
	c.serve()
	c.hall = c.hallAt(url, "local")
	waitFor(t, "coordinator", func() bool { _, err := c.hall.TownStatus(c.context()); return err == nil })
	c.setRig(town.RigSettings{
		MaxAgents: chaosAgents, Gates: []town.Gate{{Command: "test -n \"$(ls)\""}},
		EnvVars: map[string]string{"NO_COLOR": "1"}, // at their own pace: there is always one to be killed
	})
	return c
}

// fill gives work until there is some for every agent, and every third time one that
// waits for another.
func (c *chaos) fill() {
	c.t.Helper()
	s, err := c.hall.TownStatus(c.context())
	if err != nil {
		c.t.Errorf("status of the town: %v", err)
		return
	}
	if s.Paused != "" {
		_, err = c.hall.Pause(c.context(), "")
	}
	for open := s.Beads[town.BeadOpen] + s.Beads[town.BeadInProgress]; err == nil && open < chaosAgents; open++ {
		n := len(c.beads)
		req := town.BeadRequest{Title: fmt.Sprintf("chaos %d", n), MaxAttempts: 50, DedupeKey: fmt.Sprint("chaos-", n)}
		if n%3 == 2 {
			req.DependsOn = []string{c.beads[rand.IntN(n)]}
		}
		c.beads = append(c.beads, c.give(req).ID)
	}
	if err != nil {
		c.t.Errorf("go on: %v", err)
	}
}

// strike kills something.
func (c *chaos) strike() {
	c.t.Helper()
	switch what := rand.IntN(4); {
	case what == 0 && c.kills["agent"] < chaosKills:
		c.fill()
		var live []town.Agent
		waitFor(c.t, "agent at work", func() bool {
			agents, err := c.Agents(c.context())
			live = slices.DeleteFunc(agents, func(a town.Agent) bool { return a.PID == nil })
			return err == nil && len(live) > 0
		})
		if len(live) == 0 {
			return
		}
		c.kills["agent"]++
		_ = syscall.Kill(*live[rand.IntN(len(live))].PID, syscall.SIGKILL) // it may have ended
	case what == 1 && c.other != nil:
		c.kills["coordinator"]++
		c.other.kill()
		time.Sleep(rand.N(time.Second)) // it is away for a while
		c.other.begin(c.token)
		waitFor(c.t, "coordinator", func() bool { _, err := c.hall.TownStatus(c.context()); return err == nil })
	default:
		c.kills["server"]++
		c.restart()
	}
}

// finish lets the town come to rest and looks at what is there.
func (c *chaos) finish() {
	c.t.Helper()
	var all []town.Bead
	left := 0
	for deadline := time.Now().Add(*chaosTime + 2*patience); ; time.Sleep(100 * time.Millisecond) {
		all, left = c.hurry()
		if left == 0 || time.Now().After(deadline) {
			break
		}
	}
	attempts := 0
	for _, b := range all {
		attempts += b.Attempts
		if b.Status != town.BeadClosed {
			c.t.Errorf("bead %s (%s) is %s: %s", b.ID, b.Title, b.Status, b.Why)
		}
	}
	if len(all) != len(c.beads) {
		c.t.Errorf("%d beads, %d were made", len(all), len(c.beads))
	}
	c.t.Logf("%d beads in %d attempts; killed %v", len(all), attempts, c.kills)
	c.mergedOnce(all...)
	log := c.remote.Git("log", "--no-merges", "--format=%s", c.remote.Branch)
	for _, b := range all { // each attempt of the built-in agent makes a commit
		text := "Add " + strings.ReplaceAll(b.Title, " ", "-") + ".md\n"
		if times := strings.Count(log+"\n", text); times < 1 || times > int(b.Epoch) {
			c.t.Errorf("the commit of %s is in main %d times, after %d attempts", b.Title, times, b.Epoch)
		}
	}
	c.settled()
}

// hurry lets what rests after a failure go on at once, as a person may, and counts
// what has not ended.
func (c *chaos) hurry() (all []town.Bead, left int) {
	c.t.Helper()
	for q := (api.BeadQuery{Limit: 500}); ; {
		page, err := c.hall.Beads(c.context(), q)
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, page.Beads...)
		if q.After = page.Next; page.Next == "" {
			break
		}
	}
	for _, b := range all {
		if b.Status == town.BeadClosed {
			continue
		}
		left++
		if b.Status == town.BeadFailed || b.Hold != "" || b.Status == town.BeadOpen && b.NotBefore != nil {
			if _, err := c.hall.RetryBead(c.context(), b.ID, "the chaos is over"); err != nil {
				c.t.Logf("retry: %v", err) // it has moved on meanwhile
			}
		}
	}
	if s, err := c.hall.TownStatus(c.context()); err == nil && s.Paused != "" {
		_, _ = c.hall.Pause(c.context(), "") // again next time
	}
	return all, left
}
