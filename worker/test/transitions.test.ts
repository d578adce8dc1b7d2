import { expect, test } from "vitest";
import document from "../../api/transitions.json";
import { apply, type BeadState, type Call, type Event, readTable } from "../src/transitions";

const now = Date.UTC(2026, 0, 2, 3, 4, 5);

function bead(change: Partial<BeadState> = {}): BeadState {
  return {
    id: "b1",
    status: "open",
    attempts: 0,
    reworks: 0,
    notBefore: null,
    hold: "",
    agentId: "",
    epoch: 0,
    leaseEnd: null,
    branch: "",
    commit: "",
    pullRequest: "",
    summary: "",
    feedback: "",
    blockers: 0,
    updatedAt: 0,
    closedAt: null,
    ...change,
  };
}

const events: Event[] = [
  "claim",
  "renew",
  "done",
  "finish",
  "release",
  "expire",
  "give_up",
  "block",
  "hold",
  "retry",
  "close",
  "fail",
  "merged",
  "rework",
];
const statuses = ["open", "in_progress", "in_review", "closed", "failed"] as const;

/** A bead in that status as it would be. */
function inStatus(status: (typeof statuses)[number]): BeadState {
  return bead({
    status,
    epoch: status === "open" ? 0 : 1,
    leaseEnd: status === "in_progress" ? now : null,
    closedAt: status === "closed" || status === "failed" ? now : null,
  });
}

test("every cell of the table leads where it says, and what is no cell is refused", () => {
  for (const status of statuses) {
    for (const event of events) {
      const cell = document.transitions.find((t) => t.from === status && t.event === event);
      const b = inStatus(status);
      const call: Call = { event, epoch: b.epoch, reason: "why", feedback: "what", leaseEnd: now + 1, agentId: "a" };
      if (cell) {
        apply(b, call, now);
        expect(b.status, `${event} in ${status}`).toBe(cell.to);
        expect(b.leaseEnd !== null, `lease after ${event} in ${status}`).toBe(b.status === "in_progress");
      } else {
        expect(() => apply(b, call, now), `${event} in ${status}`).toThrow("does not allow");
        expect(b).toEqual(inStatus(status));
      }
    }
  }
});

test("a call of an old epoch is refused, ignored or kept, as the table says", () => {
  for (const t of document.transitions.filter((t) => t.guard === "current" || t.guard === "expired")) {
    const b = inStatus("in_progress");
    const event = events.find((e) => e === t.event) ?? "claim";
    const ask = () => apply(b, { event, epoch: 7, reason: "why" }, now).kind;
    if (t.else === "refuse") {
      expect(ask, t.event).toThrow("is over");
    } else {
      expect(ask(), t.event).toBe(t.else === "keep" ? "kept" : "ignored");
    }
    expect(b, t.event).toEqual(inStatus("in_progress"));
  }
});

test("a bead that is held, waits or rests is not taken", () => {
  for (const change of [{ hold: "by a person" }, { blockers: 1 }, { notBefore: now + 1 }]) {
    expect(() => apply(bead(change), { event: "claim", agentId: "a", leaseEnd: now + 1 }, now)).toThrow();
  }
});

test("a bead rests longer after each attempt, up to ten minutes", () => {
  const waits = [1, 2, 3, 4, 5, 9].map((attempts) => {
    const b = { ...inStatus("in_progress"), attempts };
    apply(b, { event: "release", epoch: 1, jitter: 0 }, now);
    return ((b.notBefore ?? 0) - now) / 1000;
  });
  expect(waits).toEqual([30, 60, 120, 300, 600, 600]);
});

test("a table with a word that this program does not know is refused", () => {
  const strange = structuredClone(document);
  for (const t of strange.transitions.slice(0, 1)) {
    t.effects = ["dance"];
  }
  expect(() => readTable(strange)).toThrow("unknown dance");
});
