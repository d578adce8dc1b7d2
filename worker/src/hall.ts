// The coordinator's calls, those of api/openapi.yaml under /api/towns/{townId}.
import { listAgents } from "./agentrows";
import { agentSeen, completed, done, nudge, orderStop, prime, requestChanges, saveCheckpoint, sayStatus } from "./agents";
import { beadOf, loadBead } from "./beadrows";
import { closeBead, createBead, listBeads, listNotes, noteBead, patchBead, retryBead } from "./beads";
import { type Caller, leads } from "./caller";
import type { Question, Schemas } from "./contract";
import { addToConvoy, closeConvoy, createConvoy, listConvoys, loadConvoy, startConvoy } from "./convoys";
import { decode } from "./decode";
import { badParam, forbidden } from "./errors";
import { answerEscalation, escalate, listEscalations } from "./escalations";
import { appendEvents, type EventQuery, listEvents } from "./events";
import { heartbeat } from "./heartbeat";
import { type Key, once } from "./idempotency";
import { ackMail, listMail, sendMail } from "./mail";
import { listMerges, mergeCompleted } from "./merges";
import { accepts, type Params } from "./params";
import { answerQuestion, ask, cancelQuestion, getQuestion, listQuestions } from "./questions";
import { setMinQuota } from "./quota";
import { deleteRig, listRigs, mustHaveRig, putRig, withoutSecrets } from "./rigs";
import { listRuns } from "./runs";
import { townStatus } from "./status";
import type { Topic, Tx } from "./store";

/** What calls need of their town. */
export interface Hall {
  write<T>(fn: (t: Tx) => T): T;
  read<T>(fn: (t: Tx) => T): T;
  /** Waits until the topic changes, and answers whether it did within so many milliseconds. */
  changed(topic: Topic, milliseconds: number): Promise<boolean>;
}

/** One call, with what was found out about it. */
export interface HallCall {
  hall: Hall;
  request: Request;
  caller: Caller;
  ids: Record<string, string>; // of its path
  params: Params;
  data: Uint8Array; // its body
  key: Key | undefined;
}

/** An answer with a status other than 200. */
export class Reply {
  constructor(
    readonly status: number,
    readonly value: unknown,
  ) {}
}

type Handler = (c: HallCall) => unknown;

/**
 * Which agents may call a route; a person, or the town itself, may call every one. everyone:
 * the operation looks at what it is about; itself: the agent of the path; refinery: that, when
 * it is one; container: no agent, for it is what the container tells.
 */
type Who = "everyone" | "itself" | "refinery" | "mayor" | "container";

export interface Route {
  method: string;
  path: string;
  who: Who;
  handle: Handler;
}

/** Refuses an agent that a route is not for. */
export function mayCall(who: Who, { caller: { agentId, role }, ids }: HallCall): void {
  if (agentId === "" || who === "everyone") {
    return;
  }
  if (who === "container") {
    throw forbidden(`agent ${agentId}: only the container tells this`);
  }
  if (who === "mayor" && role !== "mayor") {
    throw forbidden(`agent ${agentId} is a ${role}, this is for the mayor`);
  }
  if (who !== "mayor" && ids.agentId !== agentId) {
    throw forbidden(`agent ${agentId} may not act as ${ids.agentId}`);
  }
  if (who === "refinery" && role !== "refinery") {
    throw forbidden(`agent ${agentId} is a ${role}, this is for a refinery`);
  }
}

const id = (c: HallCall, name: string) => c.ids[name] ?? "";

/** Does fn once under the call's key. */
function make<T>(c: HallCall, fn: (t: Tx) => T): T {
  return c.hall.write((t) => once(t, c.key, () => fn(t)));
}

