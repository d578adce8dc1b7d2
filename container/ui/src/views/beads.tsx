/** The town's work: a board by status, and how to add to it. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Bead, BeadRequest } from "../api";
import { ago, line, short } from "../format";
import { type Context, Empty, Pill, Problem, useAction, useRead } from "../parts";
import { go, type Route, to } from "../route";
import { useTown } from "../town";

export const columns = [
  ["open", "Open"],
  ["in_progress", "In progress"],
  ["in_review", "In review"],
  ["failed", "Failed"],
  ["closed", "Closed"],
] as const;

const priorities = ["low", "medium", "high", "critical"] as const;
const types = ["issue", "bug", "feature", "chore", "docs"] as const;

export function Board({ at, route }: { at: Context; route: Route }) {
  const view = useTown(at.town);
  const [making, setMaking] = useState(route.query.has("new"));
  const [rig, setRig] = useState("");
  const [text, setText] = useState("");
  const [page, problem, again] = useRead(() => read(at, rig, text), `${rig} ${text}`, 3000);
  useEffect(() => {
    if (route.query.has("new")) setMaking(true);
  }, [route.query]);
  const rigs = view.status?.rigs.map((r) => r.rigId) ?? [];
  const open = useMemo(() => new Set(page?.filter((b) => b.status !== "closed").map((b) => b.id)), [page]);
  return (
    <section aria-label="Beads">
      <div class="bar">
        <h1>Beads</h1>
        <span class="grow" />
        {rigs.length > 1 && (
          <select aria-label="Rig" value={rig} onChange={(e) => setRig(e.currentTarget.value)}>
            <option value="">all rigs</option>
            {rigs.map((id) => (
              <option key={id}>{id}</option>
            ))}
          </select>
        )}
        <input
          type="search"
          class="filter"
          placeholder="Search (/)"
          aria-label="Search beads"
          value={text}
          onInput={(e) => setText(e.currentTarget.value)}
        />
        <button type="button" class="primary" aria-expanded={making} onClick={() => setMaking(!making)}>
          New bead
        </button>
      </div>
      {making && view.loaded && (
        <NewBead
          at={at}
          rigs={rigs}
          beads={page ?? []}
          done={() => {
            setMaking(false);
            if (route.query.has("new")) go("#/beads");
            again();
          }}
        />
      )}
      <Problem text={problem} />
      <div class="board">
        {columns.map(([status, title]) => (
          <Column
            key={status}
            title={title}
            beads={page?.filter((b) => b.status === status)}
            open={open}
            total={view.status?.beads[status]}
          />
        ))}
      </div>
    </section>
  );
}

async function read(at: Context, rig: string, q: string): Promise<Bead[]> {
  const lists = await Promise.all(
    columns.map(([status]) => at.client.beads({ rig, q, status, limit: status === "closed" ? 50 : 200 })),
  );
  return lists.flatMap((list) => list.beads);
}

interface ColumnProps {
  title: string;
  beads: Bead[] | undefined;
  open: Set<string>;
  total: number | undefined;
}

function Column({ title, beads, open, total }: ColumnProps) {
  return (
    <section class="column" aria-label={title}>
      <h2>
        {title} <span class="faint">{total ?? ""}</span>
      </h2>
      {!beads && <div class="card skeleton" aria-hidden="true" />}
      {beads?.length === 0 && <p class="faint none">None</p>}
      <ul>
        {beads?.map((b) => (
          <li key={b.id}>
            <a class="card" href={to("beads", b.id)}>
              <span class="words">{line(b.title, 140)}</span>
              <span class="row wrap faint">
                {b.priority !== "medium" && <Pill tone={b.priority === "low" ? "calm" : "warn"}>{b.priority}</Pill>}
                <span>{b.type}</span>
                <span>{b.rigId}</span>
                {b.dependsOn.some((id) => open.has(id)) && (
                  <Pill tone="calm">after {b.dependsOn.filter((id) => open.has(id)).length}</Pill>
                )}
                {b.attempts > 1 && <span>attempt {b.attempts}</span>}
                {b.hold && <Pill tone="warn">held</Pill>}
              </span>
              {b.why && b.status !== "closed" && <span class="faint">{line(b.why, 110)}</span>}
              <span class="faint">{ago(b.updatedAt)}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}

function NewBead({ at, rigs, beads, done }: { at: Context; rigs: string[]; beads: Bead[]; done: () => void }) {
  const first = useRef<HTMLInputElement>(null);
  const [busy, problem, run] = useAction();
  useEffect(() => first.current?.focus(), []);
  if (rigs.length === 0)
    return (
      <Empty title="Work needs a repository first.">
        <code>townd rig add NAME --repo URL</code>
      </Empty>
    );
  const submit = (form: HTMLFormElement) => {
    const data = new FormData(form);
    const value = (name: string) => String(data.get(name) ?? "");
    const bead: BeadRequest = {
      title: value("title"),
      body: value("body"),
      type: types.find((t) => t === value("type")) ?? "issue",
      priority: priorities.find((p) => p === value("priority")) ?? "medium",
      dependsOn: data.getAll("dependsOn").map(String),
      source: "person",
    };
    run(async () => {
      const made = await at.client.createBead(value("rig"), bead);
      at.say(`Made ${made.title}`);
      at.town.refresh();
      done();
    });
  };
  return (
    <form
      class="panel"
      aria-label="New bead"
      onSubmit={(e) => {
        e.preventDefault();
        submit(e.currentTarget);
      }}
    >
      <label>
        Title
        <input ref={first} name="title" required maxLength={500} autocomplete="off" />
      </label>
      <label>
        What is to be done
        <textarea name="body" rows={4} maxLength={262144} />
      </label>
      <div class="row wrap">
        <label>
          Rig
          <select name="rig">
            {rigs.map((id) => (
              <option key={id}>{id}</option>
            ))}
          </select>
        </label>
        <label>
          Type
          <select name="type">
            {types.map((t) => (
              <option key={t}>{t}</option>
            ))}
          </select>
        </label>
        <label>
          Priority
          <select name="priority" defaultValue="medium">
            {priorities.map((p) => (
              <option key={p} selected={p === "medium"}>
                {p}
              </option>
            ))}
          </select>
        </label>
      </div>
      <Dependencies beads={beads} />
      <div class="row">
        <button type="submit" class="primary" disabled={busy}>
          Create
        </button>
        <button type="button" onClick={done}>
          Cancel
        </button>
      </div>
      <Problem text={problem} />
    </form>
  );
}

/** Chooses beads that must be closed first. */
export function Dependencies({ beads, chosen = [] }: { beads: Bead[]; chosen?: string[] }) {
  const choices = beads.filter((b) => chosen.includes(b.id) || (b.status !== "closed" && b.status !== "failed"));
  if (choices.length === 0) return null;
  return (
    <details>
      <summary>Only after other beads</summary>
      <div class="choices">
        {choices.map((b) => (
          <label class="check" key={b.id}>
            <input type="checkbox" name="dependsOn" value={b.id} defaultChecked={chosen.includes(b.id)} />{" "}
            {line(b.title, 80)} <span class="faint mono">{short(b.id)}</span>
          </label>
        ))}
      </div>
    </details>
  );
}
