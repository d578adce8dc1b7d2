// The words of the contract. What is answered may say undefined for what is left out.
import type { components } from "./wire";

export type Schemas = components["schemas"];

type Loose<T> = { [K in keyof T]: Record<never, never> extends Pick<T, K> ? T[K] | undefined : T[K] };

export type Bead = Loose<Schemas["Bead"]>;
export type BeadStatus = Schemas["BeadStatus"];
export type BeadType = Schemas["BeadType"];
export type Priority = Schemas["Priority"];
export type Note = Loose<Schemas["Note"]>;
export type Convoy = Loose<Schemas["Convoy"]>;
export type ConvoyStatus = Schemas["ConvoyStatus"];
export type ConvoyMode = Schemas["ConvoyMode"];
export type RigSettings = Schemas["RigSettings"];
export type Rig = Loose<Schemas["TownRig"]>;
export type Mail = Loose<Schemas["Mail"]>;
export type Escalation = Loose<Schemas["Escalation"]>;
export type EscalationStatus = Schemas["Escalation"]["status"];
export type Question = Loose<Schemas["Question"]>;
export type QuestionStatus = Schemas["Question"]["status"];
export type Merge = Loose<Schemas["Merge"]>;
export type MergeStatus = Schemas["MergeStatus"];
export type MergeOutcome = Schemas["MergeOutcome"];
export type Run = Loose<Schemas["Run"]>;
export type RunStatus = Schemas["Run"]["status"];
export type TownAgent = Loose<Omit<Schemas["TownAgent"], "reason">> & { reason?: string | undefined };
export type AgentHeartbeat = Schemas["AgentHeartbeat"];
export type Heartbeat = Schemas["Heartbeat"];
export type Completion = Schemas["Completion"];
export type Order = Loose<Schemas["Order"]>;
export type OrderKind = Schemas["Order"]["kind"];
export type Usage = Schemas["Usage"];
export type Role = Schemas["Role"];
export type AgentStatus = Schemas["Status"];
export type TurnState = Schemas["Turn"]["state"];
export type StartRequest = Loose<Schemas["StartRequest"]>;
export type MergeRequest = Loose<Schemas["MergeRequest"]>;
export type MergeResult = Schemas["MergeResult"];

export const agentHeader = "X-Townd-Agent";

/** The largest request body that is taken. */
export const maxBodyBytes = 8 * 1024 * 1024;

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export const idRule = 'must be 1 to 128 of A-Z a-z 0-9 . _ - and begin with a letter or digit, without ".."';

export function isID(id: string): boolean {
  return idPattern.test(id) && !id.endsWith(".") && !id.includes("..");
}

const digits = "0123456789abcdefghjkmnpqrstvwxyz";

/** A new id of 26 characters whose order is the order of creation, to the millisecond. */
export function newID(now: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  let bits = BigInt(now);
  for (const byte of bytes) {
    bits = (bits << 8n) | BigInt(byte);
  }
  bits <<= 2n; // 128 bits in 26 digits of 5
  let id = "";
  for (let i = 25n; i >= 0n; i--) {
    id += digits.charAt(Number((bits >> (i * 5n)) & 31n));
  }
  return id;
}

export function instant(ms: number): string {
  return new Date(ms).toISOString();
}

export function instantOr(ms: number | null): string | undefined {
  return ms === null ? undefined : instant(ms);
}

/** What is none is left out of answers. */
export function text(s: string): string | undefined {
  return s === "" ? undefined : s;
}

/** JSON of our own, as it was kept. */
export function parse<T>(json: string): T {
  const value: T = JSON.parse(json);
  return value;
}

export function byteLength(s: string): number {
  return new TextEncoder().encode(s).length;
}

/** Cuts s to at most n bytes of whole characters. */
export function cut(s: string, n: number): string {
  const clean = s.toWellFormed().replaceAll("\0", "\uFFFD");
  return byteLength(clean) <= n ? clean : `${headBytes(clean, n - 3)}…`;
}

/** Cuts s to at most n bytes of whole characters, and says so. */
export function shorten(s: string, n: number): string {
  const clean = s.toWellFormed().replaceAll("\0", "\uFFFD");
  const whole = byteLength(clean);
  if (whole <= n) {
    return clean;
  }
  const head = headBytes(clean, n);
  return `${head} … (${whole - byteLength(head)} more bytes)`;
}

function headBytes(s: string, n: number): string {
  const room = new Uint8Array(Math.max(n, 0));
  return s.slice(0, new TextEncoder().encodeInto(s, room).read);
}
