/** The town as it is now: followed while someone looks, and kept for every view. */
import { useEffect, useState } from "preact/hooks";
import { type Agent, ApiError, type Bead, type Client, type TownAgent, type TownStatus } from "./api";
import { Feed } from "./feed";

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

const empty: View = { agents: [], status: null, failed: [], loaded: false, problem: "" };

export class Town {
  view = empty;
  private listeners = new Set<() => void>();
  private agents: Agent[] | null = null;
  private status: TownStatus | null = null;
  private failed: Bead[] = [];
  private problems = { agents: "", status: "" };
  private readonly feeds: Feed<unknown>[];

  constructor(
    readonly client: Client,
    readonly hall: boolean,
  ) {
    const agents = new Feed((signal) => client.followAgents(signal), {
      value: (value) => {
        this.agents = value;
        this.show("agents", "");
      },
      lost: (err) => {
        if (client.away) this.agents = [];
        this.show("agents", client.away ? "" : reason(err));
      },
    });
    const status = new Feed(client.followStatus, {
      value: (value) => this.take(value),
      lost: (err) => this.show("status", reason(err)),
    });
    this.feeds = hall ? [agents, status] : [agents];
  }

  start(): () => void {
    // A page that nobody sees leaves its connections to those that are seen: a browser has six for all of them.
    const look = () => {
      for (const feed of this.feeds) {
        if (document.hidden) feed.close();
        else feed.open();
      }
    };
    document.addEventListener("visibilitychange", look);
    look();
    return () => {
      document.removeEventListener("visibilitychange", look);
      for (const feed of this.feeds) feed.close();
    };
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Shows the town as it is now: after something was done that changes it. */
  refresh(): void {
    for (const feed of this.feeds) feed.renew();
  }

  private take(status: TownStatus) {
    this.status = status;
    if ((status.beads.failed ?? 0) === 0) this.failed = [];
    else void this.readFailed(status);
    this.show("status", "");
  }

  private async readFailed(of: TownStatus) {
    try {
      const { beads } = await this.client.beads({ status: "failed", limit: 20 });
      if (this.status !== of) return; // a newer one is read for itself
      this.failed = beads;
      this.show("status", "");
    } catch {
      // the feeds tell of it, and what they bring next is read again
    }
  }

  private show(what: "agents" | "status", problem: string) {
    this.problems[what] = problem;
    const { agents, status, failed, problems } = this;
    const known = new Map(status?.agents.map((a) => [a.agentId, a]));
    this.view = {
      agents: agents?.map((a) => resident(a, known.get(a.agentId))) ?? [],
      status,
      failed,
      loaded: agents !== null && (status !== null || !this.hall),
      problem: problems.agents || problems.status,
    };
    for (const listener of this.listeners) listener();
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