/** A handler of a call with a body. */
function body<N extends Parameters<typeof decode>[0]>(name: N, fn: (c: HallCall, req: Schemas[N]) => unknown): Handler {
  return (c) => {
    const { value, ignored } = decode(name, c.data);
    const answer = fn(c, value);
    const named = (it: unknown) => (ignored.length > 0 && typeof it === "object" ? { ...it, ignored } : it);
    return answer instanceof Reply ? new Reply(answer.status, named(answer.value)) : named(answer);
  };
}

/** A handler of a call whose body may be left out. */
function anyBody<N extends Parameters<typeof decode>[0]>(name: N, fn: (c: HallCall, req: Schemas[N]) => unknown): Handler {
  const empty = new TextEncoder().encode("{}");
  const handle = body(name, fn);
  return (c) => handle(c.data.length === 0 ? { ...c, data: empty } : c);
}

const made = (value: unknown, created = true) => (created ? new Reply(201, value) : value);

const limit = (c: HallCall, most: number) => c.params.number("limit", 1, most, 100);

/** How long a call waits at most: proxies give up after a minute. */
const maxWaitSeconds = 55;

const wait = (c: HallCall, name: string) => c.params.number(name, 0, maxWaitSeconds, 0) * 1000;

const beadStatuses = ["open", "in_progress", "in_review", "closed", "failed"];
const beadTypes = ["issue", "bug", "feature", "chore", "docs", "convoy", "escalation"];
const mergeStatuses = "waiting reviewing merging pull_request merged conflict gates_failed rejected failed cancelled".split(" ");

function beads(c: HallCall) {
  const p = c.params;
  const query = {
    rig: p.one("rig"),
    status: p.choice("status", ...beadStatuses),
    type: p.choice("type", ...beadTypes),
    label: p.one("label"),
    convoy: p.one("convoy"),
    agent: p.one("agent"),
    q: p.one("q"),
    after: p.one("after"),
    limit: limit(c, 500),
  };
  return c.hall.read((t) => listBeads(t, query));
}

/** A question, as soon as it is no longer open but after the wait at the latest. */
async function question(c: HallCall): Promise<Question> {
  const over = Date.now() + wait(c, "waitSeconds");
  for (;;) {
    const q = c.hall.read((t) => getQuestion(t, id(c, "questionId")));
    if (!leads(c.caller) && q.agentId !== c.caller.agentId) {
      throw forbidden(`question ${q.id} is not one of agent ${c.caller.agentId}`);
    }
    if (q.status !== "open" || !(await c.hall.changed("questions", over - Date.now()))) {
      return q;
    }
  }
}

function eventQuery(c: HallCall): EventQuery {
  const p = c.params;
  const query = {
    after: p.number("after", 0, Number.MAX_SAFE_INTEGER, 0),
    agent: p.one("agent"),
    bead: p.one("bead"),
    rig: p.one("rig"),
    limit: limit(c, 1000),
  };
  const last = c.request.headers.get("Last-Event-ID"); // where an EventSource that came back was
  if (last !== null && !/^[0-9]{1,15}$/.test(last)) {
    throw badParam("Last-Event-ID", "must be a seq");
  }
  return last === null ? query : { ...query, after: Number(last) };
}

/** Events in order, as soon as there is one but after the wait at the latest. */
async function nextEvents(hall: Hall, q: EventQuery, milliseconds: number) {
  const over = Date.now() + milliseconds;
  for (;;) {
    const events = hall.read((t) => listEvents(t, q));
    if (events.length > 0 || !(await hall.changed("events", over - Date.now()))) {
      return { events, next: events.at(-1)?.seq ?? q.after };
    }
  }
}

/** How long a stream of events is silent before it says that it is there. */
const quietAfter = 15_000;

