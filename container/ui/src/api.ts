/** The control API and the coordinator's calls, as far as the dashboard needs them. */
import type { components } from "./schema";
import { eventData } from "./sse";

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
export type Quota = Schemas["Quota"];
export type Screen = Schemas["Screen"];
export type Diff = Schemas["Diff"];
export type Artifacts = Schemas["Artifacts"];
export type AgentEvent = Schemas["Event"];
export type EventPage = Schemas["EventPage"];
export type Run = Schemas["Run"];
export type Ticket = Schemas["TicketResponse"];
export type Share = Schemas["Share"];
export type ShareMade = Schemas["ShareMade"];
export type ShareList = Schemas["ShareList"];
export type SharedRun = Schemas["SharedRun"];

/** What the server tells before anyone has signed in. Addresses are relative to the page's. */
export interface About {
  townId: string; // "" on the page of all towns
  hall: boolean;
  control: string; // the address of the control API
  coordinator: string; // the address of the coordinator's calls for this town
  towns: string; // the page of all towns, "" where there is one only
  signedIn: boolean; // without a token, by what the browser sends itself
  sharing: boolean; // links to runs can be made here
}

/** What a problem is when the container of a town sleeps, starts or cannot be reached. */
const containerAway = "urn:townd:container-away";

/** An answer that is not the one asked for; message is the server's own words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly type = "about:blank",
  ) {
    super(message);
  }
}

/** Why the container does not answer, in the server's words; "" when err is another. */
function awayOf(err: unknown): string {
  return err instanceof ApiError && err.type === containerAway ? err.message : "";
}

/** The page's own place: the server may be reached below a path of another one. */
export const base = new URL("./", location.href.split("#")[0]);

export async function about(): Promise<About> {
  const response = await fetch(new URL("ui/town.json", base));
  if (!response.ok) throw new ApiError(response.status, "the town does not answer");
  const told: Partial<About> & { townId: string; hall: boolean } = await response.json();
  return {
    control: ".",
    coordinator: `api/towns/${path(told.townId)}`,
    towns: "",
    signedIn: false,
    sharing: true,
    ...told,
  };
}

const path = (id: string) => encodeURIComponent(id);

/** As many events as the server gives at once. */
const pageEvents = 2000;
/** A stream of events brings a comment every 15 s at least. */
const silentMs = 40_000;

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
  let type: string | undefined;
  try {
    const parsed: { type?: string; detail?: string; issues?: { path: string; message: string }[] } = JSON.parse(text);
    type = parsed.type;
    message = parsed.issues?.map((i) => `${i.path}: ${i.message}`).join("; ") || parsed.detail || message;
  } catch {
    // not a problem document: its text is what there is
  }
  return new ApiError(response.status, message, type);
}

interface Init {
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** Calls with a token, or without one (""). refused is told when that opens nothing, or nothing any more. */
class Caller {
  constructor(
    private readonly token: string,
    private readonly refused: () => void,
  ) {}

  async fetch(method: string, to: string, init: Init = {}) {
    const response = await this.send(method, to, init);
    if (response.ok) return response;
    if (response.status === 401) this.refused();
    throw await problem(response);
  }

  protected send(method: string, to: string, init: Init): Promise<Response> {
    const headers: Record<string, string> = { ...init.headers };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    if (method === "POST") headers["Idempotency-Key"] ??= newKey();
    const request: RequestInit = { method, headers, cache: "no-store" };
    if (init.body !== undefined) {
      headers["Content-Type"] = "application/json";
      request.body = JSON.stringify(init.body);
    }
    if (init.signal) request.signal = init.signal;
    return fetch(new URL(to, base), request);
  }

  protected async call<T>(method: string, to: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    const response = await this.fetch(method, to, signal ? { body, signal } : { body });
    return response.json();
  }
}

/** Calls of who has a shared link, with what stands in it. */
export class Guest extends Caller {
  readonly control = ".";
  run = () => this.call<SharedRun>("GET", "shared");
  ticket = () => this.call<Ticket>("POST", "shared/stream-ticket", { mode: "read" });
  events = (after: number) => this.call<EventPage>("GET", `shared/events${query({ after })}`);
  recording = async (signal: AbortSignal) =>
    (await this.fetch("GET", `shared/transcript${query({ format: "asciicast" })}`, { signal })).text();
}

/** Calls of a person: with the token, or without one where the browser's own cookie lets in. */
export class Client extends Caller {
  /** Why the container does not answer, in the server's words; "" while it does. Without it there are no agents. */
  away = "";

