import { byteLength, instant, parse, type Rig, type RigSettings } from "./contract";
import { conflict, type Issue, invalid, notFound, tooLarge } from "./errors";
import type { Tx } from "./store";

type RigRow = { rigId: string; settings: string; createdAt: number; updatedAt: number };

const columns = "id AS rigId, settings, created_at AS createdAt, updated_at AS updatedAt";

/** Polecats at once in a rig that sets no bound. */
export const rigAgents = 5;

/** Bytes of settings: a row holds at most 2 MB. */
const maxSettings = 1_500_000;

/** What Linux takes for one NAME=value of a program's environment. */
const maxEnvBytes = 128 * 1024 - 1;

const rigOf = (r: RigRow): Rig => ({
  rigId: r.rigId,
  ...parse<RigSettings>(r.settings),
  createdAt: instant(r.createdAt),
  updatedAt: instant(r.updatedAt),
});

/** A rig as it is answered: with the names of its variables only. */
export function withoutSecrets(rig: Rig): Rig {
  return rig.envVars ? { ...rig, envVars: Object.fromEntries(Object.keys(rig.envVars).map((name) => [name, ""])) } : rig;
}

/** A rig with the values of its envVars, for starts. */
export function findRig(t: Tx, id: string): Rig | undefined {
  const row = t.first<RigRow>(/* sql */ `SELECT ${columns} FROM rigs WHERE id = ?`, id);
  return row && rigOf(row);
}

export function mustHaveRig(t: Tx, id: string): Rig {
  const rig = findRig(t, id);
  if (!rig) {
    throw notFound(`rig ${id}: not found`);
  }
  return rig;
}

/** Every rig by id, without secrets. */
export function listRigs(t: Tx): Rig[] {
  return t.all<RigRow>(/* sql */ `SELECT ${columns} FROM rigs ORDER BY id`).map((r) => withoutSecrets(rigOf(r)));
}

/** Makes or changes a rig. Variables that are given with an empty value keep the value that they have. */
export function putRig(t: Tx, rigId: string, set: RigSettings): { rig: Rig; created: boolean } {
  checkRig(set);
  const old = findRig(t, rigId);
  const settings = { ...set };
  if (set.envVars) {
    settings.envVars = Object.fromEntries(
      Object.entries(set.envVars).map(([name, value]) => [name, value || (old?.envVars?.[name] ?? "")]),
    );
  }
  const row = {
    rigId,
    settings: JSON.stringify(settings),
    createdAt: old ? Date.parse(old.createdAt) : t.now,
    updatedAt: t.now,
  };
  if (byteLength(row.settings) > maxSettings) {
    throw tooLarge(`the settings are ${byteLength(row.settings)} bytes, the most is ${maxSettings}`);
  }
  t.tell("work");
  t.exec(
    /* sql */ `INSERT INTO rigs (id, settings, created_at, updated_at) VALUES (?, ?, ?, ?)
      ON CONFLICT (id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at`,
    row.rigId,
    row.settings,
    row.createdAt,
    row.updatedAt,
  );
  return { rig: withoutSecrets(rigOf(row)), created: !old };
}

/** Takes settings with which an agent could be started. */
function checkRig(set: RigSettings): void {
  const issues: Issue[] = [];
  const add = (path: string, message: string) => issues.push({ path, message });
  if (URL.parse(set.gitUrl)?.password) {
    add("gitUrl", "must not hold a password: give the credential to the container");
  }
  const command = set.command ?? [];
  if (set.cli !== "command" && command.length > 0) {
    add("command", 'goes only with cli "command"');
  } else if (set.cli === "command" && !command[0]) {
    add("command", 'is required with cli "command": the program and its arguments');
  }
  for (const [i, arg] of command.entries()) {
    if (arg.includes("\0") || byteLength(arg) > maxEnvBytes) {
      add(`command[${i}]`, `must be at most ${maxEnvBytes} bytes without a NUL character`);
    }
  }
  for (const [name, value] of Object.entries(set.envVars ?? {})) {
    const why = wrongEnv(name, value);
    if (why !== "") {
      add(`envVars.${name}`, why);
    }
  }
  if (issues.length > 0) {
    throw invalid(issues);
  }
}

/** Says why a variable may not be given, "" when it may. */
function wrongEnv(name: string, value: string): string {
  if (name === "PATH" || name === "HOME" || name.startsWith("LD_") || name.startsWith("GIT_")) {
    return "is set by the town and may not be given";
  }
  if (name.startsWith("TOWND_")) {
    return "is reserved for the town";
  }
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    return "must be a name of letters, digits and _ that does not begin with a digit";
  }
  return value.includes("\0") || byteLength(name) + 1 + byteLength(value) > maxEnvBytes
    ? `must be at most ${maxEnvBytes} bytes with its name, without a NUL character`
    : "";
}

/** Forgets a rig with its beads, unless one is in progress or in review. */
export function deleteRig(t: Tx, rigId: string): void {
  mustHaveRig(t, rigId);
  const busy = t.count("SELECT count(*) AS n FROM beads WHERE status IN ('in_progress', 'in_review') AND rig_id = ?", rigId);
  if (busy > 0) {
    throw conflict(`rig ${rigId} has ${busy} beads in progress or in review`);
  }
  // Beads of other rigs that wait for one of this rig wait no longer.
  t.exec(
    /* sql */ `UPDATE beads SET blockers = blockers - (SELECT count(*) FROM bead_deps d JOIN beads n ON n.id = d.needs_id
      WHERE d.bead_id = beads.id AND n.rig_id = ?1 AND n.status <> 'closed')
      WHERE rig_id <> ?1 AND id IN (SELECT d.bead_id FROM bead_deps d JOIN beads n ON n.id = d.needs_id WHERE n.rig_id = ?1)`,
    rigId,
  );
  t.tell("work");
  t.exec("DELETE FROM rigs WHERE id = ?", rigId);
}
