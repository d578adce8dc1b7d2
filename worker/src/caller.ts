import { agentHeader, isID, type Role } from "./contract";
import { badParam, forbidden } from "./errors";
import type { Tx } from "./store";

/** Who asks for an operation. Without an agent it is a person or the town: it may do everything. */
export interface Caller {
  agentId: string;
  role: Role | "";
  generation: number; // of the agent, as the town knows it
  town?: boolean; // the town itself, for what is written down
}

export const person: Caller = { agentId: "", role: "", generation: 0 };

/** The coordinator itself. */
export const theTown: Caller = { ...person, town: true };

/** The agent that a call is made for, as a caller; the town must know it. */
export function callerOf(t: Tx, agentId: string | null): Caller {
  if (agentId === null) {
    return person;
  }
  if (!isID(agentId)) {
    throw badParam(agentHeader, "must be given once, an agent's id");
  }
  const known = t.first<{ role: Role; generation: number }>("SELECT role, generation FROM agents WHERE id = ?", agentId);
  if (known) {
    return { agentId, ...known };
  }
  // These two may call before the first heartbeat that shows them.
  if (agentId === "mayor") {
    return { agentId, role: "mayor", generation: 0 };
  }
  if (agentId.startsWith("refinery-")) {
    return { agentId, role: "refinery", generation: 0 };
  }
  throw forbidden(`agent ${agentId} is not of this town`);
}

/** Who the caller is, for what is written down. */
export function by(c: Caller): string {
  return c.agentId || (c.town ? "town" : "person");
}

/** Whether the caller may do what is not its own: a person, the town, the mayor. */
export function leads(c: Caller): boolean {
  return c.agentId === "" || c.role === "mayor";
}

/** Refuses an agent that asks in the name of another. */
export function mustBe(c: Caller, agentId: string): void {
  if (c.agentId !== "" && c.agentId !== agentId) {
    throw forbidden(`${c.agentId} may not act as ${agentId}`);
  }
}
