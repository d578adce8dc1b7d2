/** Questions, escalations and mail, answered where they stand. */
import { ago } from "../format";
import { type Context, Empty, Pill, Problem, useAction, useRead } from "../parts";
import { useTown } from "../town";
import { EscalationCard, QuestionCard } from "./needs";

export function Inbox({ at }: { at: Context }) {
  const read = async () => {
    const [questions, escalations, mail] = await Promise.all([
      at.client.questions(),
      at.client.escalations(),
      at.client.mail(),
    ]);
    return { questions, escalations, mail };
  };
  const view = useTown(at.town);
  // What was answered here leaves at once: the town is read again then.
  const settled = `${view.status?.questions.length} ${view.status?.escalations.map((e) => e.status).join()}`;
  const [all, problem, again] = useRead(read, "", 3000, settled);
  if (!all) return problem ? <Problem text={problem} /> : <div class="skeleton tall" aria-hidden="true" />;
  const open = all.questions.filter((q) => q.status === "open" || q.status === "expired");
  const escalations = all.escalations.filter((e) => e.status !== "closed");
  const over = all.questions.filter((q) => q.status === "answered").slice(0, 20);
  return (
    <section class="inbox" aria-label="Inbox">
      <h1>Inbox</h1>
      <Problem text={problem} />
      {open.length + escalations.length === 0 && <Empty title="Nobody needs you." />}
      <div class="needs">
        {open.map((q) => (
          <QuestionCard key={q.id} at={at} q={q} />
        ))}
        {escalations.map((e) => (
          <EscalationCard key={e.id} at={at} e={e} />
        ))}
      </div>
      <h2>Mail</h2>
      <Write at={at} sent={again} />
      {all.mail.length === 0 && <p class="faint">No mail yet. Mail waits until its reader has acknowledged it.</p>}
      <ul class="lines">
        {all.mail.map((m) => (
          <li key={m.id}>
            <span class="faint">
              {m.from} → {m.to}, {ago(m.createdAt)}
            </span>{" "}
            <Pill tone={m.ackedAt ? "calm" : "warn"}>{m.ackedAt ? "read" : "not read"}</Pill>
            <p class="strong words">{m.subject}</p>
            {m.body && <p class="words clamp">{m.body}</p>}
          </li>
        ))}
      </ul>
      {over.length > 0 && (
        <>
          <h2>Answered</h2>
          <ul class="lines">
            {over.map((q) => (
              <li key={q.id}>
                <span class="words">{q.question}</span> <span class="strong words">{q.answer}</span>{" "}
                <span class="faint">{ago(q.answeredAt)}</span>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function Write({ at, sent }: { at: Context; sent: () => void }) {
  const view = useTown(at.town);
  const [busy, problem, run] = useAction();
  const names = ["mayor", ...view.agents.map((a) => a.agentId).filter((id) => id !== "mayor")];
  return (
    <details>
      <summary>Write mail</summary>
      <form
        class="panel"
        aria-label="New mail"
        onSubmit={(e) => {
          e.preventDefault();
          const form = e.currentTarget;
          const data = new FormData(form);
          const value = (name: string) => String(data.get(name) ?? "");
          run(async () => {
            await at.client.sendMail(value("to"), value("subject"), value("body"));
            form.reset();
            at.say("Sent");
            sent();
          });
        }}
      >
        <label>
          To
          <select name="to">
            {names.map((id) => (
              <option key={id}>{id}</option>
            ))}
          </select>
        </label>
        <label>
          Subject
          <input name="subject" required maxLength={500} />
        </label>
        <label>
          Text
          <textarea name="body" rows={3} />
        </label>
        <div class="row">
          <button type="submit" class="primary" disabled={busy}>
            Send
          </button>
        </div>
        <Problem text={problem} />
      </form>
    </details>
  );
}
