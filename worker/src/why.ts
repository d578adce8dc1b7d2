// Says to people what open beads wait for.
import { type BeadRow, beadOf } from "./beadrows";
import { type Bead, type BeadStatus, instant, type Rig } from "./contract";
import { Gates, ofContainer, ofRig } from "./gates";
import { standby } from "./quota";
import { rigAgents } from "./rigs";
import type { Tx } from "./store";

/** What else decides whether an open bead is taken. */
interface Surroundings {
  blockers: { id: string; status: BeadStatus }[]; // that it depends on and that are not closed
  paused: string; // the town, and why
  standby: ReturnType<typeof standby>;
  containerWhy: string; // why the container is left alone for now
  rig: Rig | undefined;
  remoteWhy: string; // why the rig's remote is left alone for now
  rigLive: number;
  townLive: number;
  townMost: number;
  ahead: number; // ready beads of its rig that come first
}

/** Beads, in the order in which they are next, with what they wait for. */
export function explained(t: Tx, beads: BeadRow[], rigs: Rig[], paused: string): Bead[] {
  const live = new Map<string, number>();
  for (const { rig } of t.all<{ rig: string }>("SELECT rig_id AS rig FROM beads WHERE lease_expires_at IS NOT NULL")) {
    live.set(rig, (live.get(rig) ?? 0) + 1);
  }
  const townLive = [...live.values()].reduce((sum, n) => sum + n, 0);
  const gates = new Gates();
  const waits = standby(t);
  const ahead = new Map<string, number>();
  return beads.map((b) => {
    const blockers = t.all<{ id: string; status: BeadStatus }>(
      "SELECT id, status FROM beads WHERE status <> 'closed' AND id IN (SELECT needs_id FROM bead_deps WHERE bead_id = ?) ORDER BY n",
      b.id,
    );
    const before = ahead.get(b.rigId) ?? 0;
    if (b.hold === "" && blockers.length === 0 && (b.notBefore === null || b.notBefore <= t.now)) {
      ahead.set(b.rigId, before + 1);
    }
    const why = whyOpen(b, t.now, {
      blockers,
      paused,
      standby: waits,
      containerWhy: gates.opens(t, ofContainer) > 0 ? gates.state(t, ofContainer).why : "",
      rig: rigs.find((rig) => rig.rigId === b.rigId),
      remoteWhy: gates.opens(t, ofRig(b.rigId)) > 0 ? gates.state(t, ofRig(b.rigId)).why : "",
      rigLive: live.get(b.rigId) ?? 0,
      townLive,
      townMost: t.town.maxAgents,
      ahead: before,
    });
    return { ...beadOf(b), why };
  });
}

function whyOpen(b: BeadRow, now: number, s: Surroundings): string {
  if (b.hold !== "") {
    return `on hold: ${b.hold}`;
  }
  if (s.blockers.length > 0) {
    return whyBlocked(s.blockers);
  }
  if (b.notBefore !== null && b.notBefore > now) {
    return whyLater(b, b.notBefore);
  }
  if (s.paused !== "") {
    return `town paused: ${s.paused}`;
  }
  if (s.rig?.paused) {
    return "rig paused";
  }
  if (s.standby) {
    return `standby until ${clockTime(s.standby.until)}: ${s.standby.why}`;
  }
  if (s.containerWhy !== "") {
    return `container is left alone for now: ${s.containerWhy}`;
  }
  if (s.remoteWhy !== "") {
    return `the rig's remote is left alone for now: ${s.remoteWhy}`;
  }
  const rigMost = s.rig?.maxAgents || rigAgents;
  if (s.rigLive >= rigMost) {
    return `no room: ${s.rigLive} of ${rigMost} agents in rig`;
  }
  if (s.townLive >= s.townMost) {
    return `no room: ${s.townLive} of ${s.townMost} agents in the town`;
  }
  return s.ahead > 0 ? `${s.ahead} before it in its rig` : "is next";
}

/** Names at most three of the beads that one waits for, failed ones first: those need somebody. */
function whyBlocked(blockers: { id: string; status: BeadStatus }[]): string {
  const failed = blockers.filter((b) => b.status === "failed").map((b) => `${b.id}, which has failed`);
  const names = [...failed, ...blockers.filter((b) => b.status !== "failed").map((b) => b.id)];
  if (names.length === 1) {
    return `waits for bead ${names[0]}`;
  }
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  return `waits for ${names.length} beads: ${names.slice(0, 3).join(", ")}${more}`;
}

function whyLater(b: BeadRow, notBefore: number): string {
  const text = `waits until ${clockTime(instant(notBefore))}`;
  if (b.attempts === 0) {
    return text;
  }
  const after = /^waits until [^ ]+: (.+)$/s.exec(b.why)?.[1]; // what was written at the end of the last attempt
  return `${text}: attempt ${b.attempts + 1} of ${b.maxAttempts}${after ? ` after ${after}` : ""}`;
}

const clockTime = (time: string) => time.slice(11, 16);
