// What follows from the end of a run, and from the outcome of a merge. Pure.
import type { BeadRow } from "./beadrows";
import { byteLength, type Completion, type Merge, type MergeOutcome, type MergeStatus, shorten } from "./contract";
import type { Call } from "./transitions";

/** How often a bead comes back from review before it is given up. */
const maxReworks = 3;

/** How often a merge is tried that a race or the network fails. */
const maxMergeAttempts = 10;

/** Bounds of texts of prompts and notes, in bytes. */
export const maxSectionBytes = 48 * 1024;
export const maxNoteBytes = 4 * 1024;

/** What becomes of a bead when a run of the agent that has it has ended. */
export function afterEnd(b: BeadRow, c: Completion & { agentId: string }): Call | undefined {
  const base = { by: c.agentId, epoch: c.generation ?? 0, reason: endText(c) };
  switch (c.reason) {
    case "done":
      return { ...base, event: "done", branch: c.branch ?? "", summary: c.error ?? "", reason: "" };
    case "waiting": // for an answer: it is woken by it, or its lease ends
      return undefined;
    case "blocked":
      return { ...base, event: "block", cause: `blocked:${b.id}` };
    case "stopped":
      return { ...base, event: "hold" };
    case "auth":
      return { ...base, event: "give_up", cause: `auth:${b.rigId}` };
    default:
      return { ...base, event: b.attempts >= b.maxAttempts ? "give_up" : "release" };
  }
}

/** Tells people how a run ended. */
function endText(c: Completion): string {
  let text = c.reason ?? "";
  if (c.reason === "exited" || text === "") {
    text = "ended without saying that it is done";
  } else if (c.reason === "crashed" && c.exitCode != null) {
    text = `crashed with code ${c.exitCode}`;
  }
  return shorten(c.error ? `${text}: ${c.error}` : text, maxNoteBytes);
}

/** What follows from a merge's outcome: its next status, and what becomes of the bead. */
export interface Verdict {
  status: MergeStatus;
  again?: number; // of a merge that waits: for so many milliseconds
  call?: Call;
}

/** The waits of a merge that is tried again, and of a pull request that is looked at again. */
export const mergeDelays = [10_000, 30_000, 60_000, 120_000, 300_000, 600_000];
export const pullDelays = [60_000, 120_000, 300_000];

/** The delay at that place, the last one from its end on. */
export function delayAt(delays: readonly number[], i: number): number {
  return delays[Math.min(Math.max(i, 0), delays.length - 1)] ?? 0;
}

/** What follows from the outcome of a merge. */
export function afterMerge(m: Merge, b: BeadRow, out: MergeOutcome): Verdict {
  const base = { by: "town", branch: m.branch, commit: out.commit ?? "", pullRequest: out.pullRequest ?? "", reason: mergeText(m, out) };
  switch (out.status) {
    case "merged":
    case "nothing":
      return { status: "merged", call: { ...base, event: "merged" } };
    case "conflict":
      return sentBack("conflict", b, base, conflictText(m, out));
    case "gates_failed":
      return sentBack("gates_failed", b, base, gatesText(out));
    case "pull_request":
      return { status: "pull_request", again: delayAt(pullDelays, 0) };
    case "race":
    case "network":
      if (m.attempts < maxMergeAttempts) {
        return { status: "waiting", again: delayAt(mergeDelays, m.attempts - 1) };
      }
      break;
    case "auth":
      return { status: "failed", call: { ...base, event: "give_up", cause: `merge-auth:${m.rigId}` } };
    case "closed":
    case "failed":
  }
  return { status: "failed", call: { ...base, event: "give_up" } };
}

/** A rework, or the end of a bead that came back too often. */
export function sentBack(status: MergeStatus, b: BeadRow, base: Omit<Call, "event"> & { reason: string }, feedback: string): Verdict {
  if (b.reworks >= maxReworks) {
    const reason = `came back from review more than ${maxReworks} times; the last time: ${base.reason}`;
    return { status, call: { ...base, event: "give_up", feedback, reason } };
  }
  return { status, call: { ...base, event: "rework", feedback } };
}

const outcomeTexts: Partial<Record<MergeOutcome["status"], string>> = {
  merged: "merged",
  nothing: "its target has all of it already",
  conflict: "conflicts with its target",
  gates_failed: "a check failed",
  auth: "the remote does not let the town merge",
  race: "its target kept moving",
  network: "the remote is not reached",
  closed: "its pull request was closed without a merge",
};

function mergeText(m: Merge, out: MergeOutcome): string {
  let text = outcomeTexts[out.status] ?? "could not be merged";
  if (out.status !== "merged") {
    text += m.attempts > 1 ? ` (attempt ${m.attempts})` : "";
    text += out.message ? `: ${out.message}` : "";
  }
  return shorten(text, maxNoteBytes);
}

const targetOf = (m: Merge) => m.target || "the default branch";

/** Tells who made a branch which files conflict, and how. */
function conflictText(m: Merge, out: MergeOutcome): string {
  const files = (out.conflicts ?? []).map((f) => `\n${f.path} (${f.kind})\n${f.hunks ? `${f.hunks.trimEnd()}\n` : ""}`).join("");
  return shorten(
    `The branch conflicts with ${targetOf(m)}: ${out.message ?? ""}\n${files}\nMerge ${targetOf(m)} into the branch, keep what both sides meant, run the checks, push, and hand it over again.`,
    maxSectionBytes,
  );
}

/** Tells which check failed, with the end of what it printed. */
function gatesText(out: MergeOutcome): string {
  let text = "A check failed on the result of the merge.";
  const gates = out.gates ?? [];
  for (const g of gates) {
    if (!g.timedOut && g.exitCode === 0) {
      continue;
    }
    text += g.timedOut ? `\n\n${g.name} ran out of its time.` : `\n\n${g.name} ended with code ${g.exitCode}.`;
    text += g.output ? ` The end of its output:\n${lastBytes(g.output, maxSectionBytes / 2)}` : "";
  }
  if (gates.length === 0 && out.message) {
    text += ` ${out.message}`;
  }
  return shorten(text, maxSectionBytes);
}

/** The end of s, whole lines of it. */
function lastBytes(s: string, n: number): string {
  if (byteLength(s) <= n) {
    return s;
  }
  const end = new TextDecoder().decode(new TextEncoder().encode(s).slice(-n));
  return `…\n${end.includes("\n") ? end.slice(end.indexOf("\n") + 1) : end}`;
}