  constructor(
    private readonly about: About,
    token: string,
    refused: () => void,
  ) {
    super(token, refused);
  }

  private get town() {
    return this.about.coordinator;
  }

  get control() {
    return this.about.control;
  }

  get sharing() {
    return this.about.sharing;
  }

  /** What a call answers, and again whenever that has changed. */
  private async *follow<T>(to: string, signal: AbortSignal): AsyncGenerator<T> {
    const open = (signal: AbortSignal) => this.fetch("GET", to, { headers: { Accept: "text/event-stream" }, signal });
    for await (const data of eventData(open, signal, silentMs)) yield JSON.parse(data);
  }

  /** Asks for what only those get who are signed in. */
  async enter() {
    try {
      await this.call("GET", this.about.townId ? `${this.control}/agents` : "api/towns");
    } catch (err) {
      if (!awayOf(err)) throw err;
    }
  }
  towns = () => this.call<{ towns: string[] }>("GET", "api/towns").then((r) => r.towns);

  async *followAgents(signal: AbortSignal): AsyncGenerator<Agent[]> {
    try {
      for await (const { agents } of this.follow<{ agents: Agent[] }>(`${this.control}/agents`, signal)) {
        this.away = "";
        yield agents;
      }
    } catch (err) {
      this.away = awayOf(err);
      throw err;
    }
  }
  followStatus = (signal: AbortSignal) => this.follow<TownStatus>(`${this.town}/status`, signal);
  health = async (): Promise<Health> => {
    const response = await this.send("GET", `${this.control}/health`, {});
    if (response.headers.get("Content-Type") === "application/problem+json") throw await problem(response);
    return response.json(); // 503 has the same body
  };
  screen = (id: string, signal: AbortSignal) =>
    this.call<Screen>("GET", `${this.control}/agents/${path(id)}/screen`, undefined, signal);
  events = (id: string, after: number, limit: number, signal?: AbortSignal) =>
    this.call<EventPage>(
      "GET",
      `${this.control}/agents/${path(id)}/events${query({ after, limit })}`,
      undefined,
      signal,
    );
  diff = (id: string) =>
    this.call<Diff>("GET", `${this.control}/agents/${path(id)}/diff${query({ maxBytes: 1 << 20 })}`);
  artifacts = (id: string, run: string) =>
    this.call<Artifacts>("GET", `${this.control}/agents/${path(id)}/artifacts${query({ run })}`);
  artifact = async (id: string, run: string, name: string) =>
    (await this.fetch("GET", `${this.control}/agents/${path(id)}/artifacts/${path(name)}${query({ run })}`)).blob();
  ticket = (id: string, mode: "read" | "write") =>
    this.call<Ticket>("POST", `${this.control}/agents/${path(id)}/stream-ticket`, { mode });
  shares = () => this.call<ShareList>("GET", `${this.control}/shares`);
  share = (id: string, run: string, seconds: number) =>
    this.call<ShareMade>("POST", `${this.control}/agents/${path(id)}/shares`, { run, seconds });
  unshare = (share: string) => this.call("DELETE", `${this.control}/shares/${path(share)}`);
  stop = (id: string) => this.call("POST", `${this.control}/agents/${path(id)}/stop`, {});
  forget = (id: string) => this.call("DELETE", `${this.control}/agents/${path(id)}`);
  /** Says something to an agent. One that has ended to wait is started again with it; then there is no messageId. */
  async message(id: string, prompt: string, deliver: string): Promise<string | undefined> {
    try {
      const to = `${this.control}/agents/${path(id)}/message`;
      return (await this.call<{ messageId: string }>("POST", to, { prompt, deliver })).messageId;
    } catch (err) {
      if (!(err instanceof ApiError && err.status === 409)) throw err;
      const to = `${this.town}/agents/${path(id)}/nudge`;
      return (await this.call<{ orderId?: string }>("POST", to, { message: prompt })).orderId;
    }
  }

  /** Bytes of a run in a range; null when none of them are held. */
  async tail(
    id: string,
    run: string,
    range: string,
    signal: AbortSignal,
  ): Promise<{ data: Uint8Array; next: number } | null> {
    try {
      const response = await this.fetch("GET", `${this.control}/agents/${path(id)}/transcript${query({ run })}`, {
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
    const to = `${this.control}/agents/${path(id)}/transcript${query({ run, format: "asciicast" })}`;
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

  setPaused = (paused: string) => this.call<TownStatus>("PATCH", `${this.town}/settings`, { paused });
  setMinQuota = (minQuotaPercent: number) =>
    this.call<TownStatus>("PATCH", `${this.town}/settings`, { minQuotaPercent });
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
