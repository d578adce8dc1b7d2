import { byteLength, instant, isID, parse, type Schemas, text } from "./contract";
import { badBody } from "./errors";
import { type Tx, Where } from "./store";

const maxData = 256 * 1024;

type Input = Schemas["AgentEventInput"];

/** Keeps events of agents, each once by its run and id, and returns how many were new: of a container that was replaced too. */
export function appendEvents(t: Tx, events: Input[]): number {
  let accepted = 0;
  for (const [i, e] of events.entries()) {
    const data = JSON.stringify(e.data ?? null);
    if (!isID(e.runId)) {
      throw badBody(`events[${i}].runId`, "must be an id");
    }
    if (byteLength(data) > maxData) {
      throw badBody(`events[${i}].data`, `is ${byteLength(data)} bytes, the most is ${maxData}`);
    }
    accepted += t.changed(
      /* sql */ `INSERT INTO events (agent_id, rig_id, bead_id, run_id, event_id, event, data, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (run_id, event_id) DO NOTHING`,
      e.agentId,
      e.rigId ?? "",
      e.beadId ?? "",
      e.runId,
      e.id,
      e.event,
      data,
      Date.parse(e.timestamp),
    );
  }
  if (accepted > 0) {
    t.tell("events");
  }
  return accepted;
}

/** Selects events; empty fields do not restrict. */
export interface EventQuery {
  after: number; // seq of the last one that is known
  agent: string;
  bead: string;
  rig: string;
  limit: number;
}

type EventRow = {
  seq: number;
  agentId: string;
  rigId: string;
  beadId: string;
  runId: string;
  id: number;
  event: string;
  data: string;
  at: number;
};

export function listEvents(t: Tx, q: EventQuery) {
  const w = new Where().and("seq > ?", q.after).equal("agent_id", q.agent).equal("bead_id", q.bead).equal("rig_id", q.rig);
  const { rows } = t.page<EventRow>(
    q.limit,
    /* sql */ `SELECT seq, agent_id AS agentId, rig_id AS rigId, bead_id AS beadId, run_id AS runId, event_id AS id, event, data, at
      FROM events${w} ORDER BY seq`,
    ...w.values,
  );
  return rows.map(({ at, data, rigId, beadId, runId, ...e }) => ({
    ...e,
    rigId: text(rigId),
    beadId: text(beadId),
    runId: text(runId),
    data: parse<unknown>(data),
    timestamp: instant(at),
  }));
}
