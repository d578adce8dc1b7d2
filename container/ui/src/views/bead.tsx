/** One bead: what it is, where it stands and why, what became of it so far, and what a person can do. */
import { useState } from "preact/hooks";
import type { Bead, BeadPatch, Note, Run } from "../api";
import { ago, clock, line } from "../format";
import { BeadLink, type Context, Outside, Pill, Problem, RunList, Sure, useAction, useRead } from "../parts";
import { to } from "../route";

interface Whole {
  bead: Bead;
  notes: Note[];
  runs: Run[];
}

export function BeadView({ at, id }: { at: Context; id: string }) {
  const read = async (): Promise<Whole> => {
    const [bead, notes, runs] = await Promise.all([
      at.client.bead(id),
      at.client.notes(id),
      at.client.runs({ bead: id, limit: 50 }),
    ]);
    return { bead, notes, runs };
  };
  const [whole, problem, again] = useRead(read, id, 2500);
  const [editing, setEditing] = useState(false);
  if (!whole) return problem ? <Problem text={problem} /> : <div class="skeleton tall" aria-hidden="true" />;
  const { bead } = whole;
  const changed = () => {
    again();
    at.town.refresh();
  };
  const saved = () => {
    setEditing(false);
    changed();
  };
  return (
    <article class="bead">
      <p>
        <a href="#/beads">Beads</a> <span class="faint mono">{bead.id}</span>
      </p>
      <div class="row wrap">
        <h1 class="words">{bead.title}</h1>
        <Pill tone={tone(bead)}>{bead.status.replace("_", " ")}</Pill>
      </div>
      <p class="why">{line(bead.why, 400)}</p>
      <Problem text={problem} />
      <Actions at={at} bead={bead} changed={changed} edit={() => setEditing(!editing)} />
      {editing && <Edit at={at} bead={bead} done={saved} />}
      <div class="two">
        <div>
          {bead.body && <p class="words body">{bead.body}</p>}
          {bead.summary && (
            <section aria-label="Summary">
              <h2>What was done</h2>
              <p class="words">{bead.summary}</p>
            </section>
          )}
          {bead.feedback && (
            <section aria-label="Feedback">
              <h2>Why it came back</h2>
              <pre class="words">{bead.feedback}</pre>
            </section>
          )}
          <History at={at} whole={whole} changed={changed} />
        </div>
        <Facts bead={bead} runs={whole.runs} />
      </div>
    </article>
  );
}

function tone(b: Bead): string {
  return { open: b.hold ? "warn" : "calm", in_progress: "good", in_review: "good", closed: "calm", failed: "bad" }[
    b.status
  ];
}

function Actions({ at, bead, changed, edit }: { at: Context; bead: Bead; changed: () => void; edit: () => void }) {
  const [busy, problem, run] = useAction();
  const act = (what: () => Promise<unknown>, said: string) =>
    run(async () => {
      await what();
      at.say(said);
      changed();
    });
  const over = bead.status === "closed" || bead.status === "failed";
  const id = bead.id;
  return (
    <>
      <div class="row wrap">
        {(over || bead.hold || bead.notBefore) && (
          <button
            type="button"
            class="primary"
            disabled={busy}
            onClick={() => act(() => at.client.retryBead(id, ""), "Retrying")}
          >
            Retry
          </button>
        )}
        {!over && (
          <button type="button" onClick={edit}>
            Edit
          </button>
        )}
        {bead.status === "open" && !bead.hold && (
          <button
            type="button"
            disabled={busy}
            onClick={() => act(() => at.client.patchBead(id, { hold: "held by a person" }), "Held")}
          >
            Hold
          </button>
        )}
        {bead.agentId && (
          <a class="button" href={to("agents", bead.agentId)}>
            Watch {bead.agentId}
          </a>
        )}
        {!over && (
          <Sure
            label="Close"
            sure="Close it, really"
            busy={busy}
            act={() => act(() => at.client.closeBead(id, "closed by a person"), "Closed")}
          />
        )}
      </div>
      <Problem text={problem} />
    </>
  );
}

