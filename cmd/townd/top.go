package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"

	"townd/town"
)

// topEvery is how often top looks.
const topEvery = time.Second

func newTopCommand(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "top",
		Short: "Watch all agents and what needs you; Enter attaches",
		Long: `Watch all agents and what needs you, on the whole terminal.

The arrows or j and k choose an agent. Enter puts its terminal on this one (Ctrl-C, or
Ctrl-\ twice, comes back), w does so to type; a program without a terminal is followed
as in logs -f. q ends. In a narrow window the columns that say least are left out.`,
		Args: cobra.NoArgs,
		RunE: withTown(std, func(ctx context.Context, r *remote, _ []string) error {
			if _, _, err := wholeTerminal(std, "top", "townd town status"); err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find our own program: %w", err)
			}
			ctx, cancel := untilTold(ctx)
			defer cancel()
			m := &top{ctx: ctx, r: r, bold: std.getenv("NO_COLOR") == ""}
			for {
				_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(std.in), tea.WithOutput(std.out)).Run()
				switch {
				case ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted):
					return nil // Ctrl-C is how this ends
				case err != nil || m.wanted == nil:
					return err
				}
				m.said = lend(ctx, std, self, m.wanted)
				m.wanted = nil
			}
		}),
	}
}

// lend gives the terminal to a process of its own until that ends, and returns what it
// said if it failed. bubbletea, which could do it, still reads its terminal's size
// meanwhile (2.1.1, a race), so it does not run then.
func lend(ctx context.Context, std stdio, self string, args []string) (said string) {
	interrupts := make(chan os.Signal, 1) // the process's, not ours
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it puts the terminal back
	var told bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = std.in, std.out, &told
	err := cmd.Run()
	if err == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(told.String()), "\n")
	return cmp.Or(lines[len(lines)-1], err.Error())
}

// top is the state of townd top; bubbletea calls its methods one after the other.
type top struct {
	ctx  context.Context // of the command: bubbletea passes none
	r    *remote
	bold bool

	width, height int
	agents        []town.Agent
	status        *town.TownStatus // nil where no coordinator answers
	problem       string           // of the last look
	said          string           // by what had the terminal, until the next key
	chosen        string           // agent's id
	wanted        []string         // arguments of what is to have the terminal
}

// seen is what a look at the town found.
type seen struct {
	agents []town.Agent
	status *town.TownStatus
	err    error
}

func (m *top) Init() tea.Cmd { return m.look }

// topPatience is how long a look may take: of a town that hangs, people should know.
const topPatience = 5 * time.Second

// look asks the town. One whose coordinator is elsewhere has agents still.
func (m *top) look() tea.Msg {
	ctx, cancel := context.WithTimeout(m.ctx, topPatience)
	defer cancel()
	agents, err := m.r.Agents(ctx)
	if err != nil {
		return seen{err: m.r.explain(err)}
	}
	status, err := m.r.hall.TownStatus(ctx)
	if err != nil {
		return seen{agents: agents}
	}
	return seen{agents: agents, status: &status}
}

// Update is called for each event.
func (m *top) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case seen:
		m.take(msg)
		return m, tea.Tick(topEvery, func(time.Time) tea.Msg { return m.look() })
	case tea.KeyPressMsg:
		m.said = ""
		return m, m.key(msg.String())
	}
	return m, nil
}

func (m *top) take(s seen) {
	if s.err != nil { // what was seen last stays
		m.problem = s.err.Error()
		return
	}
	m.agents, m.status, m.problem = s.agents, s.status, ""
	slices.SortStableFunc(m.agents, func(a, b town.Agent) int { return liveFirst(a) - liveFirst(b) })
	if m.index() < 0 && len(m.agents) > 0 {
		m.chosen = m.agents[0].AgentID
	}
}

func liveFirst(a town.Agent) int {
	if a.Status.Live() {
		return 0
	}
	return 1
}

// index is where the chosen agent is, -1 when it is gone.
func (m *top) index() int {
	return slices.IndexFunc(m.agents, func(a town.Agent) bool { return a.AgentID == m.chosen })
}

