/** How figures and times are written. */

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = n;
  let unit = "B";
  for (const next of units) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

export function count(n: number): string {
  if (n < 1000) return String(n);
  if (n < 1e6) return `${(n / 1e3).toFixed(n < 1e4 ? 1 : 0)}k`;
  return `${(n / 1e6).toFixed(1)}M`;
}

export function money(usd: number): string {
  return usd === 0 ? "$0" : usd < 0.01 ? "<$0.01" : `$${usd.toFixed(2)}`;
}

/** A length of time in its two greatest units. */
export function span(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}

/** How long ago, in one unit: it must not change the width of a line every second. */
export function ago(time: string | null | undefined, now = Date.now()): string {
  if (!time) return "";
  const s = Math.max(0, (now - Date.parse(time)) / 1000);
  if (s < 5) return "now";
  if (s < 60) return `${Math.floor(s / 5) * 5}s ago`;
  if (s < 3600) return `${Math.floor(s / 60)}m ago`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ago`;
  return `${Math.floor(s / 86400)}d ago`;
}

export function many(n: number, one: string, more: string): string {
  return `${n} ${n === 1 ? one : more}`;
}

export function clock(time: string): string {
  return new Date(time).toLocaleTimeString([], {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
}

export function moment(time: string): string {
  return new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
}

/** A time to the minute, with its day unless that is today. */
export function minute(time: string, now = new Date()): string {
  const at = new Date(time);
  const text = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  if (at.toDateString() === now.toDateString()) return text;
  return `${at.toLocaleDateString([], { day: "numeric", month: "short" })} ${text}`;
}

/** The part of an id that people tell beads apart by. */
export function short(id: string): string {
  return id.slice(-8);
}

// Not shown as they are: they hide or turn round what is beside them.
const invisible = /[\p{Cc}\p{Cf}]/gu;

/** Text of an agent, on one line and with nothing invisible in it. */
export function line(text: string, most = 300): string {
  return text
    .slice(0, most * 2)
    .replace(/\s+/g, " ")
    .replace(invisible, "")
    .slice(0, most)
    .trim();
}

/** The name of a tool for people: those of the town are called differently by each program. */
export function toolName(name: string): string {
  return line(name.replace(/^(mcp_+)?gastown_+/, ""), 80);
}

/** What a call of a tool is about: the first text of its input, as a command or a file. */
export function gist(input: unknown): string {
  const values: unknown[] = typeof input === "object" && input !== null ? Object.values(input) : [];
  const text = values.find((value) => typeof value === "string");
  return typeof text === "string" ? text : JSON.stringify(input ?? "");
}

/** An address that is safe to link to, or "". */
export function link(url: string | undefined): string {
  if (!url) return "";
  try {
    const parsed = new URL(url);
    return parsed.protocol === "https:" || parsed.protocol === "http:" ? parsed.href : "";
  } catch {
    return "";
  }
}
