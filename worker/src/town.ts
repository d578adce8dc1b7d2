// The coordinator of one town.
import { DurableObject } from "cloudflare:workers";
import { spareLeases } from "./apply";
import { reach } from "./containers";
import { ControlAPI } from "./controlapi";
import { Dispatcher, type Host } from "./dispatch";
import { gone, messageOf, problem, unauthorized } from "./errors";
import type { Hall } from "./hall";
import { Live } from "./live";
import { serve } from "./router";
import { migrate } from "./schema";
import { townStatus } from "./status";
import { defaults, type Topic, type TownConfig, Tx } from "./store";
import { tidy } from "./tidy";
import { type Delivery, destination, handleDeliveries, keepDelivery } from "./webhook";

/** Set by the Worker, and by it alone: the epoch of the container that calls. */
export const epochHeader = "X-Townd-Container-Epoch";

/** An alarm that is so late, in milliseconds, was late for heartbeats too. */
const late = 15_000;

const tidyEvery = 3_600_000;

export class TownDO extends DurableObject<Env> implements Hall, Host {
  private readonly config: TownConfig;
  private readonly dispatcher = new Dispatcher(this);
  private readonly waiting: Record<Topic, Set<(changed: boolean) => void>> = { work: new Set(), events: new Set(), questions: new Set() };
  readonly status = new Live("status", this, () => this.read(townStatus));
  private alarmAt = 0; // as it is set, 0 for none or unknown
  private passing = false; // a pass comes by itself
  private tidyAt = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const beads = {
      depth: Number(env.AGENT_BEADS_DEPTH) || 3,
      perBead: Number(env.AGENT_BEADS_PER_BEAD) || 20,
      open: Number(env.AGENT_BEADS_OPEN) || 200,
    };
    this.config = { townId: "", maxAgents: Number(env.MAX_AGENTS) || 5, beads, ...defaults };
    migrate(ctx.storage);
    // An object that an alarm begins may not know its name.
    this.config.townId = ctx.id.name ?? this.read((t) => t.setting("town"));
    void ctx.blockConcurrencyWhile(async () => this.spareIfLate((await ctx.storage.getAlarm()) ?? Infinity));
  }

  /** Gives leases time when an alarm for that time did not come: nobody could renew them meanwhile. */
  private spareIfLate(alarm: number): void {
    if (Date.now() - alarm > late) {
      this.write(spareLeases);
    }
  }

  /** The time, in milliseconds since 1970. */
  protected now(): number {
    return Date.now();
  }

  // What operations need

  /** Runs an operation, all of it or nothing, and has looked after what it changes. */
  write<T>(fn: (t: Tx) => T): T {
    const t = new Tx(this.ctx.storage.sql, this.config, this.now());
    const made = this.ctx.storage.transactionSync(() => fn(t));
    for (const topic of t.told) {
      const waiting = [...this.waiting[topic]];
      this.waiting[topic].clear();
      for (const wake of waiting) {
        wake(true);
      }
    }
    if (t.told.has("work")) {
      this.passSoon();
    }
    return made;
  }

  read<T>(fn: (t: Tx) => T): T {
    return fn(new Tx(this.ctx.storage.sql, this.config, this.now()));
  }

  changed(topic: Topic, milliseconds: number): Promise<boolean> {
    if (milliseconds <= 0) {
      return Promise.resolve(false);
    }
    return new Promise((resolve) => {
      const wake = (changed: boolean) => {
        clearTimeout(timer);
        this.waiting[topic].delete(wake);
        resolve(changed);
      };
      const timer = setTimeout(() => wake(false), milliseconds);
      this.waiting[topic].add(wake);
    });
  }

  // What the dispatcher needs

  container(): ControlAPI {
    return new ControlAPI((path, init) => reach(this.env, this.config.townId, new Request(`http://container${path}`, init)));
  }

  keep(work: Promise<void>): void {
    this.ctx.waitUntil(work);
  }

  /** Has a pass made next. The alarm makes it if this object does not live so long. */
  private passSoon(): void {
    if (!this.passing) {
      this.passing = true;
      this.setAlarm(Date.now());
      setTimeout(() => this.pass(), 0);
    }
  }

  protected pass(): void {
    this.passing = false;
    this.doChores();
    const due = this.dispatcher.pass();
    if (!this.passing) {
      this.setAlarm(due === 0 ? 0 : Date.now() + Math.max(due - this.now(), 0));
    }
  }

  /** Looks at what GitHub has told, and now and then throws away what is kept no longer. */
  private doChores(): void {
    try {
      this.write((t) => {
        if (this.env.GITHUB_RIG !== "") {
          handleDeliveries(t, destination(this.env).rigId, this.env.GITHUB_MENTION);
        }
        if (t.now >= this.tidyAt) {
          this.tidyAt = t.now + (tidy(t) ? 0 : tidyEvery);
        }
      });
    } catch (error) {
      console.error({ message: "chores failed", error: messageOf(error) }); // the next pass does them
    }
  }

  private setAlarm(at: number): void {
    if (at !== this.alarmAt) {
      this.alarmAt = at;
      this.ctx.waitUntil(at === 0 ? this.ctx.storage.deleteAlarm() : this.ctx.storage.setAlarm(at));
    }
  }

  override alarm(info?: AlarmInvocationInfo): void {
    this.alarmAt = 0;
    this.spareIfLate(info?.scheduledTime ?? Infinity);
    this.pass();
  }

  // What others call

  /** Answers a call of the coordinator. */
  override async fetch(request: Request): Promise<Response> {
    try {
      const path = new URL(request.url).pathname.replace(/^\/api\/towns\/[^/]*/, "");
      this.keepName();
      this.checkEpoch(request, path);
      return await serve(this, request, path);
    } catch (error) {
      return problem(error);
    }
  }

  private keepName(): void {
    if (this.read((t) => t.setting("town")) === "") {
      this.write((t) => t.setSetting("town", this.config.townId));
    }
  }

  /** Lets a container that was replaced tell what has happened, and nothing else. */
  private checkEpoch(request: Request, path: string): void {
    const epoch = Number(request.headers.get(epochHeader) ?? 0);
    if (epoch === 0 || epoch === this.read((t) => Number(t.setting("containerEpoch")))) {
      return;
    }
    if (path === "/heartbeat") {
      throw gone("it was replaced by another container");
    }
    if (request.method !== "POST") {
      throw unauthorized("that is the token of a container that was replaced");
    }
  }

  /** The epoch of the container that is about to be started: containers before it are replaced. */
  nextEpoch(): number {
    return this.write((t) => {
      const epoch = Number(t.setting("containerEpoch")) + 1;
      t.setSetting("containerEpoch", String(epoch));
      return epoch;
    });
  }

  /** Whether the container must stay awake: an agent works, or a branch is being merged. An idle mayor waits for people, who wake it. */
  busy(): boolean {
    return this.read(
      (t) =>
        t.count(
          /* sql */ `SELECT EXISTS (SELECT 1 FROM beads WHERE lease_expires_at IS NOT NULL)
            OR EXISTS (SELECT 1 FROM merges WHERE status IN ('reviewing', 'merging'))
            OR EXISTS (SELECT 1 FROM agents WHERE status IN ('starting', 'running', 'stopping') AND turn_state <> 'idle' AND last_seen_at > ?) AS n`,
          t.now - t.town.lease,
        ) > 0,
    );
  }

  /** Keeps what GitHub has told; it is looked at by the next pass. */
  received(delivery: Delivery): void {
    this.write((t) => keepDelivery(t, delivery));
  }
}
