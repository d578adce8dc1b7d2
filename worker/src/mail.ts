import { mustHaveAgent } from "./agentrows";
import { by, type Caller, leads, mustBe } from "./caller";
import { instant, instantOr, type Mail, newID, type Schemas } from "./contract";
import { type Tx, Where } from "./store";

type MailRow = { id: string; from: string; to: string; subject: string; body: string; createdAt: number; ackedAt: number | null };

const columns = `id, sender AS "from", recipient AS "to", subject, body, created_at AS createdAt, acked_at AS ackedAt`;

/** Bounds lists of mail. */
const maxMail = 500;

const mailOf = (m: MailRow): Mail => ({ ...m, createdAt: instant(m.createdAt), ackedAt: instantOr(m.ackedAt) });

/** Mail, oldest first, at most 500; without all only what is not acknowledged. An agent reads only its own. */
export function listMail(t: Tx, c: Caller, to: string, all: boolean): Mail[] {
  let reader = to;
  if (!leads(c)) {
    mustBe(c, to || c.agentId);
    reader = c.agentId;
  }
  const w = new Where().equal("recipient", reader);
  if (!all) {
    w.and("acked_at IS NULL");
  }
  return t.all<MailRow>(/* sql */ `SELECT ${columns} FROM mail${w} ORDER BY n LIMIT ?`, ...w.values, maxMail).map(mailOf);
}

/** Acknowledges mail of an agent, and returns how many were not before. */
export function ackMail(t: Tx, agentId: string, ids: string[]): number {
  let acked = 0;
  for (const id of ids) {
    acked += t.changed("UPDATE mail SET acked_at = ? WHERE id = ? AND recipient = ? AND acked_at IS NULL", t.now, id, agentId);
  }
  return acked;
}

/** Sends mail. An agent sends it as itself. */
export function sendMail(t: Tx, c: Caller, req: Schemas["MailRequest"]): Mail {
  if (c.agentId !== "" && req.from) {
    mustBe(c, req.from);
  }
  if (req.to !== "mayor") {
    mustHaveAgent(t, req.to);
  }
  return postMail(t, { from: req.from || by(c), to: req.to, subject: req.subject, body: req.body ?? "" });
}

/** Puts mail where its reader finds it. */
export function postMail(t: Tx, m: { from: string; to: string; subject: string; body: string }): Mail {
  const id = newID(t.now);
  t.tell("work");
  t.exec(
    "INSERT INTO mail (id, sender, recipient, subject, body, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    id,
    m.from,
    m.to,
    m.subject,
    m.body,
    t.now,
  );
  return mailOf({ id, ...m, createdAt: t.now, ackedAt: null });
}
