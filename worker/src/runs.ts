// Runs of agents, as they are kept for audit.
import { addUsage, noUsage, usedSince } from "./agentrows";
import { afterCursor } from "./beads";
import { type Completion, cut, instant, instantOr, type Run, type RunStatus, text, type Usage } from "./contract";
import { type Tx, Where } from "./store";

type RunRow = {
  n: number;
  runId: string;
  agentId: string;
  rigId: string;
  beadId: string;
  generation: number;
  status: RunStatus;
  reason: string;
  error: string;
  branch: string;
  startedAt: number;
  endedAt: number | null;
} & Usage;

const columns = `n, run_id AS runId, agent_id AS agentId, rig_id AS rigId, bead_id AS beadId, generation, status, reason, error, branch,
  started_at AS startedAt, ended_at AS endedAt, input_tokens AS inputTokens, output_tokens AS outputTokens,
  cache_read_tokens AS cacheReadTokens, cache_write_tokens AS cacheWriteTokens, cost_usd AS costUsd, tool_calls AS toolCalls`;

const usageOf = (u: Usage): Usage => ({
  inputTokens: u.inputTokens,
  outputTokens: u.outputTokens,
  cacheReadTokens: u.cacheReadTokens,
  cacheWriteTokens: u.cacheWriteTokens,
  costUsd: u.costUsd,
  toolCalls: u.toolCalls,
});

function runOf(r: RunRow): Run {
  const { runId, agentId, rigId, generation, status } = r;
  return {
    runId,
    agentId,
    rigId,
    beadId: text(r.beadId),
    generation,
    status,
    reason: text(r.reason),
    error: text(r.error),
    branch: text(r.branch),
    startedAt: instant(r.startedAt),
    endedAt: instantOr(r.endedAt),
    durationMs: r.endedAt === null ? undefined : Math.max(r.endedAt - r.startedAt, 0) || undefined,
    usage: usageOf(r),
  };
}

/** A page of runs, newest first; next is absent on the last one. */
export function listRuns(
  t: Tx,
  q: { agent: string; bead: string; after: string; limit: number },
): { runs: Run[]; next: string | undefined } {
  const w = afterCursor(new Where().equal("agent_id", q.agent).equal("bead_id", q.bead), q.after);
  const { rows, more } = t.page<RunRow>(q.limit, /* sql */ `SELECT ${columns} FROM runs${w} ORDER BY n DESC`, ...w.values);
  return { runs: rows.map(runOf), next: more ? String(rows.at(-1)?.n) : undefined };
}

export function findRun(t: Tx, id: string): RunRow | undefined {
  return t.first<RunRow>(/* sql */ `SELECT ${columns} FROM runs WHERE run_id = ?`, id);
}

/** The runs that have not ended, with what they consumed. */
export function openRuns(t: Tx): Map<string, Usage> {
  return new Map(t.all<RunRow>(/* sql */ `SELECT ${columns} FROM runs WHERE ended_at IS NULL`).map((r) => [r.runId, usageOf(r)]));
}

interface NewRun {
  runId: string;
  agentId: string;
  rigId: string;
  beadId: string;
  generation: number;
  branch: string;
  startedAt: number;
  usage: Usage;
}

/** Makes the row of a run that is shown for the first time. */
export function beginRun(t: Tx, r: NewRun): void {
  const u = r.usage;
  t.exec(
    /* sql */ `INSERT INTO runs (run_id, agent_id, rig_id, bead_id, generation, status, reason, error, branch, checkpoint, started_at, signal,
      input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, tool_calls)
      VALUES (?, ?, ?, ?, ?, 'running', '', '', ?, '', ?, '', ?, ?, ?, ?, ?, ?)`,
    r.runId,
    r.agentId,
    r.rigId,
    r.beadId,
    r.generation,
    r.branch,
    r.startedAt,
    u.inputTokens,
    u.outputTokens,
    u.cacheReadTokens,
    u.cacheWriteTokens,
    u.costUsd,
    u.toolCalls,
  );
}

export function saveRunUsage(t: Tx, id: string, u: Usage): void {
  t.exec(
    /* sql */ `UPDATE runs SET input_tokens = ?, output_tokens = ?, cache_read_tokens = ?, cache_write_tokens = ?, cost_usd = ?, tool_calls = ?
      WHERE run_id = ?`,
    u.inputTokens,
    u.outputTokens,
    u.cacheReadTokens,
    u.cacheWriteTokens,
    u.costUsd,
    u.toolCalls,
    id,
  );
}

/** Keeps how a run ended, with what it consumed in all on it and on its agent. It answers whether that was news. */
export function endRun(t: Tx, agentId: string, c: Completion & { runId: string }): boolean {
  const known = findRun(t, c.runId);
  if (known && known.endedAt !== null) {
    return false;
  }
  const started = c.startedAt === undefined ? null : Date.parse(c.startedAt);
  if (!known) {
    beginRun(t, {
      runId: c.runId,
      agentId,
      rigId: c.rigId ?? "",
      beadId: c.beadId ?? "",
      generation: c.generation ?? 0,
      branch: c.branch ?? "",
      startedAt: started ?? t.now,
      usage: noUsage,
    });
  }
  const usage = c.usage ?? noUsage;
  addUsage(t, agentId, usedSince(known ?? noUsage, usage));
  saveRunUsage(t, c.runId, usage);
  t.exec(
    /* sql */ `UPDATE runs SET status = ?, reason = ?, error = ?, branch = ?, checkpoint = ?, ended_at = ?, exit_code = ?, signal = ?,
      started_at = coalesce(?, started_at) WHERE run_id = ?`,
    runStatus(c),
    c.reason ?? "",
    cut(c.error ?? "", 64 * 1024),
    c.branch ?? "",
    c.checkpoint ?? "",
    c.exitedAt === undefined ? t.now : Date.parse(c.exitedAt),
    c.exitCode ?? null,
    c.signal ?? "",
    started,
    c.runId,
  );
  return true;
}

function runStatus(c: Completion): RunStatus {
  if (c.reason === "stopped" || c.reason === "killed") {
    return "cancelled";
  }
  return c.status === "failed" ? "error" : "success";
}
