import { mustHaveAgent } from "./agentrows";
import { giveBack } from "./apply";
import { addNote, agentsBead } from "./beadrows";
import { by, type Caller, leads, mustBe } from "./caller";
import { cut, instant, instantOr, newID, parse, type Question, type QuestionStatus, type Schemas, text } from "./contract";
import { conflict, notFound } from "./errors";
import { tellAgent, waits } from "./escalations";
import { type Tx, Where } from "./store";

type QuestionRow = {
  id: string;
  agentId: string;
  beadId: string;
  question: string;
  options: string; // JSON
  status: QuestionStatus;
  answer: string;
  createdAt: number;
  expiresAt: number;
  answeredAt: number | null;
};

const columns = `id, agent_id AS agentId, bead_id AS beadId, question, options, status, answer, created_at AS createdAt,
  expires_at AS expiresAt, answered_at AS answeredAt`;

function questionOf(q: QuestionRow): Question {
  return {
    ...q,
    beadId: text(q.beadId),
    options: parse<string[]>(q.options),
    answer: text(q.answer),
    createdAt: instant(q.createdAt),
    expiresAt: instant(q.expiresAt),
    answeredAt: instantOr(q.answeredAt),
  };
}

/** A question past its time is expired before that is written down, which is at the next tick. */
const asOf = (t: Tx, q: QuestionRow): QuestionRow => (q.status === "open" && t.now >= q.expiresAt ? { ...q, status: "expired" } : q);

function load(t: Tx, id: string): QuestionRow {
  const q = t.first<QuestionRow>(/* sql */ `SELECT ${columns} FROM questions WHERE id = ?`, id);
  if (!q) {
    throw notFound(`question ${id}: not found`);
  }
  return asOf(t, q);
}

export const getQuestion = (t: Tx, id: string): Question => questionOf(load(t, id));

/** The newest questions of an agent, oldest first. */
export function questionsOf(t: Tx, agentId: string): Question[] {
  return t
    .all<QuestionRow>(/* sql */ `SELECT ${columns} FROM questions WHERE agent_id = ? ORDER BY n DESC LIMIT 20`, agentId)
    .reverse()
    .map(questionOf);
}

/** Keeps an agent's question to people. */
export function ask(t: Tx, agentId: string, req: Schemas["AskRequest"]): Question {
  const a = mustHaveAgent(t, agentId);
  const q: QuestionRow = {
    id: newID(t.now),
    agentId,
    beadId: a.beadId,
    question: req.question,
    options: JSON.stringify(req.options),
    status: "open",
    answer: "",
    createdAt: t.now,
    expiresAt: t.now + Math.floor((req.waitSeconds || 600) * 1000),
    answeredAt: null,
  };
  t.tell("work");
  t.tell("questions");
  t.exec(
    /* sql */ `INSERT INTO questions (id, agent_id, bead_id, question, options, status, answer, created_at, expires_at)
      VALUES (?, ?, ?, ?, ?, 'open', '', ?, ?)`,
    q.id,
    q.agentId,
    q.beadId,
    q.question,
    q.options,
    q.createdAt,
    q.expiresAt,
  );
  return questionOf(q);
}

/** Questions of that status (of all when ""), newest first, at most 500. */
export function listQuestions(t: Tx, status: string): Question[] {
  const w = new Where();
  if (status === "open") {
    w.and("status = 'open' AND expires_at > ?", t.now);
  } else if (status === "expired") {
    w.and("(status = 'expired' OR status = 'open' AND expires_at <= ?)", t.now);
  } else {
    w.equal("status", status);
  }
  return t
    .all<QuestionRow>(/* sql */ `SELECT ${columns} FROM questions${w} ORDER BY n DESC LIMIT 500`, ...w.values)
    .map((q) => questionOf(asOf(t, q)));
}

/** Answers a question. When nobody waits for it any more the agent is told by a message, or its bead is taken up again. */
export function answerQuestion(t: Tx, c: Caller, id: string, answer: string): Question {
  const q = load(t, id);
  if (q.status === "answered" && q.answer === answer) {
    return questionOf(q);
  }
  if (q.status === "answered" || q.status === "cancelled") {
    throw conflict(`question ${id} is ${q.status}`);
  }
  const late = q.status === "expired";
  const made: QuestionRow = { ...q, status: "answered", answer, answeredAt: t.now };
  save(t, made);
  bringAnswer(t, c, made, late);
  return questionOf(made);
}

function save(t: Tx, q: QuestionRow): void {
  t.tell("questions");
  t.tell("work");
  t.exec("UPDATE questions SET status = ?, answer = ?, answered_at = ? WHERE id = ?", q.status, q.answer, q.answeredAt, q.id);
}

/** Brings an answer to its agent: who waits gets it, who ended to wait goes on, others are told. */
function bringAnswer(t: Tx, c: Caller, q: QuestionRow, late: boolean): void {
  const b = agentsBead(t, q.agentId);
  if (b) {
    addNote(t, { beadId: b.id, kind: "note", by: by(c), text: `${q.question}\nAnswer: ${q.answer}` });
    const a = mustHaveAgent(t, q.agentId);
    if (waits(a, b)) {
      giveBack(t, b, b.epoch, "its question was answered");
      return;
    }
  }
  if (late) {
    tellAgent(t, c, q.agentId, cut(`answer to your question: ${q.question}`, 500), q.answer);
  }
}

/** Takes a question back. An agent may its own. */
export function cancelQuestion(t: Tx, c: Caller, id: string): Question {
  const q = load(t, id);
  if (!leads(c)) {
    mustBe(c, q.agentId);
  }
  if (q.status === "answered") {
    throw conflict(`question ${id} is answered`);
  }
  if (q.status === "cancelled") {
    return questionOf(q);
  }
  const made: QuestionRow = { ...q, status: "cancelled" };
  save(t, made);
  return questionOf(made);
}

/** Writes down that nobody waits for questions any more. */
export function expireQuestions(t: Tx): void {
  if (t.changed("UPDATE questions SET status = 'expired' WHERE status = 'open' AND expires_at <= ?", t.now) > 0) {
    t.tell("questions");
    t.tell("work");
  }
}
