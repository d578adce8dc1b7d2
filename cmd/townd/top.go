package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
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
as in logs -f. q ends.`,
		Args: cobra.NoArgs,
		RunE: withTown(std, func(ctx context.Context, r *remote, _ []string) error {
			if terminalOf(std.in) == nil || terminalOf(std.out) == nil {
				return errors.New("top needs a terminal; without one use: townd town status")
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find our own program: %w", err)
			}
			m := &top{ctx: ctx, r: r, self: self, bold: std.getenv("NO_COLOR") == ""}
			_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(std.in), tea.WithOutput(std.out)).Run()
			if ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted) {
				return nil // Ctrl-C is how this ends
			}
			return err
		}),
	}
}

// top is the state of townd top; bubbletea calls its methods one after the other.
type top struct {
	ctx  context.Context // of the command: bubbletea passes none
	r    *remote
	self string // our own program, which attaches
	bold bool

	width, height int
	agents        []town.Agent
	status        *town.TownStatus // nil where no coordinator answers
	problem       string           // of the last look, or of what was run
	chosen        string           // agent's id
}

// seen is what a look at the town found.
type seen struct {
	agents []town.Agent
	status *town.TownStatus
	err    error
}

// back tells that what was run in between has ended.
type back struct{ err error }

func (m *top) Init() tea.Cmd { return m.look }

// look asks the town. One without a coordinator has agents still.
func (m *top) look() tea.Msg {
	agents, err := m.r.Agents(m.ctx)
	if err != nil {
		return seen{err: err}
	}
	status, err := m.r.hall.TownStatus(m.ctx)
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
	case back:
		if msg.err != nil {
			m.problem = msg.err.Error()
		}
	case tea.KeyPressMsg:
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

// watch gives the terminal to a process of its own: no read of ours is left that
// would take the first key after it.
func (m *top) watch(flags ...string) tea.Cmd {
	i := m.index()
	if i < 0 {
		return nil
	}
	args := append([]string{"attach", m.chosen}, flags...)
	if structured(m.agents[i]) {
		args = []string{"logs", "-f", m.chosen}
	}
	return tea.ExecProcess(exec.CommandContext(m.ctx, m.self, args...), func(err error) tea.Msg { return back{err} })
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
			above = append(above, fmt.Sprintf("! %s: %s", e.Severity, clip(e.Title, 200)))
		}
	}
	above = above[:min(len(above), max(1, m.height/3))]
	below := "Enter attach  w type  j k choose  q end"
	if m.problem != "" {
		below = m.problem
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
	var text strings.Builder
	if err := printTable(&text, agentRows(m.agents, time.Now())); err != nil {
		return []string{m.line(err.Error())}
	}
	all := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
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

// line is text of agents on one line that fits.
func (m *top) line(text string) string { return ansi.Truncate(printable(text), m.width, "…") }
