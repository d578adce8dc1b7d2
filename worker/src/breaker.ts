// The breaker pauses a town in which one attempt after another fails. After a while one
// bead is handed out as a probe: if it gets anywhere the town goes on.
import { type BeadRow, findBead } from "./beadrows";
import { parse } from "./contract";
import { raise } from "./escalations";
import type { Tx } from "./store";

const failuresToOpen = 20;
const window = 30 * 60_000;
const breakerRest = 10 * 60_000;
const prefix = "breaker: ";

/** The breaker's state, as it is kept in the settings. */
interface Breaker {
  openedAt: number; // or opened again, after a probe that failed
  closedAt: number; // failures before do not count
  probeBead: string;
  probeEpoch: number;
}

function load(t: Tx): Breaker {
  const kept = t.setting("breaker");
  return kept === "" ? { openedAt: 0, closedAt: 0, probeBead: "", probeEpoch: 0 } : parse<Breaker>(kept);
}

const isOpen = (b: Breaker) => b.openedAt > b.closedAt;

function save(t: Tx, b: Breaker, paused: string): void {
  t.setSetting("breaker", JSON.stringify(b));
  t.setSetting("paused", paused);
}

/** Opens and closes the breaker, and returns when to look again, 0 for not by itself. */
export function checkBreaker(t: Tx): number {
  const b = load(t);
  const paused = t.setting("paused");
  if (!isOpen(b)) {
    return paused === "" ? maybeOpen(t, b) : 0; // else a person has paused it
  }
  if (!paused.startsWith(prefix)) {
    // A person lets it go on, or pauses it for a reason of their own.
    save(t, { openedAt: b.openedAt, closedAt: t.now, probeBead: "", probeEpoch: 0 }, paused);
    return 0;
  }
  if (b.probeBead === "") {
    return b.openedAt + breakerRest;
  }
  switch (judgeProbe(b, findBead(t, b.probeBead))) {
    case "succeeded":
      console.info({ message: "breaker closed", probe: b.probeBead });
      save(t, { openedAt: b.openedAt, closedAt: t.now, probeBead: "", probeEpoch: 0 }, "");
      return 0;
    case "failed":
      save(t, { openedAt: t.now, closedAt: b.closedAt, probeBead: "", probeEpoch: 0 }, paused);
      return t.now + breakerRest;
    case "runs":
      return 0;
  }
}

/** Says how a probe stands: it succeeds by handing its work over, and fails with its lease. A bead whose rig was deleted is no success. */
function judgeProbe(b: Breaker, bead: BeadRow | undefined): "succeeded" | "failed" | "runs" {
  if (bead?.status === "in_review" || bead?.status === "closed") {
    return "succeeded";
  }
  return bead?.status === "in_progress" && bead.epoch === b.probeEpoch ? "runs" : "failed";
}

/** Opens the breaker when too many attempts have failed. */
function maybeOpen(t: Tx, b: Breaker): number {
  const since = Math.max(t.now - window, b.closedAt + 1);
  const n = t.count("SELECT count(*) AS n FROM failures WHERE at >= ?", since);
  if (n < failuresToOpen) {
    return 0;
  }
  const why = `${prefix}${n} attempts failed within ${window / 60_000} minutes`;
  console.error({ message: "breaker opened", failures: n });
  save(t, { openedAt: t.now, closedAt: b.closedAt, probeBead: "", probeEpoch: 0 }, why);
  raise(t, {
    severity: "critical",
    title: "The town has paused itself",
    cause: "breaker",
    body: `${why}. One bead is tried every 10 minutes; the first that gets anywhere lets the town go on.`,
  });
  return t.now + breakerRest;
}

/** How many more polecats there may be: none while the town is paused, but one as the probe of a breaker that has rested; and when to look again. */
export function room(t: Tx, live: number, most: number): { room: number; again: number } {
  const paused = t.setting("paused");
  if (paused === "") {
    return { room: most - live, again: 0 };
  }
  const b = load(t);
  if (!paused.startsWith(prefix) || !isOpen(b) || b.probeBead !== "") {
    return { room: 0, again: 0 };
  }
  const due = b.openedAt + breakerRest;
  return t.now < due ? { room: 0, again: due } : { room: 1, again: 0 };
}

/** Takes in that a bead was claimed: the first one while the breaker is open is its probe. */
export function claimed(t: Tx, bead: BeadRow): void {
  const b = load(t);
  if (isOpen(b)) {
    save(t, { ...b, probeBead: bead.id, probeEpoch: bead.epoch }, t.setting("paused"));
  }
}
