// How the agent of a claimed bead is started, and what is to blame when it is not.

import { isLive } from "./agentrows";
import { type BeadRow, beadOf, notesOf } from "./beadrows";
import type { Rig, StartRequest } from "./contract";
import { type AgentNow, ContainerError, type ControlAPI } from "./controlapi";
import { convoyBegun } from "./convoys";
import { messageOf } from "./errors";
import { workPrompt } from "./prompt";
import type { Tx } from "./store";

/**
 * What is to be left alone for a while after a failure, and so what it counts against:
 * nobody (an accident of order), the bead (one of its attempts), the rig (its remote), the
 * container, the request (wrong until a person changes it), or unknown (it may have started).
 */
export type Blame = "nobody" | "bead" | "rig" | "container" | "request" | "unknown";

/** How a start ended that did not make an agent run. */
export interface StartFailure {
  blame: Blame;
  reason: string;
  retryAfter: number; // milliseconds that the container asked for
  generation: number; // that the container knows, when it is newer than ours
}

const blames: Record<number, Blame> = {
  400: "request",
  413: "request",
  409: "nobody",
  404: "bead", // its start point is nowhere
  422: "bead",
  402: "bead",
  502: "rig",
  401: "container",
  403: "container",
  410: "container",
  429: "container",
  503: "container",
  507: "container",
};

/** Says how the agent of a claimed bead is started. Asked again for the same claim it is the same request, which the container joins. */
export function startRequest(t: Tx, rig: Rig, b: BeadRow): StartRequest {
  const parts = b.branch.split("/");
  const name = parts.length === 3 ? (parts[1] ?? b.agentId) : b.agentId;
  return {
    agentId: b.agentId,
    rigId: b.rigId,
    townId: t.town.townId,
    role: "polecat",
    name,
    identity: `polecat ${name} of rig ${b.rigId}`,
    prompt: workPrompt(beadOf(b), notesOf(t, b.id)),
    branch: b.branch,
    beadId: b.id,
    startPoint: startPoint(t, b),
    generation: b.epoch,
    resume: b.epoch > 1,
    ...ofRig(rig),
  };
}

/** What each agent of a rig is started with. */
export function ofRig(rig: Rig) {
  return {
    gitUrl: rig.gitUrl,
    defaultBranch: rig.defaultBranch ?? "",
    model: rig.model ?? "",
    envVars: rig.envVars,
    cli: rig.cli || undefined,
    command: rig.command,
    limits: rig.limits,
  };
}

/** Where a bead's branch begins: where it says, else at its target. A convoy's branch is not there before something was merged into it. */
function startPoint(t: Tx, b: BeadRow): string {
  if (b.startPoint !== "" || b.target === "" || b.convoyId === "") {
    return b.startPoint || b.target;
  }
  return convoyBegun(t, b.convoyId) ? b.target : "";
}

/** Asks the container for a start, and when the answer leaves it open for what became of it. */
export async function tryStart(c: ControlAPI, req: StartRequest): Promise<StartFailure | undefined> {
  let error: unknown;
  try {
    await c.start(req);
    return undefined;
  } catch (e) {
    error = e;
  }
  const status = error instanceof ContainerError ? error.status : 0;
  const end: StartFailure = {
    blame: blames[status] ?? "unknown",
    reason: `start failed: ${messageOf(error)}`,
    retryAfter: error instanceof ContainerError ? error.retryAfter : 0,
    generation: 0,
  };
  return end.blame === "unknown" || status === 409 ? lookAfter(c, req, end) : end;
}

/** Asks what became of a start whose answer leaves it open. */
async function lookAfter(c: ControlAPI, req: StartRequest, end: StartFailure): Promise<StartFailure | undefined> {
  const generation = req.generation ?? 0;
  let found: AgentNow | undefined;
  try {
    found = await agentNow(c, req.agentId);
  } catch {
    return { ...end, blame: "unknown" };
  }
  if (!found || found.generation < generation) {
    // It did not begin; or it conflicts with something else, as its branch in use.
    return { ...end, blame: end.blame === "unknown" ? "container" : "bead" };
  }
  if (found.generation > generation) {
    return { ...end, blame: "nobody", generation: found.generation };
  }
  // One that ran and has ended: its completion is on the way, or else its lease ends.
  return isLive(found.status) ? undefined : { ...end, blame: "unknown" };
}

/** Starts the agent of a claim that was made before, unless the container knows of it: then it was started, and tells of its end by itself. */
export async function recoverStart(c: ControlAPI, req: StartRequest): Promise<StartFailure | undefined> {
  try {
    const found = await agentNow(c, req.agentId);
    if (found && found.generation >= (req.generation ?? 0)) {
      return undefined;
    }
  } catch (error) {
    return { blame: "unknown", reason: `its agent could not be asked for: ${messageOf(error)}`, retryAfter: 0, generation: 0 };
  }
  return tryStart(c, req);
}

async function agentNow(c: ControlAPI, id: string): Promise<AgentNow | undefined> {
  try {
    return await c.agent(id);
  } catch (error) {
    if (error instanceof ContainerError && error.status === 404) {
      return undefined;
    }
    throw error;
  }
}