function Edit({ at, bead, done }: { at: Context; bead: Bead; done: () => void }) {
  const [busy, problem, run] = useAction();
  const submit = (form: HTMLFormElement) => {
    const data = new FormData(form);
    const value = (name: string) => String(data.get(name) ?? "");
    const patch: BeadPatch = { title: value("title"), body: value("body") };
    const priority = (["low", "medium", "high", "critical"] as const).find((p) => p === value("priority"));
    if (priority) patch.priority = priority;
    const labels = value("labels")
      .split(",")
      .map((l) => l.trim());
    patch.labels = labels.filter(Boolean);
    patch.dependsOn = value("dependsOn")
      .split(/[\s,]+/)
      .filter(Boolean);
    run(async () => {
      await at.client.patchBead(bead.id, patch);
      done();
    });
  };
  return (
    <form
      class="panel"
      aria-label="Edit bead"
      onSubmit={(e) => {
        e.preventDefault();
        submit(e.currentTarget);
      }}
    >
      <label>
        Title
        <input name="title" required maxLength={500} defaultValue={bead.title} />
      </label>
      <label>
        What is to be done
        <textarea name="body" rows={6} defaultValue={bead.body} />
      </label>
      <div class="row wrap">
        <label>
          Priority
          <select name="priority">
            {["low", "medium", "high", "critical"].map((p) => (
              <option key={p} selected={p === bead.priority}>
                {p}
              </option>
            ))}
          </select>
        </label>
        <label class="grow">
          Labels, separated by commas
          <input name="labels" defaultValue={bead.labels.join(", ")} />
        </label>
      </div>
      <label>
        Only after these beads (ids)
        <input name="dependsOn" class="mono" defaultValue={bead.dependsOn.join(" ")} />
      </label>
      <div class="row">
        <button type="submit" class="primary" disabled={busy}>
          Save
        </button>
      </div>
      <Problem text={problem} />
    </form>
  );
}

function History({ at, whole, changed }: { at: Context; whole: Whole; changed: () => void }) {
  const [text, setText] = useState("");
  const [busy, problem, run] = useAction();
  return (
    <section aria-label="History">
      <h2>History</h2>
      <ol class="history">
        {whole.notes.map((n) => (
          <li key={n.id} class={n.kind}>
            <span class="faint">
              <time dateTime={n.createdAt}>{clock(n.createdAt)}</time> {n.by} {n.kind !== "status" && n.kind}
            </span>
            <p class="words">{n.text}</p>
          </li>
        ))}
      </ol>
      <form
        class="row"
        onSubmit={(e) => {
          e.preventDefault();
          run(async () => {
            await at.client.addNote(whole.bead.id, text);
            setText("");
            changed();
          });
        }}
      >
        <input
          class="grow"
          aria-label="A note"
          placeholder="Note something for whoever works on it…"
          value={text}
          onInput={(e) => setText(e.currentTarget.value)}
        />
        <button type="submit" disabled={busy || !text.trim()}>
          Add
        </button>
      </form>
      <Problem text={problem} />
    </section>
  );
}

function Facts({ bead, runs }: { bead: Bead; runs: Run[] }) {
  return (
    <aside class="facts-list" aria-label="Facts">
      <dl>
        <dt>Rig</dt>
        <dd>{bead.rigId}</dd>
        <dt>Type</dt>
        <dd>
          {bead.type}, {bead.priority}
        </dd>
        <dt>Attempts</dt>
        <dd>
          {bead.attempts} of {bead.maxAttempts}
          {bead.reworks > 0 && `, ${bead.reworks} reworks`}
        </dd>
        <dt>From</dt>
        <dd>{line(bead.source, 80)}</dd>
        {bead.branch && (
          <>
            <dt>Branch</dt>
            <dd class="mono">{bead.branch}</dd>
          </>
        )}
        {bead.commit && (
          <>
            <dt>Commit</dt>
            <dd class="mono">{bead.commit.slice(0, 12)}</dd>
          </>
        )}
        {bead.pullRequest && (
          <>
            <dt>Pull request</dt>
            <dd>
              <Outside url={bead.pullRequest} />
            </dd>
          </>
        )}
        {bead.labels.length > 0 && (
          <>
            <dt>Labels</dt>
            <dd>{bead.labels.map((l) => line(l, 60)).join(", ")}</dd>
          </>
        )}
        {bead.dependsOn.length > 0 && (
          <>
            <dt>Only after</dt>
            <dd>
              {bead.dependsOn.map((id) => (
                <span key={id}>
                  <BeadLink id={id} />{" "}
                </span>
              ))}
            </dd>
          </>
        )}
        <dt>Made</dt>
        <dd>{ago(bead.createdAt)}</dd>
      </dl>
      {runs.length > 0 && (
        <>
          <h2>Runs</h2>
          <RunList runs={runs} />
        </>
      )}
    </aside>
  );
}