func (m *top) key(name string) tea.Cmd {
	switch name {
	case "q", "ctrl+c":
		return tea.Quit
	case "j", "down":
		m.step(1)
	case "k", "up":
		m.step(-1)
	case "enter":
		return m.watch()
	case "w":
		return m.watch("--write")
	}
	return nil
}

func (m *top) step(by int) {
	if i := m.index() + by; i >= 0 && i < len(m.agents) {
		m.chosen = m.agents[i].AgentID
	}
}

// watch ends the drawing, so that no read of ours is left that would take the first key
// of whom the terminal is given to.
func (m *top) watch(flags ...string) tea.Cmd {
	i := m.index()
	if i < 0 {
		return nil
	}
	m.wanted = append([]string{"attach", m.chosen}, flags...)
	if structured(m.agents[i]) {
		m.wanted = []string{"logs", "-f", m.chosen}
	}
	return tea.Quit
}

// View draws the whole screen.
func (m *top) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen = true
	return v
}

func (m *top) draw() string {
	if m.height == 0 {
		return ""
	}
	var above []string
	if m.status != nil {
		above = append(above, "town "+m.status.TownID+": "+strings.Join(townLine(*m.status), ", "))
		if m.status.Paused != "" {
			above = append(above, "paused: "+m.status.Paused)
		}
		if m.status.Standby != nil {
			above = append(above, standbyLine(*m.status.Standby))
		}
		for _, q := range m.status.Questions {
			above = append(above, fmt.Sprintf("? %s asks: %s", q.AgentID, clip(q.Question, 200)))
		}
		for _, e := range m.status.Escalations {
			above = append(above, fmt.Sprintf("! %s, %s old: %s", e.Severity, age(e.CreatedAt), clip(e.Title, 200)))
		}
	}
	above = above[:min(len(above), max(1, m.height/3))]
	below := "Enter attach  w type  j k choose  q end"
	if problem := cmp.Or(m.problem, m.said); problem != "" {
		below = problem
	}
	lines := make([]string, 0, m.height)
	for _, text := range append(above, "") {
		lines = append(lines, m.line(text))
	}
	lines = append(lines, m.table(m.height-len(lines)-1)...)
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	return strings.Join(append(lines, m.line(below)), "\n")
}

// table is the agents, as many as fit, with the chosen one among them.
func (m *top) table(rows int) []string {
	if len(m.agents) == 0 {
		return []string{m.line("no agent is here: give the town work with townd sling RIG TITLE")}
	}
	const marker = len("> ")
	all := tableLines(fitted(agentRows(m.agents, time.Now()), m.width-marker))
	chosen := m.index() + 1 // after the head
	first := 1 + max(0, min(chosen-1-(rows-1)/2, len(all)-rows))
	lines := []string{m.line("  " + all[0])}
	for i := first; i < len(all) && len(lines) < rows; i++ {
		switch {
		case i != chosen:
			lines = append(lines, m.line("  "+all[i]))
		case m.bold:
			lines = append(lines, "\x1b[7m"+m.line("> "+all[i])+"\x1b[m")
		default:
			lines = append(lines, m.line("> "+all[i]))
		}
	}
	return lines
}

// least are the columns that a narrow window does without, the first of them first.
var least = []string{"BRANCH", "PID", "STATUS", "CPU", "ROLE", "MEMORY", "TURNS", "CLI", "RIG", "COST", "AGE"}

// fitted leaves columns out of rows until the rest fits into so many cells.
func fitted(rows [][]string, width int) [][]string {
	for _, name := range least {
		total := -len(columnGap)
		for _, w := range columnWidths(rows) {
			total += w + len(columnGap)
		}
		if i := slices.Index(rows[0], name); total > width && i >= 0 {
			for j := range rows {
				rows[j] = slices.Delete(rows[j], i, i+1)
			}
		}
	}
	return rows
}

// line is text of agents on one line that fits.
func (m *top) line(text string) string { return ansi.Truncate(printable(text), m.width, "…") }
