// Hands out beads, has finished branches reviewed and merged, and looks after what
// stands still. A pass looks at everything once; it runs when something has changed, when
// a call to the container has ended, and when the time has come for something.
import { applyByID } from "./apply";
import { type BeadRow, beadColumns, loadBead } from "./beadrows";
import { checkBreaker, claimed, room } from "./breaker";
import { claimNext, endLeases, handBack, liveByRig, nextDeadline, readyRigs, released, wakeLater } from "./claims";
import type { MergeOutcome, MergeResult, Order, Rig } from "./contract";
import { ContainerError, type ControlAPI } from "./controlapi";
import { moveConvoys } from "./convoys";
import { messageOf, Refusal } from "./errors";
import { raise } from "./escalations";
import { Gates, gateDelays, ofContainer, ofRig } from "./gates";
import { instanceID, instanceSeen, isDraining } from "./instance";
import { delayAt, mergeDelays, pullDelays } from "./judge";
import { type MergeRow, mergeCompleted, nextMerge, setMerge } from "./merges";
import { openOrders, ordersDone } from "./orders";
import { standby } from "./quota";
import {
  beginReview,
  loadAsked,
  mergeRequest,
  mergesUnderWay,
  mergeTime,
  outcomeOf,
  reviewEnded,
  rigsToMerge,
  saveAsked,
  watchReviews,
} from "./refinery";
import { findRig, mustHaveRig, rigAgents } from "./rigs";
import { recoverStart, type StartFailure, startRequest, tryStart } from "./starts";
import type { Tx } from "./store";
import { clearStrays, sooner, watchIdle, watchSilent } from "./watch";

/** How many failures in a row of something as a whole are told to people. */
const complainAfter = 4;

/** After so long without a heartbeat the container counts as asleep, and orders do not wake it. */
const asleepAfter = 90_000;

/** What the dispatcher needs of its town. */
export interface Host {
  write<T>(fn: (t: Tx) => T): T;
  container(): ControlAPI;
  /** Keeps the town awake until work has ended. */
  keep(work: Promise<void>): void;
}

/** A call to the container that a step wants. */
interface Call {
  ask: () => Promise<(t: Tx) => void>;
  end: () => void; // when it has ended, or is not made after all
}

export class Dispatcher {
  private readonly gates = new Gates();
  private readonly calling = new Set<string>(); // merges that the container is being asked for
  private readonly sent = new Set<string>(); // orders that were sent at once
  private readonly silent = new Map<string, number>();
  private lastRig = ""; // that was given an agent last
  private recovered = false; // beads that were in progress at the start are looked after
  private failures = 0; // passes in a row in which something failed
  private due = 0; // of the pass that runs: when the next is needed, 0 for never
  private queued: Call[] = []; // calls of the step that runs

  constructor(private readonly host: Host) {}

  /** Looks at everything once, and returns when to look again, 0 for not by time alone. */
  pass(): number {
    this.due = 0;
    const steps: [what: string, step: (t: Tx) => unknown][] = [
      ["leases", endLeases],
      ["breaker", checkBreaker],
      ["idle agents", watchIdle],
      ["silent agents", (t) => watchSilent(t, this.silent)],
      ["strays", clearStrays],
      ["convoys", moveConvoys],
      ["merges", (t) => this.moveMerges(t)],
      ["orders", (t) => this.sendOrders(t)],
      ["beads", (t) => this.handOut(t)],
      ["deadlines", (t) => this.lookAhead(t)],
    ];
    let failed = false;
    for (const [what, step] of steps) {
      try {
        const again = this.host.write(step);
        this.wakeAt(typeof again === "number" ? again : 0);
        this.launch();
      } catch (error) {
        failed = true;
        for (const call of this.queued.splice(0)) {
          call.end(); // what it is for was not written down
        }
        console.error({ message: "town pass failed", step: what, error: messageOf(error) });
      }
    }
    this.failures = failed ? this.failures + 1 : 0;
    if (failed) {
      this.wakeAt(this.host.write((t) => t.now) + delayAt(gateDelays, this.failures - 1));
    }
    return this.due;
  }

  private wakeAt(at: number): void {
    this.due = sooner(this.due, at);
  }

