package townhall

import (
	"context"
	"database/sql"
	"errors"
	"strconv"

	"townd/api"
	"townd/town"
)

// The words of Run.Status (D4).
const (
	runRunning   = "running"
	runSuccess   = "success"
	runError     = "error"
	runCancelled = "cancelled"
)

type runRow struct {
	town.Run
	n int64
}

const runColumns = `n, run_id, agent_id, rig_id, bead_id, generation, status, reason, error, branch, started_at, ended_at, input_tokens,
	output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, tool_calls`

func scanRun(row scanner) (r runRow, err error) {
	var started int64
	var ended sql.NullInt64
	err = row.Scan(&r.n, &r.RunID, &r.AgentID, &r.RigID, &r.BeadID, &r.Generation, &r.Status, &r.Reason, &r.Error, &r.Branch, &started, &ended,
		&r.Usage.InputTokens, &r.Usage.OutputTokens, &r.Usage.CacheReadTokens, &r.Usage.CacheWriteTokens, &r.Usage.CostUSD, &r.Usage.ToolCalls)
	r.StartedAt, r.EndedAt = timeOf(started), timeOrNil(ended)
	if r.EndedAt != nil {
		r.DurationMS = max(r.EndedAt.Sub(r.StartedAt).Milliseconds(), 0)
	}
	return r, err
}

// Runs returns a page of runs, newest first; next is "" on the last one.
func (h *Hall) Runs(ctx context.Context, q api.RunQuery) (runs []town.Run, next string, err error) {
	var w where
	w.equal("agent_id", q.AgentID)
	w.equal("bead_id", q.BeadID)
	if err := afterCursor(&w, q.After); err != nil {
		return nil, "", err
	}
	limit, err := bounded(q.Limit, 100, 500)
	if err != nil {
		return nil, "", err
	}
	err = h.read(ctx, func(r reader) error {
		rows, err := collect(r, scanRun, `SELECT `+runColumns+` FROM runs`+w.String()+` ORDER BY n DESC LIMIT ?`, append(w.args, limit+1)...)
		if err != nil {
			return err
		}
		if len(rows) > limit {
			rows = rows[:limit]
			next = strconv.FormatInt(rows[limit-1].n, 10)
		}
		runs = make([]town.Run, len(rows))
		for i, row := range rows {
			runs[i] = row.Run
		}
		return nil
	})
	return runs, next, err
}

func loadRun(r reader, id string) (run runRow, ok bool, err error) {
	run, err = scanRun(r.row(`SELECT `+runColumns+` FROM runs WHERE run_id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return run, false, nil
	}
	return run, err == nil, err
}

// beginRun makes the row of a run that is shown for the first time.
func beginRun(t *tx, r town.Run) error {
	u := r.Usage
	_, err := t.exec(`INSERT INTO runs (run_id, agent_id, rig_id, bead_id, generation, status, reason, error, branch, checkpoint, started_at, signal,
		input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, tool_calls)
		VALUES (?, ?, ?, ?, ?, 'running', '', '', ?, '', ?, '', ?, ?, ?, ?, ?, ?)`,
		r.RunID, r.AgentID, r.RigID, r.BeadID, r.Generation, r.Branch, ms(r.StartedAt),
		u.InputTokens, u.OutputTokens, u.CacheReadTokens, u.CacheWriteTokens, u.CostUSD, u.ToolCalls)
	return err
}

func saveRunUsage(t *tx, id string, u town.Usage) error {
	_, err := t.exec(`UPDATE runs SET input_tokens = ?, output_tokens = ?, cache_read_tokens = ?, cache_write_tokens = ?, cost_usd = ?, tool_calls = ?
		WHERE run_id = ?`, u.InputTokens, u.OutputTokens, u.CacheReadTokens, u.CacheWriteTokens, u.CostUSD, u.ToolCalls, id)
	return err
}

// endRun keeps how a run ended, with what it consumed in all on it and on its agent
// (D12). told is false when its end was known before.
func endRun(t *tx, c town.Completion) (told bool, err error) {
	run, ok, err := loadRun(t, c.RunID)
	if err != nil || ok && run.EndedAt != nil {
		return false, err
	}
	if !ok {
		run.Run = town.Run{
			RunID: c.RunID, AgentID: c.AgentID, RigID: c.RigID, BeadID: c.BeadID, Generation: c.Generation, Branch: c.Branch, StartedAt: t.now,
		}
		if c.StartedAt != nil {
			run.StartedAt = *c.StartedAt
		}
		if err := beginRun(t, run.Run); err != nil {
			return false, err
		}
	}
	if err := addUsage(t, c.AgentID, usedSince(run.Usage, c.Usage)); err != nil {
		return false, err
	}
	if err := saveRunUsage(t, c.RunID, c.Usage); err != nil {
		return false, err
	}
	ended := t.now
	if c.ExitedAt != nil {
		ended = *c.ExitedAt
	}
	var code any
	if c.ExitCode != nil {
		code = *c.ExitCode
	}
	_, err = t.exec(`UPDATE runs SET status = ?, reason = ?, error = ?, branch = ?, checkpoint = ?, ended_at = ?, exit_code = ?, signal = ?,
		started_at = coalesce(?, started_at) WHERE run_id = ?`,
		runStatus(c), string(c.Reason), cut(c.Error, maxNote), c.Branch, c.Checkpoint, ms(ended), code, c.Signal, msOrNull(c.StartedAt), c.RunID)
	return true, err
}

func runStatus(c town.Completion) string {
	switch {
	case c.Reason == town.ReasonStopped || c.Reason == town.ReasonKilled:
		return runCancelled
	case c.Status == town.CompletionFailed:
		return runError
	}
	return runSuccess
}