/** Sends what there is and what follows, until the caller leaves. */
function sendEvents(hall: Hall, query: EventQuery): Response {
  let milliseconds = 0; // none at first, so that the answer begins
  let after = query.after;
  const stream = new ReadableStream<string>({
    async pull(controller) {
      const { events, next } = await nextEvents(hall, { ...query, after }, milliseconds);
      after = next;
      milliseconds = quietAfter;
      const text = events.map((e) => `id: ${e.seq}\nevent: ${e.event}\ndata: ${JSON.stringify(e)}\n\n`).join("");
      controller.enqueue(text || ": quiet\n\n");
    },
  });
  return new Response(stream.pipeThrough(new TextEncoderStream()), {
    headers: { "Content-Type": "text/event-stream", "Cache-Control": "no-store" },
  });
}

function events(c: HallCall) {
  const query = eventQuery(c);
  const milliseconds = wait(c, "wait");
  return c.request.method === "GET" && accepts(c.request, "text/event-stream")
    ? sendEvents(c.hall, query)
    : nextEvents(c.hall, query, milliseconds);
}

const settings = body("TownSettings", (c, { paused, minQuotaPercent }) =>
  c.hall.write((t) => {
    if (paused !== undefined) {
      t.setSetting("paused", paused);
    }
    if (minQuotaPercent !== undefined) {
      setMinQuota(t, minQuotaPercent);
    }
    return townStatus(t);
  }),
);

const answered = (status: "acknowledged" | "closed") =>
  anyBody("EscalationAnswer", (c, req) => make(c, (t) => answerEscalation(t, c.caller, id(c, "escalationId"), req.answer ?? "", status)));

function escalated(c: HallCall, req: Schemas["EscalationRequest"]) {
  const { escalation, created } = make(c, (t) => escalate(t, c.caller, req));
  return made(escalation, created);
}

function ended(c: HallCall, req: Schemas["Completion"]) {
  make(c, (t) => {
    completed(t, id(c, "agentId"), req);
    return null;
  });
  return { completed: true };
}

/** The end of a run as earlier containers tell it: it may name no generation. */
function oldEnded(c: HallCall, req: Schemas["Completion"]) {
  const known = c.hall.read((t) => t.first<{ generation: number }>("SELECT generation FROM agents WHERE id = ?", id(c, "agentId")));
  return ended(c, { ...req, rigId: id(c, "rigId"), generation: req.generation || (known?.generation ?? 0) });
}

const route = (method: string, path: string, who: Who, handle: Handler): Route => ({ method, path, who, handle });

