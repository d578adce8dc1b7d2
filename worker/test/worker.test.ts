import { env, evictDurableObject, reset, runInDurableObject, SELF } from "cloudflare:test";
import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from "jose";
import { beforeEach, expect, test, vi } from "vitest";
import { checkAccess, containerToken, openTicket, signTicket } from "../src/auth";
import { migrate, migrations } from "../src/schema";
import { defaults, Tx } from "../src/store";
import { tidy } from "../src/tidy";
import type { TownDO } from "../src/town";
import { isMentioned } from "../src/webhook";

beforeEach(reset);

const town = "http://worker/api/towns/main";
const person = { Authorization: "Bearer of-the-tests" };

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = person) {
  const response = await SELF.fetch(town + path, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
  const text = await response.text();
  const value: Record<string, unknown> = text.startsWith("{") ? JSON.parse(text) : {};
  return { status: response.status, headers: response.headers, value };
}

/** Starts the container anew, as far as the town knows, and returns its token. */
async function containerStarts(townId = "main"): Promise<Record<string, string>> {
  const epoch = await env.TOWN.getByName(townId).nextEpoch();
  return { Authorization: `Bearer ${await containerToken("of-the-tests-too", townId, epoch)}` };
}

const heartbeat = (instanceId: string) => ({ instanceId, agents: [], status: "ok" });

test("a container's token is its town's, and its instance's", async () => {
  const first = await containerStarts();
  expect((await call("POST", "/heartbeat", heartbeat("one"), first)).status).toBe(200);
  const foreign = await containerStarts("conformance");
  expect((await call("POST", "/heartbeat", heartbeat("two"), foreign)).status).toBe(401);
  const second = await containerStarts();
  expect((await call("POST", "/heartbeat", heartbeat("one"), first)).status).toBe(410);
  expect((await call("GET", "/status", undefined, first)).status).toBe(401);
  expect((await call("POST", "/heartbeat", heartbeat("three"), second)).value).toMatchObject({ epoch: 2 });
});

test("a container that was replaced may tell what has happened", async () => {
  const first = await containerStarts();
  await containerStarts();
  const events = [{ agentId: "a", runId: "r", id: 1, event: "text", data: { text: "x" }, timestamp: "2026-01-02T03:04:05Z" }];
  expect((await call("POST", "/events", { instanceId: "one", events }, first)).value).toEqual({ accepted: 1 });
});

test("nobody makes a container's token by its epoch, or sets the header of one", async () => {
  const forged = { Authorization: `Bearer townc1.1.${"0".repeat(64)}` };
  expect((await call("GET", "/status", undefined, forged)).status).toBe(401);
  expect((await call("GET", "/status", undefined, { ...person, "X-Townd-Container-Epoch": "99" })).status).toBe(200);
});

test("a container's token does not reach the control API through the Worker", async () => {
  expect((await call("GET", "/container/agents", undefined, await containerStarts())).status).toBe(404);
});

test("messages of WebSockets are not read later than they come", () => {
  const { 0: one } = new WebSocketPair();
  one.accept();
  expect(one.binaryType).toBe("arraybuffer");
});

test("a town that is not named is not made", async () => {
  const response = await SELF.fetch("http://worker/api/towns/typo/status", { headers: person });
  expect(response.status).toBe(404);
});

test("nobody reaches a container's stream without a ticket that the Worker gave for this town", async () => {
  const stream = async (ticket: string) => (await SELF.fetch(`${town}/container/agents/a/stream?ticket=${ticket}`)).status;
  const signed = await signTicket("of-the-tests-too", "main", "the-ticket");
  expect(await openTicket("of-the-tests-too", "main", signed)).toBe("the-ticket");
  expect((await SELF.fetch(`${town}/container/agents/a/stream`)).status).toBe(401);
  for (const ticket of ["", "the-ticket", signed.replace("the", "a"), await signTicket("of-the-tests-too", "conformance", "the-ticket")]) {
    expect(await stream(ticket), ticket).toBe(401);
  }
});

test("a ticket is over after its time", async () => {
  const signed = await signTicket("of-the-tests-too", "main", "the-ticket");
  vi.useFakeTimers({ now: Date.now() + 91_000 });
  await expect(openTicket("of-the-tests-too", "main", signed)).rejects.toThrow("over");
  vi.useRealTimers();
});

test("an assertion of Cloudflare Access counts when its team made it for this application, and is fresh", async () => {
  const { publicKey, privateKey } = await generateKeyPair("RS256", { extractable: true });
  const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "RS256" }] });
  const make = (issuer: string, audience: string, expires: string) =>
    new SignJWT({})
      .setProtectedHeader({ alg: "RS256", kid: "k" })
      .setIssuer(issuer)
      .setAudience(audience)
      .setExpirationTime(expires)
      .sign(privateKey);
  const check = async (...of: Parameters<typeof make>) => checkAccess(await make(...of), "team.example.com", "tag", keys);
  await check("https://team.example.com", "tag", "1h");
  await expect(check("https://other.example.com", "tag", "1h")).rejects.toThrow("iss");
  await expect(check("https://team.example.com", "other", "1h")).rejects.toThrow("aud");
  await expect(check("https://team.example.com", "tag", "-1h")).rejects.toThrow("exp");
  await expect(checkAccess("a.b.c", "team.example.com", "tag", keys)).rejects.toThrow("Access");
});

