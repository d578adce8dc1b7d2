// What GitHub tells: kept as it came first, then looked at.
import { createBead } from "./beads";
import { theTown } from "./caller";
import { cut, isID, parse } from "./contract";
import { readAtMost } from "./decode";
import { answer, badParam, Refusal, unavailable } from "./errors";
import type { Tx } from "./store";

/** GitHub's own bound. */
const maxBytes = 25 * 1024 * 1024;

/** A row holds at most 2 MB. */
const partBytes = 1024 * 1024;

/** How long deliveries are kept, in milliseconds. */
const keep = 7 * 24 * 3_600_000;

export interface Delivery {
  id: string;
  event: string;
  body: Uint8Array;
}

/** Which town and rig deliveries are for. */
export function destination(env: Env): { townId: string; rigId: string } {
  const [townId = "", rigId = ""] = env.GITHUB_RIG.split("/");
  if (!isID(townId) || !isID(rigId)) {
    throw unavailable("no rig is set for GitHub: GITHUB_RIG must be <town>/<rig>");
  }
  return { townId, rigId };
}

/** Reads a delivery, and refuses one that GitHub did not sign. */
export async function readDelivery(request: Request, secret: string): Promise<Delivery> {
  if (secret === "") {
    throw unavailable("the secret GITHUB_WEBHOOK_SECRET is not set");
  }
  const body = await readAtMost(request.body, maxBytes);
  const signature = /^sha256=([0-9a-f]{64})$/.exec(request.headers.get("X-Hub-Signature-256") ?? "")?.[1] ?? "";
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  const mac = new Uint8Array((signature.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)));
  if (!(await crypto.subtle.verify("HMAC", key, mac, body))) {
    throw new Refusal(401, "Invalid signature");
  }
  const id = request.headers.get("X-GitHub-Delivery") ?? "";
  if (!isID(id)) {
    throw badParam("X-GitHub-Delivery", "must be the id of the delivery");
  }
  return { id, event: request.headers.get("X-GitHub-Event") ?? "", body };
}

export const accepted = () => answer({ ok: true });

/** Keeps a delivery, and answers whether it is new. */
export function keepDelivery(t: Tx, d: Delivery): boolean {
  const row = t.first<{ n: number }>(
    /* sql */ `INSERT INTO deliveries (id, event, size, received_at, result) VALUES (?, ?, ?, ?, '') ON CONFLICT (id) DO NOTHING RETURNING n`,
    d.id,
    d.event,
    d.body.length,
    t.now,
  );
  if (!row) {
    return false;
  }
  for (let part = 0; part * partBytes < d.body.length; part++) {
    const data = d.body.slice(part * partBytes, (part + 1) * partBytes).buffer;
    t.exec("INSERT INTO delivery_parts (delivery_n, part, data) VALUES (?, ?, ?)", row.n, part, data);
  }
  t.exec("DELETE FROM deliveries WHERE received_at < ?", t.now - keep);
  t.tell("work");
  return true;
}

/** Looks at deliveries that are waiting, and makes beads of what asks for work. */
export function handleDeliveries(t: Tx, rigId: string, mention: string): void {
  const waiting = t.all<{ n: number; event: string }>("SELECT n, event FROM deliveries WHERE handled_at IS NULL ORDER BY n LIMIT 10");
  for (const { n, event } of waiting) {
    let result: string;
    try {
      result = handle(t, rigId, mention, event, bodyOf(t, n));
    } catch (error) {
      result = `not understood: ${error instanceof Error ? error.message : String(error)}`;
    }
    t.exec("UPDATE deliveries SET handled_at = ?, result = ? WHERE n = ?", t.now, result, n);
    t.tell("work");
  }
}

function bodyOf(t: Tx, n: number): string {
  const decoder = new TextDecoder();
  const parts = t.all<{ data: ArrayBuffer }>("SELECT data FROM delivery_parts WHERE delivery_n = ? ORDER BY part", n);
  return parts.map((p) => decoder.decode(p.data, { stream: true })).join("") + decoder.decode();
}

interface Comment {
  action?: string;
  comment?: { body?: string; html_url?: string; user?: { login?: string; type?: string } };
  issue?: { title?: string; number?: number; html_url?: string; body?: string | null };
  repository?: { full_name?: string };
}

/** Makes a bead of a comment that calls the town, and says what was done. */
function handle(t: Tx, rigId: string, mention: string, event: string, body: string): string {
  if (event !== "issue_comment") {
    return "nothing to do";
  }
  const { action, comment, issue, repository } = parse<Comment>(body);
  if (action !== "created" || comment?.user?.type === "Bot" || !isMentioned(comment?.body ?? "", mention)) {
    return "nothing to do";
  }
  const where = `${repository?.full_name ?? ""}#${issue?.number ?? ""}`;
  const { bead } = createBead(t, theTown, rigId, {
    title: cut(`${where}: ${issue?.title ?? ""}`.replace(/\s+/g, " "), 400),
    body: cut(
      `${comment?.user?.login ?? "someone"} asks at ${comment?.html_url ?? where}:\n\n${comment?.body ?? ""}\n\nThe issue:\n\n${issue?.body ?? ""}`,
      200_000,
    ),
    source: "github",
    dedupeKey: `github:${comment?.html_url ?? where}`,
  });
  return `bead ${bead.id}`;
}

/** Whether a text calls the town, outside of code and of what it quotes. */
export function isMentioned(text: string, mention: string): boolean {
  const said = text
    .replace(/```[\s\S]*?(```|$)/g, "")
    .replace(/`[^`\n]*`/g, "")
    .replace(/^\s*>.*$/gm, "");
  const name = mention.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return mention !== "" && new RegExp(`(^|[^\\w@/.-])${name}(?![\\w-])`, "i").test(said);
}
