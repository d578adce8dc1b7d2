/** The town as it is now: read again and again while someone looks, and kept for every view. */
import { useEffect, useState } from "preact/hooks";
import { type Agent, ApiError, type Bead, type Client, type TownAgent, type TownStatus } from "./api";

/** An agent as the container and the coordinator know it. */
export interface Resident extends Agent {
  why: string;
  says: string;
}

export interface View {
  agents: Resident[];
  status: TownStatus | null; // null where the coordinator is elsewhere
  failed: Bead[];
  loaded: boolean;
  problem: string; // why what is shown may be old; "" when it is not
}

const every = 1000;
const empty: View = { agents: [], status: null, failed: [], loaded: false, problem: "" };

export class Town {
  view = empty;
  private listeners = new Set<() => void>();
  private timer = 0;
  private running = false;
  private asked = false;
  private stopped = false;

  constructor(
    readonly client: Client,
    readonly hall: boolean,
  ) {}

  start(): () => void {
    const visible = () => {
      if (!document.hidden) this.refresh();
    };
    document.addEventListener("visibilitychange", visible);
    this.refresh();
    return () => {
      document.removeEventListener("visibilitychange", visible);
      clearTimeout(this.timer);
      this.stopped = true;
    };
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Reads the town now: after something was done that changes it. */
  refresh(): void {
    if (this.stopped) return;
    if (this.running) {
      this.asked = true;
      return;
    }
    this.running = true;
    clearTimeout(this.timer);
    this.read()
      .then((view) => this.show(view))
      .catch((err: unknown) => this.show({ ...this.view, problem: reason(err) }))
      .finally(() => {
        this.running = false;
        const soon = this.asked;
        this.asked = false;
        if (soon) this.refresh();
        else if (!document.hidden && !this.stopped) this.timer = window.setTimeout(() => this.refresh(), every);
      });
  }

  private show(view: View) {
    this.view = view;
    for (const listener of this.listeners) listener();
  }

  private async read(): Promise<View> {
    const [agents, status] = await Promise.all([this.client.agents(), this.hall ? this.client.status() : null]);
    let failed: Bead[] = [];
    if (status && (status.beads.failed ?? 0) > 0)
      failed = (await this.client.beads({ status: "failed", limit: 20 })).beads;
    const known = new Map(status?.agents.map((a) => [a.agentId, a]));
    return { agents: agents.map((a) => resident(a, known.get(a.agentId))), status, failed, loaded: true, problem: "" };
  }
}

function reason(err: unknown): string {
  if (err instanceof ApiError) return err.message;
  return "The town does not answer. Trying again…";
}

function resident(a: Agent, t: TownAgent | undefined): Resident {
  return { ...a, why: t?.why ?? a.error ?? "", says: t?.says ?? "" };
}

export function useTown(town: Town): View {
  const [view, set] = useState(town.view);
  useEffect(() => {
    set(town.view);
    return town.subscribe(() => set(town.view));
  }, [town]);
  return view;
}

export const live = (a: Agent) => a.status === "starting" || a.status === "running" || a.status === "stopping";

/** One word for how an agent is. */
export function state(a: Agent): string {
  if (a.status === "running") return a.turn.state === "idle" ? "idle" : "working";
  if (a.status === "exited" || a.status === "failed") return a.reason ?? a.status;
  return a.status;
}

/** The colour class of a state. */
export function tone(a: Agent): string {
  if (a.status === "failed") return "bad";
  if (a.reason === "blocked" || a.reason === "waiting") return "warn";
  if (a.status === "running") return a.turn.state === "idle" ? "calm" : "good";
  return a.status === "exited" ? "calm" : "good";
}
