// Keeps work away from something that fails as a whole: the container, or the remote
// of a rig. After each failure it is shut for a while, longer each time; then one start
// at a time tries whether it is well again, and the first that succeeds opens it.
import { delayAt } from "./judge";
import type { Tx } from "./store";

export const gateDelays = [5_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000];

type GateRow = { failures: number; until: number; why: string };

/** What a start depends on. */
export const ofContainer = "container";
export const ofRig = (rigId: string) => `rig:${rigId}`;

export class Gates {
  /** Starts under way, by gate. */
  private readonly trying = new Map<string, number>();

  state(t: Tx, id: string): GateRow {
    return t.first<GateRow>("SELECT failures, until, why FROM gates WHERE id = ?", id) ?? { failures: 0, until: 0, why: "" };
  }

  /** Whether a start may go through now. */
  lets(t: Tx, id: string): boolean {
    const { failures, until } = this.state(t, id);
    return failures === 0 || (t.now >= until && (this.trying.get(id) ?? 0) === 0);
  }

  /** When it next lets something through, 0 when time alone does not change that. */
  opens(t: Tx, id: string): number {
    const { failures, until } = this.state(t, id);
    return failures > 0 && t.now < until ? until : 0;
  }

  enter(...ids: string[]): void {
    for (const id of ids) {
      this.trying.set(id, (this.trying.get(id) ?? 0) + 1);
    }
  }

  leave(...ids: string[]): void {
    for (const id of ids) {
      this.trying.set(id, (this.trying.get(id) ?? 1) - 1);
    }
  }

  succeed(t: Tx, ...ids: string[]): void {
    for (const id of ids) {
      t.exec("DELETE FROM gates WHERE id = ?", id);
    }
  }

  /** Shuts it, for at least as long as the other side asked, and returns how often that was. Failures of starts under way when it was shut do not lengthen it. */
  fail(t: Tx, id: string, why: string, atLeast: number): number {
    const gate = this.state(t, id);
    const shut = t.now < gate.until;
    const until = shut ? gate.until : t.now + Math.max(delayAt(gateDelays, gate.failures), atLeast);
    const failures = shut ? gate.failures : gate.failures + 1;
    t.exec(
      /* sql */ `INSERT INTO gates (id, failures, until, why) VALUES (?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET failures = excluded.failures, until = excluded.until, why = excluded.why`,
      id,
      failures,
      until,
      why,
    );
    return failures;
  }
}
