/** A run of an agent once more. */
import { useCallback, useState } from "preact/hooks";
import { ago } from "../format";
import { type Context, Save, useRead } from "../parts";
import type { Resident } from "../town";
import { Player, parse, talk } from "./player";
import { ShareButton } from "./share";

/** The output of one run at a time; of a program without a terminal (words) the conversation, which goes over all of them. */
export function Replay({ at, a, words }: { at: Context; a: Resident; words: boolean }) {
  const [runs] = useRead(
    async () => (at.town.hall && !words ? at.client.runs({ agent: a.agentId, limit: 50 }) : []),
    a.agentId,
    0,
  );
  const [run, setRun] = useState(a.runId);
  const cast = useCallback((signal: AbortSignal) => at.client.recording(a.agentId, run, signal), [at, a.agentId, run]);
  const said = useCallback(() => at.client.allEvents(a.agentId).then(talk), [at, a.agentId]);
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
          {run !== a.runId && <ShareButton at={at} agent={a.agentId} run={run} label="Share this run" />}
        </div>
      )}
      {words ? <Player read={said} /> : <Recorded key={run} read={cast} file={`${a.agentId}-${run}.cast`} />}
    </section>
  );
}

interface Source {
  read: (signal: AbortSignal) => Promise<string>; // the recording, in asciicast v2
  file: string; // its name where it is saved
}

/** What a terminal showed. */
export function Recorded({ read, file }: Source) {
  const parsed = useCallback((signal: AbortSignal) => read(signal).then(parse), [read]);
  const again = async () => new Blob([await read(new AbortController().signal)], { type: "application/x-asciicast" });
  return (
    <Player read={parsed}>
      <Save read={again} file={file} title="asciicast v2: townd play, asciinema play" />
    </Player>
  );
}