/** Every call of the coordinator, each also in api/openapi.yaml. */
export const routes: readonly Route[] = [
  route("GET", "/status", "mayor", (c) => c.hall.read(townStatus)),
  route("PATCH", "/settings", "mayor", settings),
  route("GET", "/rigs", "mayor", (c) => ({ rigs: c.hall.read(listRigs) })),
  route(
    "PUT",
    "/rigs/{rigId}",
    "mayor",
    body("RigSettings", (c, req) => {
      const { rig, created } = c.hall.write((t) => putRig(t, id(c, "rigId"), req));
      return made(rig, created);
    }),
  ),
  route("GET", "/rigs/{rigId}", "mayor", (c) => c.hall.read((t) => withoutSecrets(mustHaveRig(t, id(c, "rigId"))))),
  route("DELETE", "/rigs/{rigId}", "mayor", (c) => {
    c.hall.write((t) => deleteRig(t, id(c, "rigId")));
    return { deleted: true };
  }),

  route(
    "POST",
    "/rigs/{rigId}/beads",
    "everyone",
    body("BeadRequest", (c, req) => {
      const { bead, created } = make(c, (t) => createBead(t, c.caller, id(c, "rigId"), req));
      return made(bead, created);
    }),
  ),
  route("GET", "/beads", "everyone", beads),
  route("GET", "/beads/{beadId}", "everyone", (c) => c.hall.read((t) => beadOf(loadBead(t, id(c, "beadId"))))),
  route(
    "PATCH",
    "/beads/{beadId}",
    "mayor",
    body("BeadPatch", (c, req) => c.hall.write((t) => patchBead(t, c.caller, id(c, "beadId"), req))),
  ),
  route(
    "POST",
    "/beads/{beadId}/retry",
    "mayor",
    anyBody("ReasonRequest", (c, req) => make(c, (t) => retryBead(t, c.caller, id(c, "beadId"), req.reason ?? ""))),
  ),
  route(
    "POST",
    "/beads/{beadId}/close",
    "everyone",
    anyBody("CloseRequest", (c, req) => make(c, (t) => closeBead(t, c.caller, id(c, "beadId"), req))),
  ),
  route("GET", "/beads/{beadId}/notes", "everyone", (c) => ({ notes: c.hall.read((t) => listNotes(t, id(c, "beadId"))) })),
  route(
    "POST",
    "/beads/{beadId}/notes",
    "everyone",
    body("NoteRequest", (c, req) => made(make(c, (t) => noteBead(t, c.caller, id(c, "beadId"), req)))),
  ),
  route("GET", "/convoys", "mayor", (c) => {
    const rig = c.params.one("rig");
    return { convoys: c.hall.read((t) => listConvoys(t, rig)) };
  }),
  route(
    "POST",
    "/convoys",
    "mayor",
    body("ConvoyRequest", (c, req) => made(make(c, (t) => createConvoy(t, c.caller, req)))),
  ),
  route("GET", "/convoys/{convoyId}", "mayor", (c) => c.hall.read((t) => loadConvoy(t, id(c, "convoyId")))),
  route("POST", "/convoys/{convoyId}/start", "mayor", (c) => make(c, (t) => startConvoy(t, c.caller, id(c, "convoyId")))),
  route(
    "POST",
    "/convoys/{convoyId}/close",
    "mayor",
    anyBody("ReasonRequest", (c, req) => make(c, (t) => closeConvoy(t, c.caller, id(c, "convoyId"), req.reason ?? ""))),
  ),
  route(
    "POST",
    "/convoys/{convoyId}/beads",
    "mayor",
    body("ConvoyBeadRequest", (c, req) => make(c, (t) => addToConvoy(t, id(c, "convoyId"), req.beadId))),
  ),

  route("GET", "/agents", "mayor", (c) => ({ agents: c.hall.read(listAgents) })),
  route("GET", "/agents/{agentId}/prime", "itself", (c) => c.hall.read((t) => prime(t, id(c, "agentId")))),
  route(
    "POST",
    "/agents/{agentId}/done",
    "itself",
    body("DoneRequest", (c, req) => make(c, (t) => done(t, id(c, "agentId"), req))),
  ),
  route(
    "POST",
    "/agents/{agentId}/request-changes",
    "refinery",
    body("ChangesRequest", (c, req) => ({
      bead: make(c, (t) => requestChanges(t, c.caller, id(c, "agentId"), req)),
    })),
  ),
  route(
    "POST",
    "/agents/{agentId}/checkpoint",
    "itself",
    body("CheckpointRequest", (c, req) => ({
      bead: make(c, (t) => saveCheckpoint(t, id(c, "agentId"), req)),
    })),
  ),
  route(
    "POST",
    "/agents/{agentId}/status",
    "itself",
    body("SayRequest", (c, req) => c.hall.write((t) => sayStatus(t, id(c, "agentId"), req.message))),
  ),
  route(
    "POST",
    "/agents/{agentId}/ask",
    "itself",
    body("AskRequest", (c, req) => made(make(c, (t) => ask(t, id(c, "agentId"), req)))),
  ),
  route(
    "POST",
    "/agents/{agentId}/nudge",
    "everyone",
    body("NudgeRequest", (c, req) => ({
      nudged: true,
      orderId: make(c, (t) => nudge(t, c.caller, id(c, "agentId"), req)),
    })),
  ),
  route(
    "POST",
    "/agents/{agentId}/stop",
    "mayor",
    anyBody("ReasonRequest", (c, req) => ({
      ordered: true,
      orderId: make(c, (t) => orderStop(t, c.caller, id(c, "agentId"), req.reason ?? "")),
    })),
  ),
  route("GET", "/agents/{agentId}/mail", "itself", (c) => ({ mail: c.hall.read((t) => listMail(t, c.caller, id(c, "agentId"), false)) })),
  route(
    "POST",
    "/agents/{agentId}/mail/ack",
    "itself",
    body("AckRequest", (c, req) => ({
      acked: make(c, (t) => ackMail(t, id(c, "agentId"), req.ids)),
    })),
  ),
  route("GET", "/mail", "mayor", (c) => {
    const [to, all] = [c.params.one("to"), c.params.choice("all", "true", "false")];
    return { mail: c.hall.read((t) => listMail(t, c.caller, to, all === "true")) };
  }),
  route(
    "POST",
    "/mail",
    "everyone",
    body("MailRequest", (c, req) => made(make(c, (t) => sendMail(t, c.caller, req)))),
  ),
  route("GET", "/escalations", "mayor", (c) => {
    const status = c.params.choice("status", "open", "acknowledged", "closed");
    return { escalations: c.hall.read((t) => listEscalations(t, status)) };
  }),
  route("POST", "/escalations", "everyone", body("EscalationRequest", escalated)),
  route("POST", "/escalations/{escalationId}/acknowledge", "mayor", answered("acknowledged")),
  route("POST", "/escalations/{escalationId}/close", "mayor", answered("closed")),
  route("GET", "/questions", "mayor", (c) => {
    const status = c.params.choice("status", "open", "answered", "expired", "cancelled");
    return { questions: c.hall.read((t) => listQuestions(t, status)) };
  }),
  route("GET", "/questions/{questionId}", "everyone", question),
  route(
    "POST",
    "/questions/{questionId}/answer",
    "mayor",
    body("AnswerRequest", (c, req) => make(c, (t) => answerQuestion(t, c.caller, id(c, "questionId"), req.answer))),
  ),
  route("POST", "/questions/{questionId}/cancel", "everyone", (c) => make(c, (t) => cancelQuestion(t, c.caller, id(c, "questionId")))),
  route("GET", "/merges", "mayor", (c) => {
    const [rig, status] = [c.params.one("rig"), c.params.choice("status", ...mergeStatuses)];
    return { merges: c.hall.read((t) => listMerges(t, rig, status)) };
  }),
  route("GET", "/events", "mayor", events),
  route("GET", "/runs", "mayor", (c) => {
    const query = { agent: c.params.one("agent"), bead: c.params.one("bead"), after: c.params.one("after"), limit: limit(c, 500) };
    return c.hall.read((t) => listRuns(t, query));
  }),

  route(
    "POST",
    "/heartbeat",
    "container",
    body("Heartbeat", (c, req) => c.hall.write((t) => heartbeat(t, req))),
  ),
  route(
    "POST",
    "/events",
    "container",
    body("AgentEventBatch", (c, req) => ({
      accepted: c.hall.write((t) => appendEvents(t, req.events)),
    })),
  ),
  route("POST", "/agents/{agentId}/completed", "container", body("Completion", ended)),
  route(
    "POST",
    "/rigs/{rigId}/review-queue/{mergeId}/complete",
    "container",
    body("MergeOutcome", (c, req) => {
      make(c, (t) => {
        mergeCompleted(t, id(c, "rigId"), id(c, "mergeId"), req);
        return null;
      });
      return { completed: true };
    }),
  ),
  route(
    "POST",
    "/rigs/{rigId}/agents/{agentId}/heartbeat",
    "container",
    body("AgentHeartbeatRequest", (c, req) => {
      c.hall.write((t) => agentSeen(t, id(c, "agentId"), req));
      return { heartbeat: true };
    }),
  ),
  route("POST", "/rigs/{rigId}/agents/{agentId}/completed", "container", body("Completion", oldEnded)),
];
