/** What needs a person: questions, escalations and failed work, answered where they are shown. */
import { useState } from "preact/hooks";
import type { Bead, Escalation, Question } from "../api";
import { ago, line } from "../format";
import { BeadLink, type Context, Pill, Problem, useAction } from "../parts";
import { to } from "../route";

export function QuestionCard({ at, q }: { at: Context; q: Question }) {
  const [text, setText] = useState("");
  const [busy, problem, run] = useAction();
  const answer = (value: string) =>
    run(async () => {
      await at.client.answer(q.id, value);
      at.say(`Answered: ${value}`);
      at.town.refresh();
    });
  return (
    <article class="need" aria-label={`Question of ${q.agentId}`}>
      <header>
        <Pill tone="warn">{q.status === "expired" ? "question, nobody waits any more" : "question"}</Pill>
        <a href={to("agents", q.agentId)}>{q.agentId}</a>
        <span class="faint">{ago(q.createdAt)}</span>
      </header>
      <p class="words">{q.question}</p>
      <div class="row wrap">
        {q.options.map((option) => (
          <button type="button" key={option} disabled={busy} onClick={() => answer(option)}>
            {line(option, 120)}
          </button>
        ))}
        <form
          class="row grow"
          onSubmit={(e) => {
            e.preventDefault();
            if (text.trim()) answer(text.trim());
          }}
        >
          <input
            class="grow"
            aria-label={`Another answer to ${q.agentId}`}
            placeholder="Another answer…"
            value={text}
            onInput={(e) => setText(e.currentTarget.value)}
          />
          <button type="submit" disabled={busy || !text.trim()}>
            Answer
          </button>
        </form>
      </div>
      <Problem text={problem} />
    </article>
  );
}

/** A call for help; if it is of a bead that failed, that can be retried here. */
export function EscalationCard({ at, e, failed = false }: { at: Context; e: Escalation; failed?: boolean }) {
  const [text, setText] = useState("");
  const [busy, problem, run] = useAction();
  const settle = (how: "acknowledge" | "close") =>
    run(async () => {
      await at.client.settle(e.id, how, text.trim());
      at.say(how === "close" ? "Closed" : "Acknowledged");
      at.town.refresh();
    });
  const retry = () =>
    run(async () => {
      await at.client.retryBead(e.beadId ?? "", text.trim());
      await at.client.settle(e.id, "close", "");
      at.say("Retrying");
      at.town.refresh();
    });
  return (
    <article class="need" aria-label={`Escalation: ${line(e.title, 120)}`}>
      <header>
        <Pill tone={e.severity === "critical" || e.severity === "high" ? "bad" : "warn"}>{e.severity} escalation</Pill>
        {e.agentId && <a href={to("agents", e.agentId)}>{e.agentId}</a>}
        {e.beadId && <BeadLink id={e.beadId} />}
        <span class="faint">
          {ago(e.createdAt)}
          {e.count > 1 && `, ${e.count} times`}
          {e.raisedAt && `, raised again ${e.raises} times, last ${ago(e.raisedAt)}`}
          {e.status === "acknowledged" && ", acknowledged"}
        </span>
      </header>
      <p class="strong words">{e.title}</p>
      {e.body && <p class="words clamp">{e.body}</p>}
      <form
        class="row wrap"
        onSubmit={(event) => {
          event.preventDefault();
          settle("close");
        }}
      >
        <input
          class="grow"
          aria-label={`Answer to: ${line(e.title, 60)}`}
          placeholder={e.agentId && !failed ? "Answer (optional)…" : "Remark (optional)…"}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        {failed ? (
          <button type="button" disabled={busy} onClick={retry}>
            Retry
          </button>
        ) : (
          e.status === "open" && (
            <button type="button" disabled={busy} onClick={() => settle("acknowledge")}>
              Acknowledge
            </button>
          )
        )}
        <button type="submit" disabled={busy}>
          Close
        </button>
      </form>
      <Problem text={problem} />
    </article>
  );
}

export function FailedCard({ at, b }: { at: Context; b: Bead }) {
  const [busy, problem, run] = useAction();
  const retry = () =>
    run(async () => {
      await at.client.retryBead(b.id, "");
      at.say(`Retrying ${b.title}`);
      at.town.refresh();
    });
  return (
    <article class="need" aria-label={`Failed: ${line(b.title, 120)}`}>
      <header>
        <Pill tone="bad">failed</Pill>
        <BeadLink id={b.id} title={b.title} />
        <span class="faint">{ago(b.closedAt)}</span>
      </header>
      <p class="words clamp">{b.why}</p>
      <div class="row">
        <button type="button" disabled={busy} onClick={retry}>
          Retry
        </button>
      </div>
      <Problem text={problem} />
    </article>
  );
}
