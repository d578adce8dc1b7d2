/** The merge queue: what waits to go in, and what became of the last ones. */
import type { Merge } from "../api";
import { ago, line } from "../format";
import { BeadLink, type Context, Empty, Outside, Pill, Problem, useRead } from "../parts";
import { useTown } from "../town";

const ended = ["merged", "conflict", "gates_failed", "rejected", "failed", "cancelled"];

export function Merges({ at }: { at: Context }) {
  const { status } = useTown(at.town);
  // A merge that moves is another in the status, or one less; and where it ends a bead does.
  const mark = JSON.stringify([status?.merges, status?.beads]);
  const [merges, problem] = useRead(() => at.client.merges(), "", 0, mark);
  const active = merges?.filter((m) => !ended.includes(m.status)) ?? [];
  const over = merges?.filter((m) => ended.includes(m.status)) ?? [];
  over.sort((a, b) => b.updatedAt.localeCompare(a.updatedAt));
  return (
    <section aria-label="Merge queue">
      <h1>Merge queue</h1>
      <Problem text={problem} />
      {!merges && !problem && <div class="skeleton tall" aria-hidden="true" />}
      {merges && active.length === 0 && <Empty title="Nothing waits to be merged." />}
      {active.length > 0 && <Table merges={active} caption="In the queue" />}
      {over.length > 0 && <Table merges={over} caption="Decided" />}
    </section>
  );
}

function tone(m: Merge): string {
  if (m.status === "merged") return "good";
  if (m.status === "waiting" || m.status === "cancelled") return "calm";
  return ended.includes(m.status) ? "bad" : "warn";
}

function Table({ merges, caption }: { merges: Merge[]; caption: string }) {
  return (
    <div class="scroll">
      <table class="queue">
        <caption>{caption}</caption>
        <thead>
          <tr>
            <th scope="col">Status</th>
            <th scope="col">Branch</th>
            <th scope="col">Bead</th>
            <th scope="col">What happened</th>
            <th scope="col">When</th>
          </tr>
        </thead>
        <tbody>
          {merges.map((m) => (
            <tr key={m.id}>
              <td>
                <Pill tone={tone(m)}>{m.status.replace("_", " ")}</Pill>
              </td>
              <td class="mono">
                {m.branch} → {m.target || "default"}
              </td>
              <td>
                <BeadLink id={m.beadId} />
              </td>
              <td>
                {line(m.message ?? "", 240)} {m.attempts > 1 && <span class="faint">attempt {m.attempts}</span>}{" "}
                <span class="faint mono">{m.commit?.slice(0, 8)}</span> <Outside url={m.pullRequest} />
              </td>
              <td class="faint">{ago(m.updatedAt)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
