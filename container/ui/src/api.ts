/** The control API and the coordinator's calls, as far as the dashboard needs them. */
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Agent = Schemas["Agent"];
export type TownAgent = Schemas["TownAgent"];
export type TownStatus = Schemas["TownStatus"];
export type Bead = Schemas["Bead"];
export type BeadPatch = Schemas["BeadPatch"];
export type BeadRequest = Schemas["BeadRequest"];
export type Note = Schemas["Note"];
export type Merge = Schemas["Merge"];
export type Question = Schemas["Question"];
export type Escalation = Schemas["Escalation"];
export type Mail = Schemas["Mail"];
export type Health = Schemas["Health"];
export type Screen = Schemas["Screen"];
export type Diff = Schemas["Diff"];
export type AgentEvent = Schemas["Event"];
export type EventPage = Schemas["EventPage"];
export type Run = Schemas["Run"];
export type Ticket = Schemas["TicketResponse"];

/** What the server tells before anyone has signed in. */
export interface About {
  townId: string;
  version: string;
  hall: boolean;
}

/** An answer that is not the one asked for; message is the server's own words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The page's own place: the server may be reached below a path of another one. */
export const base = new URL("./", location.href.split("#")[0]);

export async function about(): Promise<About> {
  const response = await fetch(new URL("ui/town.json", base));
  if (!response.ok) throw new ApiError(response.status, "the town does not answer");
  return response.json();
}

const path = (id: string) => encodeURIComponent(id);

/** As many events as the server gives at once. */
const pageEvents = 2000;

type Query = Record<string, string | number | undefined>;

function query(values: Query): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value !== "") params.set(name, String(value));
  }
  const text = params.toString();
  return text ? `?${text}` : "";
}

/** A new key: crypto.randomUUID is not there on plain http. */
function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

async function problem(response: Response): Promise<ApiError> {
  const text = await response.text();
  let message = text.slice(0, 400) || response.statusText;
  try {
    const parsed: { detail?: string; issues?: { path: string; message: string }[] } = JSON.parse(text);
    message = parsed.issues?.map((i) => `${i.path}: ${i.message}`).join("; ") || parsed.detail || message;
  } catch {
    // not a problem document: its text is what there is
  }
  return new ApiError(response.status, message);
}

/** Calls with the token of a person. refused is told when the token is not this town's. */
export class Client {
  constructor(
    readonly townId: string,
    private readonly token: string,
    private readonly refused: () => void,
  ) {}

