// What becomes of a bead: the table of api/transitions.json, applied by one pure function.
import document from "../../api/transitions.json";
import type { BeadStatus } from "./contract";
import { conflict } from "./errors";

export type Event =
  | "claim"
  | "renew"
  | "done"
  | "finish"
  | "release"
  | "expire"
  | "give_up"
  | "block"
  | "hold"
  | "retry"
  | "close"
  | "fail"
  | "merged"
  | "rework";

/** A bead as far as transitions are concerned. Times are milliseconds since 1970. */
export type BeadState = {
  id: string;
  status: BeadStatus;
  attempts: number;
  reworks: number;
  notBefore: number | null;
  hold: string;
  agentId: string;
  epoch: number; // of the newest lease
  leaseEnd: number | null; // null: nobody has it
  branch: string;
  commit: string;
  pullRequest: string;
  summary: string;
  feedback: string;
  blockers: number; // beads it depends on that are not closed
  updatedAt: number;
  closedAt: number | null;
};

/** An event with what it brings. */
export interface Call {
  event: Event;
  by?: string; // "person", "town" or an agent's id; "town" when absent
  reason?: string; // for people
  epoch?: number; // of the lease that the caller has
  agentId?: string; // claim
  leaseEnd?: number; // claim, renew
  jitter?: number; // release, expire: 0 to 1, lengthens the back-off by up to a quarter
  branch?: string;
  commit?: string;
  summary?: string;
  pullRequest?: string;
  feedback?: string; // rework
  cause?: string; // give_up, block: of the escalation
}

export type Effect = "enqueue" | "dequeue" | "release_dependants" | "hold_dependants" | "escalate" | "stop" | "attempt";

export interface Outcome {
  kind: "applied" | "ignored" | "kept";
  effects: Effect[]; // outside of the bead, in order
}

/** How long a bead rests after its first, second, … attempt; the last holds for all that follow. */
const backoffs = [30_000, 60_000, 120_000, 300_000, 600_000];

type Guard = (b: BeadState, call: Call, now: number) => string;

const current: Guard = (b, call) => (b.leaseEnd === null || call.epoch !== b.epoch ? `the lease of epoch ${call.epoch ?? 0} is over` : "");

/** Why a call may not be, "" when it may. */
const guards: Record<string, Guard> = {
  ready: (b, _, now) => {
    if (b.hold !== "") {
      return `is held: ${b.hold}`;
    }
    if (b.blockers > 0) {
      return `waits for ${b.blockers} other beads`;
    }
    return b.notBefore !== null && now < b.notBefore ? `is not to be taken before ${new Date(b.notBefore).toISOString()}` : "";
  },
  current,
  expired: (b, call, now) => current(b, call, now) || (b.leaseEnd !== null && now < b.leaseEnd ? "the lease has not ended" : ""),
};

const own: Record<string, (b: BeadState, call: Call, now: number) => void> = {
  lease: (b, call) => {
    b.epoch++;
    b.attempts++;
    b.agentId = call.agentId ?? "";
    b.branch = call.branch ?? "";
    b.leaseEnd = call.leaseEnd ?? 0;
  },
  renew: (b, call) => {
    b.leaseEnd = call.leaseEnd ?? 0;
  },
  unlease: (b) => {
    b.leaseEnd = null;
  },
  branch: (b, call) => {
    b.branch = call.branch || b.branch;
    b.summary = call.summary || b.summary;
    b.commit = call.commit || b.commit;
    b.pullRequest = call.pullRequest || b.pullRequest;
  },
  backoff: (b, call, now) => {
    const wait = backoffs[Math.min(Math.max(b.attempts, 1), backoffs.length) - 1] ?? 0;
    b.notBefore = Math.floor(now + wait + ((call.jitter ?? 0) * wait) / 4);
  },
  feedback: (b, call) => {
    b.feedback = call.feedback ?? "";
    b.reworks++;
    b.notBefore = null;
  },
  hold: (b, call) => {
    b.hold = call.reason ?? "";
  },
  reset: (b) => {
    b.attempts = 0;
    b.reworks = 0;
    b.hold = "";
    b.feedback = "";
    b.notBefore = null;
  },
  finish: (b, _, now) => {
    b.closedAt = now;
    b.hold = "";
    b.notBefore = null;
  },
  reopen: (b) => {
    b.closedAt = null;
  },
};

const outside: readonly Effect[] = ["enqueue", "dequeue", "release_dependants", "hold_dependants", "escalate", "stop", "attempt"];

interface Cell {
  to: BeadStatus;
  guard: Guard | undefined;
  otherwise: string;
  own: ((b: BeadState, call: Call, now: number) => void)[];
  effects: Effect[];
}

/** Reads a document of transitions, and refuses what this program does not know. */
export function readTable(doc: typeof document): Map<string, Cell> {
  const cells = new Map<string, Cell>();
  for (const t of doc.transitions) {
    const names: string[] = t.effects ?? [];
    const unknown = names.find((e) => !own[e] && !outside.some((o) => o === e));
    const guard = t.guard === undefined ? undefined : guards[t.guard];
    const to = statuses.find((s) => s === t.to);
    if (unknown || (t.guard !== undefined && !guard) || !to) {
      throw new Error(`api/transitions.json: ${t.event} in ${t.from}: unknown ${unknown ?? t.guard ?? t.to}`);
    }
    cells.set(`${t.from}/${t.event}`, {
      to,
      guard,
      otherwise: t.else ?? "",
      own: names.flatMap((e) => own[e] ?? []),
      effects: outside.filter((o) => names.includes(o)).sort((a, b) => names.indexOf(a) - names.indexOf(b)),
    });
  }
  return cells;
}

const statuses: readonly BeadStatus[] = ["open", "in_progress", "in_review", "closed", "failed"];

const table = readTable(document);

/** Changes b to what becomes of it by call, unless that is ignored, kept or refused (409). */
export function apply(b: BeadState, call: Call, now: number): Outcome {
  const cell = table.get(`${b.status}/${call.event}`);
  if (!cell) {
    throw conflict(`bead ${b.id} is ${b.status}, which does not allow ${call.event}`);
  }
  const failed = cell.guard?.(b, call, now) ?? "";
  if (failed !== "") {
    switch (cell.otherwise) {
      case "ignore":
        return { kind: "ignored", effects: [] };
      case "keep":
        return { kind: "kept", effects: ["attempt"] };
      default:
        throw conflict(`bead ${b.id}: ${failed}`);
    }
  }
  if (cell.to === b.status && cell.own.length === 0 && cell.effects.length === 0) {
    return { kind: "ignored", effects: [] };
  }
  if (cell.effects.includes("attempt")) {
    return { kind: "kept", effects: ["attempt"] };
  }
  for (const change of cell.own) {
    change(b, call, now);
  }
  b.status = cell.to;
  if (call.event !== "renew") {
    b.updatedAt = now;
  }
  return { kind: "applied", effects: cell.effects };
}