test("an assertion of Cloudflare Access counts only where a team is set", async () => {
  expect((await call("GET", "/status", undefined, { "Cf-Access-Jwt-Assertion": "a.b.c" })).status).toBe(401);
});

async function sign(body: string): Promise<string> {
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode("of-github"), { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(body)));
  return `sha256=${[...mac].map((b) => b.toString(16).padStart(2, "0")).join("")}`;
}

async function deliver(id: string, event: string, body: string, signature?: string) {
  return SELF.fetch("http://worker/webhook/github", {
    method: "POST",
    headers: { "X-Hub-Signature-256": signature ?? (await sign(body)), "X-GitHub-Delivery": id, "X-GitHub-Event": event },
    body,
  });
}

const comment = (text: string, type = "User") =>
  JSON.stringify({
    action: "created",
    comment: { body: text, html_url: "https://github.com/o/r/issues/7#issuecomment-1", user: { login: "ada", type } },
    issue: { title: "It leaks", number: 7, body: "A lot." },
    repository: { full_name: "o/r" },
  });

test("a comment that calls the town becomes one bead, however often it is delivered", async () => {
  expect((await call("PUT", "/rigs/app", { gitUrl: "https://git.example.com/app.git", paused: true })).status).toBe(201);
  for (const id of ["d1", "d1", "d2"]) {
    const response = await deliver(id, "issue_comment", comment("@townd please fix"));
    expect([response.status, await response.json()]).toEqual([200, { ok: true }]);
  }
  expect((await deliver("d3", "issue_comment", comment("@townd do", "Bot"))).status).toBe(200);
  expect((await deliver("d4", "push", "{")).status).toBe(200);
  await expect.poll(() => pending()).toBe(0);
  const { value } = await call("GET", "/beads?rig=app");
  expect(value).toMatchObject({ beads: [{ title: "o/r#7: It leaks", source: "github" }] });
});

/** How many deliveries nobody has looked at. */
function pending(): Promise<number> {
  return runInDurableObject(env.TOWN.getByName("main"), (_, state) =>
    Number(state.storage.sql.exec("SELECT count(*) AS n FROM deliveries WHERE handled_at IS NULL").one().n),
  );
}

test("a delivery that GitHub did not sign, or signed otherwise, is refused", async () => {
  for (const signature of ["", "sha256=", `sha256=${"0".repeat(64)}`, (await sign("{}")).replace("sha256", "sha1"), await sign("other")]) {
    const response = await deliver("d9", "push", "{}", signature);
    expect([response.status, await response.json()]).toMatchObject([401, { error: "Invalid signature" }]);
  }
});

test("a delivery of 25 MB is kept whole, and a larger one refused", async () => {
  const body = "x".repeat(25 * 1024 * 1024);
  expect((await deliver("big", "push", body)).status).toBe(200);
  const kept = await runInDurableObject(env.TOWN.getByName("main"), (_, state) =>
    Number(
      state.storage.sql
        .exec("SELECT sum(length(data)) AS n FROM delivery_parts p JOIN deliveries d ON d.n = p.delivery_n WHERE d.id = 'big'")
        .one().n,
    ),
  );
  expect(kept).toBe(body.length);
  expect((await deliver("bigger", "push", `${body}x`)).status).toBe(413);
});

test("a mention counts outside of code and of what is quoted", () => {
  for (const text of ["@townd go", "please @townd", "(@townd)", "Hi @Townd, look", "x\n@townd"]) {
    expect(isMentioned(text, "@townd"), text).toBe(true);
  }
  for (const text of ["@townd2", "a@townd.org", "> @townd go", "`@townd`", "```\n@townd\n```", "townd", "@townd-bot", "```\n@townd"]) {
    expect(isMentioned(text, "@townd"), text).toBe(false);
  }
});

