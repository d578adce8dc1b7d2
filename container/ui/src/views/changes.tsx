/** What an agent changed in its worktree, and the files that are kept of its run. */
import { useMemo } from "preact/hooks";
import { bytes, line, many, short } from "../format";
import { type Context, Empty, Problem, Save, useRead } from "../parts";
import type { Resident } from "../town";

export function ChangesTab({ at, a }: { at: Context; a: Resident }) {
  return (
    <section aria-label="Changes">
      {a.runId && <Kept at={at} a={a} />}
      <Patch at={at} a={a} />
    </section>
  );
}

/** The artifacts of the newest run: they are taken soon after it has reported done or ended. */
function Kept({ at, a }: { at: Context; a: Resident }) {
  const [kept, problem] = useRead(() => at.client.artifacts(a.agentId, a.runId), `${a.agentId} ${a.runId}`);
  if (!kept?.artifacts.length && !kept?.leftOutCount) return <Problem text={problem} />;
  return (
    <div class="kept">
      <ul class="lines" aria-label="Kept of this run">
        {kept.artifacts.map((file) => (
          <li key={file.name} class="row">
            <span class="mono">{line(file.name, 120)}</span>
            <span class="faint" title={`SHA-256 ${file.sha256}`}>
              {file.kind === "file" ? "left by the agent" : file.kind}, {bytes(file.bytes)}
              {file.truncated && ", ends early"}
            </span>
            <span class="grow" />
            <Save
              read={() => at.client.artifact(a.agentId, a.runId, file.name)}
              file={file.name}
              title="It is an agent's, and may be anything"
            />
          </li>
        ))}
      </ul>
      {!!kept.leftOutCount && (
        <details class="faint">
          <summary>{many(kept.leftOutCount, "file was", "files were")} left out</summary>
          <ul class="lines">
            {kept.leftOut?.map((file) => (
              <li key={file.path}>
                <span class="mono">{line(file.path, 120)}</span> {line(file.why, 120)}
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

function Patch({ at, a }: { at: Context; a: Resident }) {
  const [diff, problem, again] = useRead(() => at.client.diff(a.agentId), a.agentId, 0);
  const parts = useMemo(() => (diff ? split(diff.patch) : []), [diff]);
  if (!diff) return problem ? <Problem text={problem} /> : <div class="skeleton tall" aria-hidden="true" />;
  return (
    <>
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
    </>
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
