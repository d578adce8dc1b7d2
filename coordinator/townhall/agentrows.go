package townhall

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"townd/town"
)

// agentRow is an agent with what only the store knows of it.
type agentRow struct {
	town.TownAgent
	lastActivityAt *time.Time
	beadTitle      string
}

const agentColumns = `a.id, a.rig_id, a.role, a.name, a.bead_id, a.status, a.reason, a.turn_state, a.turn_count, a.says, a.generation, a.run_id,
	a.last_seen_at, a.last_activity_at, a.last_event_type, a.active_tools, a.input_tokens, a.output_tokens, a.cache_read_tokens,
	a.cache_write_tokens, a.cost_usd, a.tool_calls, a.rss_bytes, a.cpu_percent, a.processes, a.started_at, coalesce(b.title, '')`

const (
	agentTables = ` FROM agents a LEFT JOIN beads b ON b.id = a.bead_id`
	liveAgents  = ` FROM agents a INDEXED BY agents_live LEFT JOIN beads b ON b.id = a.bead_id WHERE a.status IN ('starting', 'running', 'stopping')`
)

func scanAgentRow(row scanner) (agentRow, error) {
	var (
		a                 agentRow
		seen              int64
		activity, started sql.NullInt64
		tools             string
	)
	err := row.Scan(&a.AgentID, &a.RigID, &a.Role, &a.Name, &a.BeadID, &a.Status, &a.Reason, &a.Turn.State, &a.Turn.Count, &a.Says, &a.Generation,
		&a.RunID, &seen, &activity, &a.LastEventType, &tools, &a.Usage.InputTokens, &a.Usage.OutputTokens, &a.Usage.CacheReadTokens,
		&a.Usage.CacheWriteTokens, &a.Usage.CostUSD, &a.Usage.ToolCalls, &a.Resources.RSSBytes, &a.Resources.CPUPercent,
		&a.Resources.Processes, &started, &a.beadTitle)
	if err != nil {
		return a, err
	}
	a.LastSeenAt, a.StartedAt, a.lastActivityAt = timeOf(seen), timeOrNil(started), timeOrNil(activity)
	if err := json.Unmarshal([]byte(tools), &a.ActiveTools); err != nil {
		return a, err
	}
	a.Why = a.why()
	return a, nil
}

func scanAgent(row scanner) (town.TownAgent, error) {
	a, err := scanAgentRow(row)
	return a.TownAgent, err
}

// why says for people what an agent does.
func (a agentRow) why() string {
	on := ""
	if a.beadTitle != "" {
		on = " on " + a.beadTitle
	}
	if !a.Status.Live() {
		return fmt.Sprintf("%s: %s", a.Status, cmp.Or(string(a.Reason), "it is not known why"))
	}
	switch {
	case a.Status != town.StatusRunning:
		return string(a.Status) + on
	case a.Turn.State == town.TurnIdle:
		return "its turn is over" + on
	case len(a.ActiveTools) > 0:
		return "runs " + strings.Join(a.ActiveTools, ", ") + on
	}
	return "works" + on
}