test("what a town was told is there after its object was taken out of memory", async () => {
  await call("PUT", "/rigs/app", { gitUrl: "https://git.example.com/app.git", paused: true });
  const key = { ...person, "Idempotency-Key": "once" };
  const first = await call("POST", "/rigs/app/beads", { title: "x", body: "y".repeat(250_000) }, key);
  await evictDurableObject(env.TOWN.getByName("main"));
  const again = await call("POST", "/rigs/app/beads", { title: "x", body: "y".repeat(250_000) }, key);
  expect([first.status, again.status]).toEqual([201, 201]);
  expect(again.value).toEqual(first.value);
});

test("answers of megabytes are kept for their key", async () => {
  await call("PUT", "/rigs/app", { gitUrl: "https://git.example.com/app.git", paused: true });
  const key = { ...person, "Idempotency-Key": "large" };
  const tasks = Array.from({ length: 20 }, (_, i) => ({ title: `t${i}`, body: "é".repeat(120_000) }));
  const convoy = { rigId: "app", title: "all", parallel: true, tasks };
  const first = await call("POST", "/convoys", convoy, key);
  expect(first.status).toBe(201);
  expect((await call("POST", "/convoys", convoy, key)).value).toEqual(first.value);
});

test("an events stream begins, and goes on with what happens", async () => {
  const response = await SELF.fetch(`${town}/events`, { headers: { ...person, Accept: "text/event-stream" } });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  expect((await reader?.read())?.value).toBe(": quiet\n\n");
  const events = [{ agentId: "a", runId: "r9", id: 1, event: "text", data: { text: "x" }, timestamp: "2026-01-02T03:04:05Z" }];
  await call("POST", "/events", { instanceId: "one", events });
  expect((await reader?.read())?.value).toContain('"runId":"r9"');
  await reader?.cancel();
});

test("a status stream begins, and goes on when the status has changed, for many readers", async () => {
  const follow = async () => {
    const response = await SELF.fetch(`${town}/status`, { headers: { ...person, Accept: "text/event-stream" } });
    expect(response.headers.get("Content-Type")).toBe("text/event-stream");
    return response.body?.pipeThrough(new TextDecoderStream()).getReader();
  };
  const readers = await Promise.all(Array.from({ length: 5 }, follow));
  const paused = async (reader: (typeof readers)[number]) => {
    const [, data = ""] = /^event: status\ndata: (.*)\n\n$/.exec((await reader?.read())?.value ?? "") ?? [];
    return JSON.parse(data).paused;
  };
  for (const reader of readers) {
    expect(await paused(reader)).toBeUndefined();
  }
  const after = readers.map(paused);
  const before = Date.now();
  await call("PATCH", "/settings", { paused: "lunch" });
  expect(await Promise.all(after)).toEqual(readers.map(() => "lunch"));
  expect(Date.now() - before).toBeLessThan(5_000);
  await Promise.all(readers.map((reader) => reader?.cancel()));
});

test("a container sleeps only when nobody works", async () => {
  const stub = env.TOWN.getByName("main");
  expect(await stub.busy()).toBe(false);
  const agent = { agentId: "mayor", rigId: "", role: "mayor", status: "running", generation: 1, turn: { state: "idle", count: 1 } };
  await call("POST", "/heartbeat", { ...heartbeat("one"), agents: [agent] });
  expect(await stub.busy()).toBe(false);
  await call("POST", "/heartbeat", { ...heartbeat("one"), agents: [{ ...agent, turn: { state: "working", count: 2 } }] });
  expect(await stub.busy()).toBe(true);
});

/** Makes a bead whose lease ran out, with an alarm that was set for that time and comes now. */
async function beadOfAlarm(scheduledTime: number): Promise<Record<string, unknown>> {
  await call("PUT", "/rigs/app", { gitUrl: "https://git.example.com/app.git" });
  const { value } = await call("POST", "/rigs/app/beads", { title: "x" });
  const bead = async () => (await call("GET", `/beads/${value.id}`)).value;
  await expect.poll(async () => (await bead()).status).toBe("in_progress"); // its start is not answered
  await runInDurableObject(env.TOWN.getByName("main"), (instance: TownDO, state) => {
    state.storage.sql.exec("UPDATE beads SET lease_expires_at = ?", Date.now() - 1000);
    instance.alarm({ scheduledTime, isRetry: false, retryCount: 0 });
  });
  return bead();
}

test("a lease that runs out ends by the alarm", async () => {
  expect(await beadOfAlarm(Date.now())).toMatchObject({ status: "open", attempts: 0 }); // nobody saw its agent run
});

test("a lease that ran out while the town could not hear of its agent does not end", async () => {
  const { status, lease } = await beadOfAlarm(Date.now() - 60_000);
  expect(status).toBe("in_progress");
  expect(Date.parse(String(Object(lease).expiresAt)) - Date.now()).toBeGreaterThan(50_000);
});

