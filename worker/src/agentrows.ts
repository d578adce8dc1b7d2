// Agents as they are kept, and as they are answered.
import type { BeadRow } from "./beadrows";
import {
  type AgentHeartbeat,
  type AgentStatus,
  instant,
  instantOr,
  parse,
  type Role,
  type TownAgent,
  type TurnState,
  text,
  type Usage,
} from "./contract";
import { notFound } from "./errors";
import type { Tx } from "./store";

export type AgentRow = {
  agentId: string;
  rigId: string;
  role: Role;
  name: string;
  beadId: string;
  status: AgentStatus;
  reason: string;
  turnState: TurnState;
  turnCount: number;
  says: string;
  generation: number;
  runId: string;
  lastSeenAt: number;
  lastActivityAt: number | null;
  lastEventType: string;
  activeTools: string; // JSON
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
  costUsd: number;
  toolCalls: number;
  rssBytes: number;
  cpuPercent: number;
  processes: number;
  startedAt: number | null;
  beadTitle: string;
};

const columns = `a.id AS agentId, a.rig_id AS rigId, a.role, a.name, a.bead_id AS beadId, a.status, a.reason, a.turn_state AS turnState,
  a.turn_count AS turnCount, a.says, a.generation, a.run_id AS runId, a.last_seen_at AS lastSeenAt, a.last_activity_at AS lastActivityAt,
  a.last_event_type AS lastEventType, a.active_tools AS activeTools, a.input_tokens AS inputTokens, a.output_tokens AS outputTokens,
  a.cache_read_tokens AS cacheReadTokens, a.cache_write_tokens AS cacheWriteTokens, a.cost_usd AS costUsd, a.tool_calls AS toolCalls,
  a.rss_bytes AS rssBytes, a.cpu_percent AS cpuPercent, a.processes, a.started_at AS startedAt, coalesce(b.title, '') AS beadTitle`;

const tables = "agents a LEFT JOIN beads b ON b.id = a.bead_id";

const live = "a.status IN ('starting', 'running', 'stopping')";

export function isLive(status: AgentStatus): boolean {
  return status === "starting" || status === "running" || status === "stopping";
}

export function agentOf(a: AgentRow): TownAgent {
  const { agentId, rigId, role, name, status, generation } = a;
  return {
    agentId,
    rigId,
    role,
    name,
    beadId: text(a.beadId),
    status,
    reason: text(a.reason),
    turn: { state: a.turnState, count: a.turnCount },
    says: text(a.says),
    why: whyOf(a),
    generation,
    runId: text(a.runId),
    lastSeenAt: instant(a.lastSeenAt),
    lastEventType: text(a.lastEventType),
    activeTools: parse<string[]>(a.activeTools),
    usage: {
      inputTokens: a.inputTokens,
      outputTokens: a.outputTokens,
      cacheReadTokens: a.cacheReadTokens,
      cacheWriteTokens: a.cacheWriteTokens,
      costUsd: a.costUsd,
      toolCalls: a.toolCalls,
    },
    resources: { rssBytes: a.rssBytes, cpuPercent: a.cpuPercent, processes: a.processes },
    startedAt: instantOr(a.startedAt),
  };
}

/** Says for people what an agent does. */
function whyOf(a: AgentRow): string {
  const on = a.beadTitle === "" ? "" : ` on ${a.beadTitle}`;
  if (!isLive(a.status)) {
    return `${a.status}: ${a.reason || "it is not known why"}`;
  }
  if (a.status !== "running") {
    return a.status + on;
  }
  if (a.turnState === "idle") {
    return `its turn is over${on}`;
  }
  const tools = parse<string[]>(a.activeTools);
  return tools.length > 0 ? `runs ${tools.join(", ")}${on}` : `works${on}`;
}

export function findAgent(t: Tx, id: string): AgentRow | undefined {
  return t.first<AgentRow>(/* sql */ `SELECT ${columns} FROM ${tables} WHERE a.id = ?`, id);
}

export function mustHaveAgent(t: Tx, id: string): AgentRow {
  const a = findAgent(t, id);
  if (!a) {
    throw notFound(`agent ${id}: not found`);
  }
  return a;
}

/** The agents that the town knows: live ones, then the 500 of the others that were seen last. */
export function listAgents(t: Tx): TownAgent[] {
  const others = t.all<AgentRow>(/* sql */ `SELECT ${columns} FROM ${tables} WHERE NOT (${live}) ORDER BY a.last_seen_at DESC LIMIT 500`);
  return [...liveAgents(t), ...others.map(agentOf)];
}