  /** Finds when time alone changes something. What is past due waits for something else, which wakes us. */
  private lookAhead(t: Tx): void {
    const at = nextDeadline(t);
    if (at > t.now) {
      this.wakeAt(at);
    }
  }

  /** Makes the calls of a step whose changes are written down; what each returns is done when it has ended. */
  private launch(): void {
    for (const { ask, end } of this.queued.splice(0)) {
      const work = ask()
        .finally(end)
        .then((then) => this.owe(then));
      this.host.keep(work.catch((error: unknown) => console.error({ message: "call failed", error: messageOf(error) })));
    }
  }

  /** Writes down what a call has brought. That the bead is gone, or has moved on meanwhile, is no failure. */
  private owe(then: (t: Tx) => void): void {
    try {
      this.host.write((t) => {
        t.tell("work");
        then(t);
      });
    } catch (error) {
      if (!(error instanceof Refusal)) {
        throw error;
      }
    }
  }

  // Beads

  /** Claims ready beads and has their agents started, one for each rig in turn while there is room. */
  private handOut(t: Tx): void {
    const drained = instanceSeen(t) + asleepAfter;
    if (isDraining(t) && t.now < drained) {
      // Its successor says that it is there, or has ended unseen, and the next start wakes one.
      this.wakeAt(drained);
      return;
    }
    this.recover(t);
    wakeLater(t);
    const live = liveByRig(t);
    const places = room(
      t,
      [...live.values()].reduce((sum, n) => sum + n, 0),
      t.town.maxAgents,
    );
    this.wakeAt(places.again);
    let left = places.room;
    if (left <= 0) {
      return;
    }
    const ready = readyRigs(t);
    const turn = ready.findIndex((id) => id > this.lastRig);
    const waiting = turn < 0 ? ready : [...ready.slice(turn), ...ready.slice(0, turn)];
    for (let id = waiting.shift(); id !== undefined && left > 0; id = waiting.shift()) {
      const rig = mustHaveRig(t, id);
      const busy = live.get(id) ?? 0;
      if (rig.paused || busy >= (rig.maxAgents || rigAgents) || !this.lets(t, id) || !this.take(t, rig)) {
        continue;
      }
      this.lastRig = id;
      live.set(id, busy + 1);
      left--;
      waiting.push(id);
    }
  }

  /** Whether starts of a rig may go through, and asks for a pass when they may again. */
  private lets(t: Tx, rigId: string): boolean {
    const waits = standby(t);
    if (waits) {
      this.wakeAt(Date.parse(waits.until));
      return false;
    }
    for (const gate of [ofContainer, ofRig(rigId)]) {
      if (!this.gates.lets(t, gate)) {
        this.wakeAt(this.gates.opens(t, gate));
        return false;
      }
    }
    return true;
  }

  /** Claims the next bead of a rig and has its agent started, unless none is ready any more. */
  private take(t: Tx, rig: Rig): boolean {
    const bead = claimNext(t, rig.rigId);
    if (bead) {
      claimed(t, bead);
      this.begin(t, rig, bead, tryStart);
    }
    return bead !== undefined;
  }

  /** Looks once after the beads that were in progress when this object began: their agents may never have been asked for. */
  private recover(t: Tx): void {
    if (this.recovered) {
      return;
    }
    this.recovered = true;
    for (const b of t.all<BeadRow>(/* sql */ `SELECT ${beadColumns} FROM beads WHERE status = 'in_progress'`)) {
      this.begin(t, mustHaveRig(t, b.rigId), b, recoverStart);
    }
  }

  private begin(t: Tx, rig: Rig, bead: BeadRow, start: typeof tryStart): void {
    const req = startRequest(t, rig, bead);
    const gates = [ofContainer, ofRig(rig.rigId)];
    this.gates.enter(...gates);
    this.queued.push({
      ask: async () => {
        const end = await start(this.host.container(), req);
        return (t) => this.settle(t, bead, end);
      },
      end: () => this.gates.leave(...gates),
    });
  }

