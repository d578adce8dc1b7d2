// Who calls: a person by the town's token or by Cloudflare Access, or a container by a
// token that is bound to its town and to the instance that it was made for.
import { createRemoteJWKSet, type JWTVerifyGetKey, jwtVerify } from "jose";
import { forbidden, messageOf, unauthorized } from "./errors";

/** Who a request is from. A container has the epoch of its start. */
export type Identity = { kind: "person" } | { kind: "container"; epoch: number };

const encode = (s: string) => new TextEncoder().encode(s);

const hex = (bytes: ArrayBuffer) => [...new Uint8Array(bytes)].map((b) => b.toString(16).padStart(2, "0")).join("");

const prefix = "townc1";

async function sign(secret: string, ...words: (string | number)[]): Promise<string> {
  if (secret === "") {
    throw new Error("the secret CONTAINER_SECRET is not set: wrangler secret put CONTAINER_SECRET");
  }
  const key = await crypto.subtle.importKey("raw", encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return hex(await crypto.subtle.sign("HMAC", key, encode(words.join(" "))));
}

/** The token of a town's container of that epoch. */
export async function containerToken(secret: string, townId: string, epoch: number): Promise<string> {
  return `${prefix}.${epoch}.${await sign(secret, prefix, townId, epoch)}`;
}

/** How long a signed ticket is good for, in milliseconds; the container's own is for a minute. */
const ticketTime = 90_000;

/** A container's ticket as callers get it: signed, so that strangers neither wake the container nor keep it awake. */
export async function signTicket(secret: string, townId: string, ticket: string): Promise<string> {
  const end = Date.now() + ticketTime;
  return `${ticket}.${end}.${await sign(secret, "ticket", townId, end, ticket)}`;
}

/** The container's ticket in a signed one. */
export async function openTicket(secret: string, townId: string, signed: string): Promise<string> {
  const [, ticket = "", end = "", mac = ""] = /^(.+)\.([0-9]{1,15})\.([0-9a-f]{64})$/.exec(signed) ?? [];
  if (!(await same(mac, await sign(secret, "ticket", townId, end, ticket))) || Date.now() > Number(end)) {
    throw unauthorized("that is no ticket for a stream, or one that is over");
  }
  return ticket;
}

/** Compares hashes, so that neither length nor beginning of a token can be found out by timing. */
async function same(a: string, b: string): Promise<boolean> {
  const [x, y] = await Promise.all([crypto.subtle.digest("SHA-256", encode(a)), crypto.subtle.digest("SHA-256", encode(b))]);
  return crypto.subtle.timingSafeEqual(x, y);
}

/** Finds out who calls about a town, or refuses (401). */
export async function identify(request: Request, env: Env, townId: string): Promise<Identity> {
  const authorization = request.headers.get("Authorization");
  if (authorization === null && (await letIn(request, env))) {
    mustBeOurs(request);
    return { kind: "person" };
  }
  const token = /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
  if (token === undefined) {
    throw unauthorized("one header is needed: Authorization: Bearer <token>");
  }
  const epoch = Number(/^townc1\.([1-9][0-9]{0,14})\./.exec(token)?.[1] ?? 0);
  if (epoch > 0 && (await same(token, await containerToken(env.CONTAINER_SECRET, townId, epoch)))) {
    return { kind: "container", epoch };
  }
  if ((env.TOWND_TOKEN ?? "") !== "" && (await same(token, env.TOWND_TOKEN))) {
    return { kind: "person" };
  }
  throw unauthorized("that is not this town's token");
}

/** Whether Cloudflare Access lets the sender of a request in, so that it needs no token. */
export function isSignedIn(request: Request, env: Env): Promise<boolean> {
  return letIn(request, env).catch(() => false);
}

/** Whether Cloudflare Access lets the sender of a request in; refuses (401) an assertion that does not count. */
async function letIn(request: Request, env: Env): Promise<boolean> {
  const assertion = request.headers.get("Cf-Access-Jwt-Assertion") ?? accessCookie(request);
  if (!assertion || env.ACCESS_TEAM === "" || env.ACCESS_AUD === "") {
    return false;
  }
  await checkAccess(assertion, env.ACCESS_TEAM, env.ACCESS_AUD, keysOf(env.ACCESS_TEAM));
  return true;
}

/** The assertion as browsers send it: where a path bypasses Access, it sets no header. */
function accessCookie(request: Request): string | undefined {
  return /(?:^|;)\s*CF_Authorization=([^;]*)/.exec(request.headers.get("Cookie") ?? "")?.[1];
}

/**
 * Refuses a request that changes something and that another site's page had the browser
 * send: Access's cookie goes with it, too.
 */
function mustBeOurs({ method, headers, url }: Request): void {
  const origin = headers.get("Origin");
  const site = headers.get("Sec-Fetch-Site") ?? "none"; // programs send neither
  const ours = origin === null ? site === "none" || site === "same-origin" : origin === new URL(url).origin;
  if (method !== "GET" && method !== "HEAD" && !ours) {
    throw forbidden("this was asked by a page of another site; without Cloudflare Access, by token, it may");
  }
}

const keySets = new Map<string, JWTVerifyGetKey>();

/** The keys of a team, which are asked for once in a while. */
function keysOf(team: string): JWTVerifyGetKey {
  const keys = keySets.get(team) ?? createRemoteJWKSet(new URL(`https://${team}/cdn-cgi/access/certs`));
  keySets.set(team, keys);
  return keys;
}

/** Refuses an assertion that Cloudflare Access did not make for the application of that tag. */
export async function checkAccess(assertion: string, team: string, audience: string, keys: JWTVerifyGetKey): Promise<void> {
  try {
    await jwtVerify(assertion, keys, { issuer: `https://${team}`, audience, algorithms: ["RS256"], requiredClaims: ["exp"] });
  } catch (error) {
    throw unauthorized(`Cloudflare Access: ${messageOf(error)}`);
  }
}
