/** A run of an agent once more. */
import { useCallback, useState } from "preact/hooks";
import { ago } from "../format";
import { type Context, useRead } from "../parts";
import type { Resident } from "../town";
import { Player, parse, talk } from "./player";

/** The output of one run at a time; of a program without a terminal (words) the conversation, which goes over all of them. */
export function Replay({ at, a, words }: { at: Context; a: Resident; words: boolean }) {
  const [runs] = useRead(
    async () => (at.town.hall && !words ? at.client.runs({ agent: a.agentId, limit: 50 }) : []),
    a.agentId,
    0,
  );
  const [run, setRun] = useState(a.runId);
  const read = useCallback(
    (signal: AbortSignal) =>
      words ? at.client.allEvents(a.agentId).then(talk) : at.client.recording(a.agentId, run, signal).then(parse),
    [at, a.agentId, run, words],
  );
  const others = (runs ?? []).filter((r) => r.runId !== a.runId);
  return (
    <section aria-label="Replay">
      {others.length > 0 && (
        <div class="bar">
          <label>
            Run{" "}
            <select value={run} onChange={(e) => setRun(e.currentTarget.value)}>
              <option value={a.runId}>newest</option>
              {others.map((r) => (
                <option key={r.runId} value={r.runId}>
                  {ago(r.startedAt)}, {r.status}
                </option>
              ))}
            </select>
          </label>
        </div>
      )}
      <Player key={run} read={read} />
    </section>
  );
}