test("a page ends before it is too large, and the next goes on", async () => {
  await call("PUT", "/rigs/app", { gitUrl: "https://git.example.com/app.git", paused: true });
  for (let i = 0; i < 20; i++) {
    await call("POST", "/rigs/app/beads", { title: `t${i}`, body: "x".repeat(250_000) });
  }
  const titles: string[] = [];
  let after = "";
  let pages = 0;
  do {
    const { value } = await call("GET", `/beads?limit=500&after=${after}`);
    titles.push(...Object(value).beads.map((b: { title: string }) => b.title));
    after = typeof value.next === "string" ? value.next : "";
    pages++;
  } while (after !== "");
  expect(titles).toEqual(Array.from({ length: 20 }, (_, i) => `t${19 - i}`));
  expect(pages).toBe(2);
});

test("settings that no row holds are refused", async () => {
  const envVars = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`V${i}`, "x".repeat(100_000)]));
  expect((await call("PUT", "/rigs/app", { gitUrl: "https://git.example.com/app.git", envVars })).status).toBe(413);
});

/** The town at a time, so many milliseconds from now. */
const townIn = (storage: DurableObjectStorage, milliseconds: number) =>
  new Tx(
    storage.sql,
    { townId: "main", maxAgents: 5, beads: { depth: 3, perBead: 20, open: 200 }, ...defaults },
    Date.now() + milliseconds,
  );

test("what was written down about a bead is thrown away long after its end", async () => {
  await call("PUT", "/rigs/app", { gitUrl: "https://git.example.com/x.git", paused: true });
  const ids: unknown[] = [];
  for (const title of ["open", "ended"]) {
    const { value } = await call("POST", "/rigs/app/beads", { title });
    ids.push(value.id);
    await call("POST", `/beads/${value.id}/notes`, { text: "found" });
  }
  await call("POST", `/beads/${ids[1]}/close`, {});
  const notes = async () => Promise.all(ids.map(async (id) => Object(await call("GET", `/beads/${id}/notes`)).value.notes.length));
  const day = 24 * 3_600_000;
  const tidyIn = (days: number) =>
    runInDurableObject(env.TOWN.getByName("main"), (_, state) =>
      state.storage.transactionSync(() => tidy(townIn(state.storage, days * day))),
    );
  expect(await tidyIn(179)).toBe(false);
  expect(await notes()).toEqual([1, 2]);
  expect(await tidyIn(181)).toBe(false);
  expect(await notes()).toEqual([1, 0]);
  expect((await call("GET", `/beads/${ids[1]}`)).value).toMatchObject({ status: "closed", title: "ended" });
});

test("a town of the first schema goes on", async () => {
  await runInDurableObject(env.TOWN.getByName("main"), async (_, state) => {
    await state.storage.deleteAll();
    const { sql } = state.storage;
    sql.exec("CREATE TABLE version (n INTEGER NOT NULL) STRICT; INSERT INTO version (n) VALUES (1)");
    sql.exec(migrations[0] ?? "");
    sql.exec(
      "INSERT INTO rigs (id, settings, created_at, updated_at) VALUES ('app', '{\"gitUrl\":\"https://git.example.com/x.git\"}', 1, 1)",
    );
    const bead = /* sql */ `INSERT INTO beads (id, rig_id, type, title, body, status, why, priority, labels, source, dedupe_key, convoy_id, attempts,
      max_attempts, reworks, hold, name, agent_id, epoch, nudges, branch, start_point, target, commit_id, pull_request, summary, feedback, due, blockers,
      created_at, updated_at) VALUES (?, 'app', 'issue', ?, '', 'open', '', 'medium', '[]', ?, '', '', 0, 3, 0, 'held', '', '', 0, 0, '', '', '', '', '', '',
      '', 1, 0, 1, 1)`;
    sql.exec(bead, "theirs", "theirs", "person");
    sql.exec(bead, "found", "found", "agent:toast");
    sql.exec(
      /* sql */ `INSERT INTO escalations (id, severity, title, body, agent_id, bead_id, rig_id, cause, count, status, answer, created_at, updated_at)
        VALUES ('e', 'medium', 'old', '', '', '', '', '', 1, 'open', '', 1, 1)`,
    );
    migrate(state.storage);
  });
  expect((await call("GET", "/beads")).value).toMatchObject({ beads: [{ id: "found", source: "agent:toast" }, { id: "theirs" }] });
  await expect.poll(async () => (await call("POST", "/beads/theirs/notes", { text: "x" })).status).toBe(201);
  await expect
    .poll(async () => Object(await call("GET", "/escalations")).value.escalations)
    .toMatchObject([{ raises: 1, severity: "high" }]);
});