  /** Does what follows from a start. Each claim that did not start ends here, but for those of which nobody knows: their leases end, or heartbeats renew them. */
  private settle(t: Tx, bead: BeadRow, end: StartFailure | undefined): void {
    const facts = { bead: bead.id, agent: bead.agentId, epoch: bead.epoch };
    if (!end) {
      this.gates.succeed(t, ofContainer, ofRig(bead.rigId));
      console.info({ message: "bead handed out", ...facts });
      return;
    }
    console.warn({ message: "bead not handed out", ...facts, why: end.reason, blame: end.blame });
    switch (end.blame) {
      case "nobody":
        handBack(t, bead, end.reason, t.now + 1000, end.generation);
        return;
      case "container":
        this.shut(t, ofContainer, end, { title: "The container starts no agents", cause: "container" });
        handBack(t, bead, end.reason, null, 0);
        return;
      case "rig": {
        const { rigId } = bead;
        this.shut(t, ofRig(rigId), end, { title: `The remote of rig ${rigId} cannot be reached`, cause: `remote:${rigId}`, rigId });
        handBack(t, bead, end.reason, null, 0);
        return;
      }
      case "bead":
        released(t, bead.id, bead.epoch, end.reason);
        return;
      case "request":
        applyByID(t, bead.id, { event: "block", epoch: bead.epoch, reason: end.reason, cause: `start:${bead.rigId}` });
        return;
      case "unknown":
        this.gates.fail(t, ofContainer, end.reason, 0);
    }
  }

  /** Shuts a gate, and tells people of the fourth failure in a row. */
  private shut(t: Tx, gate: string, end: StartFailure, req: { title: string; cause: string; rigId?: string }): void {
    if (this.gates.fail(t, gate, end.reason, end.retryAfter) === complainAfter) {
      raise(t, { ...req, severity: "high", body: end.reason });
    }
  }

  // Merges

  private moveMerges(t: Tx): void {
    for (const rigId of rigsToMerge(t)) {
      this.beginMerge(t, rigId);
    }
    const instance = instanceID(t);
    for (const m of mergesUnderWay(t)) {
      this.askMerge(t, m, instance);
    }
    this.wakeAt(watchReviews(t));
  }

  /** Takes the next merge of a rig out of its queue. */
  private beginMerge(t: Tx, rigId: string): void {
    const m = nextMerge(t, rigId);
    if (!m) {
      return;
    }
    const rig = mustHaveRig(t, rigId);
    const b = loadBead(t, m.beadId);
    if (!rig.merge?.review || b.type === "convoy" || m.reviewer !== "") {
      setMerge(t, m.id, "merging", "asked the container");
    } else if (this.lets(t, rigId)) {
      this.beginReview(t, m, b, rig);
    }
  }

  /** Has the refinery of a rig look at a merge. */
  private beginReview(t: Tx, m: MergeRow, b: BeadRow, rig: Rig): void {
    const req = beginReview(t, m, b, rig);
    const gates = [ofContainer, ofRig(rig.rigId)];
    this.gates.enter(...gates);
    this.queued.push({
      ask: async () => {
        const end = await tryStart(this.host.container(), req);
        return (t) => this.reviewStarted(t, m, end);
      },
      end: () => this.gates.leave(...gates),
    });
  }

  private reviewStarted(t: Tx, m: MergeRow, end: StartFailure | undefined): void {
    if (!end) {
      this.gates.succeed(t, ofContainer, ofRig(m.rigId));
      return;
    }
    console.warn({ message: "review not begun", merge: m.id, why: end.reason });
    if (end.blame === "container" || end.blame === "rig") {
      this.gates.fail(t, end.blame === "rig" ? ofRig(m.rigId) : ofContainer, end.reason, end.retryAfter);
    }
    reviewEnded(t, m.id, end.reason);
  }