func loadAgent(r reader, id string) (agentRow, error) {
	a, err := scanAgentRow(r.row(`SELECT `+agentColumns+agentTables+` WHERE a.id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return a, fmt.Errorf("agent %s: %w", id, town.ErrNotFound)
	}
	return a, err
}

// agentStarts makes the row of an agent that a bead was just given to. What was
// ordered for its earlier generation is void.
func agentStarts(t *tx, b *beadRow) error {
	_, err := t.exec(`INSERT INTO agents (id, rig_id, role, name, bead_id, status, reason, turn_state, turn_count, says, generation, run_id,
		last_seen_at, last_event_type, active_tools, message_count, event_cursor, input_tokens, output_tokens, cache_read_tokens,
		cache_write_tokens, cost_usd, tool_calls, rss_bytes, cpu_percent, processes)
		VALUES (?, ?, 'polecat', ?, ?, 'starting', '', 'none', 0, '', ?, '', ?, '', '[]', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		ON CONFLICT (id) DO UPDATE SET bead_id = excluded.bead_id, status = 'starting', reason = '', turn_state = 'none', generation = excluded.generation,
		run_id = '', last_seen_at = excluded.last_seen_at, last_activity_at = NULL, active_tools = '[]'`,
		b.AgentID, b.RigID, b.name, b.ID, b.Epoch, ms(t.now))
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE orders SET done_at = ?, error = 'the agent was started anew' WHERE agent_id = ? AND done_at IS NULL`, ms(t.now), b.AgentID)
	return err
}

// saveAgent keeps what a heartbeat shows of an agent, unless a newer generation is
// known. used is what it consumed since it was last shown.
func saveAgent(t *tx, a *town.AgentHeartbeat, used town.Usage) error {
	tools := a.ActiveTools
	if tools == nil {
		tools = []string{}
	}
	var started any
	if a.Status.Live() {
		started = ms(t.now)
	}
	_, err := t.exec(`INSERT INTO agents (id, rig_id, role, name, bead_id, status, reason, turn_state, turn_count, says, generation, run_id,
		last_seen_at, last_activity_at, last_event_type, last_event_at, active_tools, message_count, event_cursor, input_tokens, output_tokens,
		cache_read_tokens, cache_write_tokens, cost_usd, tool_calls, rss_bytes, cpu_percent, processes, started_at)
		VALUES (?1, ?2, ?3, ?1, ?4, ?5, ?6, ?7, ?8, '', ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)
		ON CONFLICT (id) DO UPDATE SET rig_id = ?2, role = ?3, bead_id = CASE WHEN ?4 <> '' THEN ?4 ELSE bead_id END, status = ?5, reason = ?6,
		turn_state = ?7, turn_count = ?8, generation = ?9,
		started_at = CASE WHEN run_id = ?10 AND started_at IS NOT NULL THEN started_at ELSE ?27 END, run_id = ?10,
		last_seen_at = ?11, last_activity_at = ?12, last_event_type = ?13, last_event_at = ?14, active_tools = ?15, message_count = ?16, event_cursor = ?17,
		input_tokens = input_tokens + ?18, output_tokens = output_tokens + ?19, cache_read_tokens = cache_read_tokens + ?20,
		cache_write_tokens = cache_write_tokens + ?21, cost_usd = cost_usd + ?22, tool_calls = tool_calls + ?23,
		rss_bytes = ?24, cpu_percent = ?25, processes = ?26
		WHERE generation <= ?9`,
		a.AgentID, a.RigID, string(a.Role), a.BeadID, string(a.Status), string(a.Reason), string(a.Turn.State), a.Turn.Count, a.Generation, a.RunID,
		ms(t.now), msOrNull(a.LastActivityAt), string(a.LastEventType), msOrNull(a.LastEventAt), jsonText(tools), a.MessageCount, a.Cursor,
		used.InputTokens, used.OutputTokens, used.CacheReadTokens, used.CacheWriteTokens, used.CostUSD, used.ToolCalls,
		a.Resources.RSSBytes, a.Resources.CPUPercent, a.Resources.Processes, started)
	return err
}

// addUsage counts what an agent consumed in a run that has ended.
func addUsage(t *tx, agentID string, used town.Usage) error {
	if used == (town.Usage{}) {
		return nil
	}
	_, err := t.exec(`UPDATE agents SET input_tokens = input_tokens + ?, output_tokens = output_tokens + ?, cache_read_tokens = cache_read_tokens + ?,
		cache_write_tokens = cache_write_tokens + ?, cost_usd = cost_usd + ?, tool_calls = tool_calls + ? WHERE id = ?`,
		used.InputTokens, used.OutputTokens, used.CacheReadTokens, used.CacheWriteTokens, used.CostUSD, used.ToolCalls, agentID)
	return err
}

// usedSince is what was consumed between two counts of one run. Counts only grow; a
// smaller one is late.
func usedSince(before, now town.Usage) town.Usage {
	return town.Usage{
		InputTokens:      max(now.InputTokens-before.InputTokens, 0),
		OutputTokens:     max(now.OutputTokens-before.OutputTokens, 0),
		CacheReadTokens:  max(now.CacheReadTokens-before.CacheReadTokens, 0),
		CacheWriteTokens: max(now.CacheWriteTokens-before.CacheWriteTokens, 0),
		CostUSD:          max(now.CostUSD-before.CostUSD, 0),
		ToolCalls:        max(now.ToolCalls-before.ToolCalls, 0),
	}
}
