// Keeps the merge queue of each rig moving: one merge of a rig at a time is reviewed, if
// the rig wants that, and merged by the container. Pull requests that are open keep
// nothing up.
import { findAgent, isLive, noUsage, saveAgent } from "./agentrows";
import { type BeadRow, beadOf } from "./beadrows";
import { type MergeOutcome, type MergeRequest, type MergeResult, type Rig, type StartRequest, shorten } from "./contract";
import { delayAt, maxSectionBytes, mergeDelays, type Verdict } from "./judge";
import { endMerge, loadMerge, type MergeRow, mergeColumns, mergeIsLive, mergeOf, saveMerge, setMerge } from "./merges";
import { reviewPrompt } from "./prompt";
import { ofRig } from "./starts";
import type { Tx } from "./store";

/** How often a branch is given to a refinery that ends without a verdict. */
const maxReviews = 3;

/** How much longer than its gates a merge may take before it is asked for again, which is safe: it goes on from what the remote has. */
const outcomeGrace = 30 * 60_000;

/** What is remembered of a merge that the container was asked for. */
export type Asked = { pull: number; instance: string; again: number; failures: number };

export function loadAsked(t: Tx, mergeId: string): Asked {
  return (
    t.first<Asked>("SELECT pull, instance, again, failures FROM asked WHERE merge_id = ?", mergeId) ?? {
      pull: 0,
      instance: "",
      again: 0,
      failures: 0,
    }
  );
}

export function saveAsked(t: Tx, mergeId: string, a: Asked): void {
  t.exec(
    /* sql */ `INSERT INTO asked (merge_id, pull, instance, again, failures) SELECT id, ?2, ?3, ?4, ?5 FROM merges WHERE id = ?1
      ON CONFLICT (merge_id) DO UPDATE SET pull = excluded.pull, instance = excluded.instance, again = excluded.again, failures = excluded.failures`,
    mergeId,
    a.pull,
    a.instance,
    a.again,
    a.failures,
  );
}

/** The rigs that have a merge which waits and whose time has come. */
export function rigsToMerge(t: Tx): string[] {
  return t
    .all<{ rig: string }>(
      /* sql */ `SELECT DISTINCT rig_id AS rig FROM merges WHERE status = 'waiting' AND (not_before IS NULL OR not_before <= ?) ORDER BY rig_id`,
      t.now,
    )
    .map((row) => row.rig);
}

/** The merges that the container was asked for. */
export function mergesUnderWay(t: Tx): MergeRow[] {
  return t.all<MergeRow>(
    /* sql */ `SELECT ${mergeColumns} FROM merges WHERE ${mergeIsLive} AND status IN ('merging', 'pull_request') ORDER BY n`,
  );
}

/** What the container is asked for. */
export function mergeRequest(t: Tx, m: MergeRow, b: BeadRow, rig: Rig): MergeRequest {
  const ofConvoy = b.convoyId !== "" && m.target !== "";
  const pull = rig.merge?.mode === "pull-request" && !ofConvoy; // a convoy's branch is the town's own
  return {
    rigId: m.rigId,
    gitUrl: rig.gitUrl,
    branch: m.branch,
    targetBranch: m.target || rig.defaultBranch || undefined,
    strategy: rig.merge?.strategy || undefined,
    message: `${shorten(b.title, 200)} (${b.id})`,
    deleteBranch: rig.merge?.deleteBranch,
    createTarget: ofConvoy,
    mode: pull ? "pull-request" : "merge",
    pullRequest: pull
      ? { title: shorten(b.title, 200), body: shorten(b.summary, maxSectionBytes), autoMerge: rig.merge?.autoMerge ?? false }
      : undefined,
    gates: rig.gates,
    townId: t.town.townId,
    entryId: m.id,
    beadId: m.beadId,
    agentId: b.agentId || undefined,
  };
}

/** How long a merge may take, in milliseconds. */
export function mergeTime(rig: Rig): number {
  return outcomeGrace + (rig.gates ?? []).reduce((all, g) => all + (g.timeoutSeconds || 600) * 1000, 0);
}

/** The outcome of a merge that the container decided at once. */
export function outcomeOf(entryId: string, status: MergeOutcome["status"], res: MergeResult): MergeOutcome {
  const { message, commit, conflicts, gates } = res;
  return { entryId, status, message, commit, pullRequest: res.pullRequest?.url ?? "", conflicts, gates };
}

/** Gives a merge to the refinery of its rig, and says how that is started. Its worktree has a branch of its own, which is never pushed. */
export function beginReview(t: Tx, merge: MergeRow, b: BeadRow, rig: Rig): StartRequest {
  const generation = Number(t.setting("reviews")) + 1;
  t.setSetting("reviews", String(generation));
  const agentId = `refinery-${merge.rigId}`;
  const m = setMerge(t, merge.id, "reviewing", `${agentId} looks at it`);
  m.reviewer = agentId;
  saveMerge(t, m);
  const turn = { state: "none", count: 0 } as const;
  saveAgent(t, { agentId, rigId: m.rigId, beadId: m.beadId, role: "refinery", status: "starting", generation, turn }, noUsage);
  return {
    agentId,
    rigId: m.rigId,
    townId: t.town.townId,
    role: "refinery",
    name: "refinery",
    identity: `refinery of rig ${m.rigId}`,
    prompt: reviewPrompt(mergeOf(m), beadOf(b), rig),
    branch: `refinery/${m.id}`,
    beadId: m.beadId,
    startPoint: m.branch,
    generation,
    ...ofRig(rig),
  };
}

/** Takes back what a refinery looked at that is gone without a verdict, and returns when to look again. */
export function watchReviews(t: Tx): number {
  let again = 0;
  for (const m of t.all<MergeRow>(/* sql */ `SELECT ${mergeColumns} FROM merges WHERE status = 'reviewing' ORDER BY n`)) {
    const a = findAgent(t, m.reviewer);
    const known = a !== undefined && a.beadId === m.beadId;
    const end = m.updatedAt + t.town.lease;
    if (known && isLive(a.status) && t.now - a.lastSeenAt < t.town.lease) {
      again = again === 0 ? a.lastSeenAt + t.town.lease : Math.min(again, a.lastSeenAt + t.town.lease);
    } else if ((known && !isLive(a.status)) || t.now >= end) {
      reviewEnded(t, m.id, "the refinery ended without a verdict");
    } else {
      again = again === 0 ? end : Math.min(again, end);
    }
  }
  return again;
}

/** Puts a merge back whose refinery has ended without a verdict, or fails it when that was the last try. */
export function reviewEnded(t: Tx, mergeId: string, reason: string): void {
  const m = loadMerge(t, mergeId);
  if (m.status !== "reviewing") {
    return;
  }
  m.attempts++; // of the review: none of the merge was made yet
  m.reviewer = "";
  m.message = reason;
  const verdict: Verdict =
    m.attempts >= maxReviews
      ? { status: "failed", call: { event: "give_up", reason: `no verdict after ${m.attempts} reviews: ${reason}` } }
      : { status: "waiting", again: delayAt(mergeDelays, m.attempts) };
  endMerge(t, m, verdict);
}
