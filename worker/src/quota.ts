// What is left at model providers, and until when it keeps agents from being started.
import { type Heartbeat, instant, parse, type Schemas } from "./contract";
import type { Tx } from "./store";

type Quota = Schemas["Quota"];

/** How long a quota counts that nobody has measured since. With the tenth that a standby may be longer it is half an hour. */
const quotaHolds = 27 * 60_000;

/** Keeps what a heartbeat tells is left; one that tells nothing changes nothing. */
export function seeQuota(t: Tx, { quota }: Heartbeat): void {
  if (quota) {
    const checkedAt = Math.min(Date.parse(quota.checkedAt), t.now); // by a clock that may be ahead of ours
    t.setSetting("quota", JSON.stringify({ ...quota, checkedAt: instant(checkedAt) }));
  }
}

/** Keeps the percentage below which no agents are started, 0 for never. */
export function setMinQuota(t: Tx, percent: number): void {
  t.setSetting("minQuotaPercent", percent > 0 ? String(percent) : "");
}

/** What is kept of the quota, for the town's status. */
export function quotaState(t: Tx): Pick<Schemas["TownStatus"], "quota" | "minQuotaPercent" | "standby"> {
  const quota = load(t);
  const least = minQuota(t);
  const waits = standby(t);
  return { ...(quota && { quota }), ...(least > 0 && { minQuotaPercent: least }), ...(waits && { standby: waits }) };
}

function load(t: Tx): Quota | undefined {
  const kept = t.setting("quota");
  return kept === "" ? undefined : parse<Quota>(kept);
}

const minQuota = (t: Tx) => Number(t.setting("minQuotaPercent"));

/**
 * Until when the quota keeps agents from being started, undefined for not now. It follows from
 * what is kept alone: an object that begins goes on with it, a quota that recovers or another
 * minimum end it.
 */
export function standby(t: Tx): Schemas["Standby"] | undefined {
  const q = load(t);
  if (!q || q.percent >= minQuota(t)) {
    return undefined;
  }
  const checkedAt = Date.parse(q.checkedAt);
  const reset = q.resetAt === undefined ? Infinity : Date.parse(q.resetAt);
  const holds = Math.min(reset - checkedAt, quotaHolds);
  // Towns that share an account must not wake at once: each waits up to a tenth longer, by its id.
  const until = Math.floor(checkedAt + holds * (1 + spread(t.town.townId) / 10));
  const whose = q.provider ? `${q.provider}'s` : "the";
  return t.now < until ? { until: instant(until), why: `${Math.floor(q.percent)} % of ${whose} ${q.name} left` } : undefined;
}

/** A number from 0 to 1 that is the same for an id each time, by its FNV-1a hash. */
function spread(id: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(id)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return (hash % 1000) / 1000;
}
