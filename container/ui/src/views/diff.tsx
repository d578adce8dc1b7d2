/** What an agent changed in its worktree. */
import { useMemo } from "preact/hooks";
import { short } from "../format";
import { type Context, Empty, Problem, useRead } from "../parts";
import type { Resident } from "../town";

export function DiffTab({ at, a }: { at: Context; a: Resident }) {
  const [diff, problem, again] = useRead(() => at.client.diff(a.agentId), a.agentId, 0);
  const parts = useMemo(() => (diff ? split(diff.patch) : []), [diff]);
  if (!diff) return problem ? <Problem text={problem} /> : <div class="skeleton tall" aria-hidden="true" />;
  return (
    <section aria-label="Changes">
      <div class="bar">
        <span class="faint">
          {diff.files.length} {diff.files.length === 1 ? "file" : "files"} against{" "}
          <span class="mono">{diff.base.slice(0, 8)}</span>
          {diff.truncated && ", cut at 1 MiB"}
        </span>
        <span class="grow" />
        <button type="button" onClick={again}>
          Refresh
        </button>
      </div>
      {diff.files.length === 0 && (
        <Empty title={`${a.name} has changed nothing ${a.beadId ? `for ${short(a.beadId)} ` : ""}yet.`} />
      )}
      {parts.map((part, i) => (
        <details key={part.name} class="file" open={i < 20}>
          <summary class="mono">{part.name}</summary>
          <pre class="patch">
            {part.lines.map((text, n) => (
              <span key={n} class={tone(text)}>
                {text}
                {"\n"}
              </span>
            ))}
          </pre>
        </details>
      ))}
    </section>
  );
}

function split(patch: string): { name: string; lines: string[] }[] {
  const parts: { name: string; lines: string[] }[] = [];
  for (const text of patch.split("\n").slice(0, 20_000)) {
    if (text.startsWith("diff --git "))
      parts.push({ name: text.replace(/^diff --git a\/(.*) b\/.*$/, "$1"), lines: [] });
    else if (!/^(index|---|\+\+\+) /.test(text)) parts.at(-1)?.lines.push(text.slice(0, 2000));
  }
  const last = parts.at(-1)?.lines;
  if (last?.at(-1) === "") last.pop();
  return parts;
}

function tone(text: string): string {
  if (text.startsWith("@@")) return "hunk";
  if (text.startsWith("+")) return "added";
  return text.startsWith("-") ? "removed" : "";
}