  async fetch(
    method: string,
    to: string,
    init: { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal } = {},
  ) {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.token}`, ...init.headers };
    if (method === "POST") headers["Idempotency-Key"] ??= newKey();
    const request: RequestInit = { method, headers, cache: "no-store", credentials: "omit" };
    if (init.body !== undefined) {
      headers["Content-Type"] = "application/json";
      request.body = JSON.stringify(init.body);
    }
    if (init.signal) request.signal = init.signal;
    const response = await fetch(new URL(to, base), request);
    if (response.ok) return response;
    if (response.status === 401) this.refused();
    throw await problem(response);
  }

  private async call<T>(method: string, to: string, body?: unknown): Promise<T> {
    const response = await this.fetch(method, to, { body });
    return response.json();
  }

  private get town() {
    return `api/towns/${path(this.townId)}`;
  }

  agents = () => this.call<{ agents: Agent[] }>("GET", "agents").then((r) => r.agents);
  health = async (): Promise<Health> => {
    const response = await fetch(new URL("health", base), { cache: "no-store" });
    return response.json(); // 503 has the same body
  };
  screen = (id: string) => this.call<Screen>("GET", `agents/${path(id)}/screen`);
  events = (id: string, after: number, limit: number) =>
    this.call<EventPage>("GET", `agents/${path(id)}/events${query({ after, limit })}`);
  diff = (id: string) => this.call<Diff>("GET", `agents/${path(id)}/diff${query({ maxBytes: 1 << 20 })}`);
  ticket = (id: string, mode: "read" | "write") =>
    this.call<Ticket>("POST", `agents/${path(id)}/stream-ticket`, { mode });
  stop = (id: string) => this.call("POST", `agents/${path(id)}/stop`, {});
  forget = (id: string) => this.call("DELETE", `agents/${path(id)}`);
  message = (id: string, prompt: string, deliver: string) =>
    this.call<{ messageId: string }>("POST", `agents/${path(id)}/message`, { prompt, deliver });

  /** Bytes of a run in a range; null when none of them are held. */
  async tail(
    id: string,
    run: string,
    range: string,
    signal: AbortSignal,
  ): Promise<{ data: Uint8Array; next: number } | null> {
    try {
      const response = await this.fetch("GET", `agents/${path(id)}/transcript${query({ run })}`, {
        headers: { Range: `bytes=${range}` },
        signal,
      });
      const data = new Uint8Array(await response.arrayBuffer());
      const last = /bytes \d+-(\d+)/.exec(response.headers.get("Content-Range") ?? "")?.[1];
      return { data, next: last === undefined ? data.length : Number(last) + 1 };
    } catch (err) {
      if (err instanceof ApiError && err.status === 416) return null;
      throw err;
    }
  }

  async recording(id: string, run: string, signal: AbortSignal): Promise<string> {
    const to = `agents/${path(id)}/transcript${query({ run, format: "asciicast" })}`;
    return (await this.fetch("GET", to, { signal })).text();
  }

  /** All that is held of what an agent did. */
  async allEvents(id: string): Promise<AgentEvent[]> {
    const all: AgentEvent[] = [];
    for (let after = 0, more = true; more; ) {
      const page = await this.events(id, after, pageEvents);
      all.push(...page.events);
      after = page.next;
      more = page.events.length === pageEvents;
    }
    return all;
  }

  status = () => this.call<TownStatus>("GET", `${this.town}/status`);
  setPaused = (paused: string) => this.call<TownStatus>("PATCH", `${this.town}/settings`, { paused });
  beads = (q: Query) => this.call<{ beads: Bead[]; next?: string }>("GET", `${this.town}/beads${query(q)}`);
  bead = (id: string) => this.call<Bead>("GET", `${this.town}/beads/${path(id)}`);
  createBead = (rig: string, bead: BeadRequest) =>
    this.call<Bead>("POST", `${this.town}/rigs/${path(rig)}/beads`, bead);
  patchBead = (id: string, patch: BeadPatch) => this.call<Bead>("PATCH", `${this.town}/beads/${path(id)}`, patch);
  retryBead = (id: string, reason: string) =>
    this.call<Bead>("POST", `${this.town}/beads/${path(id)}/retry`, { reason });
  closeBead = (id: string, reason: string) =>
    this.call<Bead>("POST", `${this.town}/beads/${path(id)}/close`, { reason });
  notes = (id: string) =>
    this.call<{ notes: Note[] }>("GET", `${this.town}/beads/${path(id)}/notes`).then((r) => r.notes);
  addNote = (id: string, text: string) => this.call<Note>("POST", `${this.town}/beads/${path(id)}/notes`, { text });
  runs = (q: Query) => this.call<{ runs: Run[] }>("GET", `${this.town}/runs${query(q)}`).then((r) => r.runs);
  merges = () => this.call<{ merges: Merge[] }>("GET", `${this.town}/merges`).then((r) => r.merges);
  questions = () => this.call<{ questions: Question[] }>("GET", `${this.town}/questions`).then((r) => r.questions);
  answer = (id: string, answer: string) =>
    this.call<Question>("POST", `${this.town}/questions/${path(id)}/answer`, { answer });
  escalations = () =>
    this.call<{ escalations: Escalation[] }>("GET", `${this.town}/escalations`).then((r) => r.escalations);
  settle = (id: string, how: "acknowledge" | "close", answer: string) =>
    this.call<Escalation>("POST", `${this.town}/escalations/${path(id)}/${how}`, { answer });
  mail = () => this.call<{ mail: Mail[] }>("GET", `${this.town}/mail${query({ all: "true" })}`).then((r) => r.mail);
  sendMail = (to: string, subject: string, body: string) =>
    this.call<Mail>("POST", `${this.town}/mail`, { to, subject, body });
}