  /** Asks the container for a merge unless it was asked already. */
  private askMerge(t: Tx, m: MergeRow, instance: string): void {
    if (this.calling.has(m.id)) {
      return;
    }
    const asked = loadAsked(t, m.id);
    if (m.status === "merging" && asked.instance !== "" && asked.instance !== instance) {
      asked.again = 0; // another container: it knows nothing of it
    }
    if (m.status === "pull_request" && !asked.pull) {
      asked.pull = 1;
      asked.failures = 0;
      asked.again = t.now + delayAt(pullDelays, 0);
      saveAsked(t, m.id, asked);
    }
    const opens = this.gates.lets(t, ofContainer) ? 0 : this.gates.opens(t, ofContainer);
    const rig = findRig(t, m.rigId);
    if (t.now < asked.again || opens > 0 || !rig) {
      this.wakeAt(Math.max(asked.again, opens));
      return;
    }
    const req = mergeRequest(t, m, loadBead(t, m.beadId), rig);
    this.calling.add(m.id);
    this.queued.push({
      ask: async () => {
        const answer = await this.host
          .container()
          .merge(req)
          .catch((error: unknown) => error);
        return (t) => this.mergeAnswered(t, m, rig, instance, answer);
      },
      end: () => this.calling.delete(m.id),
    });
  }

  /** Takes the container's answer to the request for a merge. */
  private mergeAnswered(t: Tx, m: MergeRow, rig: Rig, instance: string, answer: unknown): void {
    const asked = { ...loadAsked(t, m.id), instance };
    const refused = answer instanceof ContainerError && (answer.status === 400 || answer.status === 404);
    if (refused) {
      console.warn({ message: "merge refused", merge: m.id, error: answer.message });
      mergeCompleted(t, m.rigId, m.id, { status: "failed", message: answer.message });
      return;
    }
    if (!isMergeResult(answer)) {
      // It may have been taken: asking again joins it.
      console.warn({ message: "merge not asked for", merge: m.id, error: messageOf(answer) });
      saveAsked(t, m.id, { ...asked, again: t.now + delayAt(mergeDelays, asked.failures), failures: asked.failures + 1 });
      return;
    }
    if (m.status === "pull_request") {
      saveAsked(t, m.id, { ...asked, again: t.now + delayAt(pullDelays, asked.failures), failures: asked.failures + 1 });
    } else {
      saveAsked(t, m.id, { ...asked, again: t.now + mergeTime(rig), failures: 0 });
    }
    const status = outcomes.find((o) => o === answer.status);
    if (status) {
      mergeCompleted(t, m.rigId, m.id, outcomeOf(m.id, status, answer)); // others are reported
    }
  }

  // Orders

  /** Carries orders out at once: heartbeats carry them too, but only with the next tick. What fails for now is left to them. */
  private sendOrders(t: Tx): void {
    const orders = openOrders(t);
    for (const id of this.sent) {
      if (!orders.some((o) => o.id === id)) {
        this.sent.delete(id);
      }
    }
    if (t.now - instanceSeen(t) > asleepAfter || !this.gates.lets(t, ofContainer)) {
      return;
    }
    for (const o of orders) {
      if (!this.sent.has(o.id)) {
        this.sent.add(o.id);
        this.queued.push({
          ask: async () => {
            const result = await carryOut(this.host.container(), o);
            return (t) => ordersDone(t, result ? [result] : []);
          },
          end: () => {},
        });
      }
    }
  }
}

const outcomes: readonly MergeOutcome["status"][] = [
  "merged",
  "nothing",
  "conflict",
  "race",
  "gates_failed",
  "auth",
  "network",
  "pull_request",
  "closed",
  "failed",
];

function isMergeResult(answer: unknown): answer is MergeResult {
  return typeof answer === "object" && answer !== null && !(answer instanceof Error);
}

/** The answers after which an order stays refused. */
const forGood = [400, 404, 409, 410, 413];

/** Carries an order out by the call that it stands for, and says what is known to be decided. Each may be repeated. */
async function carryOut(c: ControlAPI, o: Order): Promise<{ id: string; error?: string } | undefined> {
  const agentId = o.agentId ?? "";
  try {
    switch (o.kind) {
      case "stop":
        await c.stop(agentId, o.data);
        break;
      case "message":
        await c.message(agentId, o.data, o.id);
        break;
      case "forget":
        await c.forget(agentId);
        break;
      default:
        return undefined;
    }
    return { id: o.id };
  } catch (error) {
    const status = error instanceof ContainerError ? error.status : 0;
    if (o.kind === "forget" && status === 409) {
      return undefined; // it is live: heartbeats carry the order until it has ended
    }
    return forGood.includes(status) ? { id: o.id, error: messageOf(error) } : undefined;
  }
}