export function liveAgents(t: Tx): TownAgent[] {
  return t.all<AgentRow>(/* sql */ `SELECT ${columns} FROM ${tables} WHERE ${live} ORDER BY a.role, a.id`).map(agentOf);
}

/** Makes the row of an agent that a bead was just given to. What was ordered for its earlier generation is void. */
export function agentStarts(t: Tx, b: BeadRow): void {
  t.exec(
    /* sql */ `INSERT INTO agents (id, rig_id, role, name, bead_id, status, reason, turn_state, turn_count, says, generation, run_id,
      last_seen_at, last_event_type, active_tools, message_count, event_cursor, input_tokens, output_tokens, cache_read_tokens,
      cache_write_tokens, cost_usd, tool_calls, rss_bytes, cpu_percent, processes)
      VALUES (?, ?, 'polecat', ?, ?, 'starting', '', 'none', 0, '', ?, '', ?, '', '[]', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
      ON CONFLICT (id) DO UPDATE SET bead_id = excluded.bead_id, status = 'starting', reason = '', turn_state = 'none', generation = excluded.generation,
      run_id = '', last_seen_at = excluded.last_seen_at, last_activity_at = NULL, active_tools = '[]'`,
    b.agentId,
    b.rigId,
    b.name,
    b.id,
    b.epoch,
    t.now,
  );
  t.exec("UPDATE orders SET done_at = ?, error = 'the agent was started anew' WHERE agent_id = ? AND done_at IS NULL", t.now, b.agentId);
}

export const noUsage: Usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, costUsd: 0, toolCalls: 0 };

const time = (instant: string | undefined) => (instant === undefined ? null : Date.parse(instant));

/** Keeps what a heartbeat shows of an agent, unless a newer generation is known. used is what it consumed since it was last shown. */
export function saveAgent(t: Tx, a: AgentHeartbeat, used: Usage): void {
  t.exec(
    /* sql */ `INSERT INTO agents (id, rig_id, role, name, bead_id, status, reason, turn_state, turn_count, says, generation, run_id,
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
    a.agentId,
    a.rigId,
    a.role,
    a.beadId ?? "",
    a.status,
    a.reason ?? "",
    a.turn?.state || "none",
    a.turn?.count ?? 0,
    a.generation,
    a.runId ?? "",
    t.now,
    time(a.lastActivityAt),
    a.lastEventType ?? "",
    time(a.lastEventAt),
    JSON.stringify(a.activeTools ?? []),
    a.messageCount ?? 0,
    a.cursor ?? 0,
    used.inputTokens,
    used.outputTokens,
    used.cacheReadTokens,
    used.cacheWriteTokens,
    used.costUsd,
    used.toolCalls,
    a.resources?.rssBytes ?? 0,
    a.resources?.cpuPercent ?? 0,
    a.resources?.processes ?? 0,
    isLive(a.status) ? t.now : null,
  );
}

/** Counts what an agent consumed in a run that has ended. */
export function addUsage(t: Tx, agentId: string, used: Usage): void {
  t.exec(
    /* sql */ `UPDATE agents SET input_tokens = input_tokens + ?, output_tokens = output_tokens + ?, cache_read_tokens = cache_read_tokens + ?,
      cache_write_tokens = cache_write_tokens + ?, cost_usd = cost_usd + ?, tool_calls = tool_calls + ? WHERE id = ?`,
    used.inputTokens,
    used.outputTokens,
    used.cacheReadTokens,
    used.cacheWriteTokens,
    used.costUsd,
    used.toolCalls,
    agentId,
  );
}

/** What was consumed between two counts of one run. Counts only grow; a smaller one is late. */
export function usedSince(before: Usage, now: Usage): Usage {
  return {
    inputTokens: Math.max(now.inputTokens - before.inputTokens, 0),
    outputTokens: Math.max(now.outputTokens - before.outputTokens, 0),
    cacheReadTokens: Math.max(now.cacheReadTokens - before.cacheReadTokens, 0),
    cacheWriteTokens: Math.max(now.cacheWriteTokens - before.cacheWriteTokens, 0),
    costUsd: Math.max(now.costUsd - before.costUsd, 0),
    toolCalls: Math.max(now.toolCalls - before.toolCalls, 0),
  };
}
