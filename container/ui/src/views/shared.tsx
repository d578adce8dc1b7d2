/** What a shared link shows, to whoever has it: one run of one agent, to watch. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type AgentEvent, Guest } from "../api";
import { line, moment } from "../format";
import { Colours, Empty, Pill, Problem, useRead } from "../parts";
import { Connection, merged, useStream } from "./live";
import { Recorded } from "./replay";
import { Timeline } from "./timeline";

export function Shared({ token }: { token: string }) {
  const [over, setOver] = useState(false);
  const guest = useMemo(() => new Guest(token, () => setOver(true)), [token]);
  if (!over) return <Open guest={guest} />;
  return (
    <main class="alone">
      <Empty title="This link shows nothing any more.">
        <p>It has expired or was taken back. Whoever gave it to you can make another one.</p>
      </Empty>
    </main>
  );
}

function Open({ guest }: { guest: Guest }) {
  const [run, problem, again] = useRead(() => guest.run(), "", 5000);
  useEffect(() => {
    document.title = run ? `${line(run.name, 60)} · shared` : "shared run";
  }, [run]);
  const [replay, setReplay] = useState(false);
  const going = run !== null && ["starting", "running", "stopping"].includes(run.status);
  return (
    <>
      <header class="top">
        <span class="brand">{run?.townId ?? " "}</span>
        <span class="faint">a shared run, to watch</span>
        <span class="grow" />
        <Colours />
      </header>
      <main>
        <Problem text={problem} />
        {!run && !problem && <div class="skeleton tall" aria-hidden="true" />}
        {run && (
          <div class="agent">
            <header class="row wrap shared-head">
              <h1>{line(run.name, 60)}</h1>
              <Pill tone={going ? "good" : "calm"}>{run.status}</Pill>
              <span class="grow" />
              <span class="faint">this link ends {moment(run.expiresAt)}</span>
              {going && !run.structured && (
                <button type="button" aria-pressed={replay} onClick={() => setReplay(!replay)}>
                  Replay
                </button>
              )}
            </header>
            {run.structured ? (
              <Words guest={guest} going={going} />
            ) : going && !replay ? (
              <Terminal guest={guest} agent={run.agentId} ended={again} />
            ) : (
              <section class="stage" aria-label="Replay">
                {/* Read again at the end, for what was printed since. */}
                <Recorded key={String(going)} read={guest.recording} file={`${run.agentId}-${run.run}.cast`} />
              </section>
            )}
          </div>
        )}
      </main>
    </>
  );
}

const none = () => undefined;

function Terminal({ guest, agent, ended }: { guest: Guest; agent: string; ended: () => void }) {
  const { box, line, note } = useStream({ tickets: guest, agent, words: false, write: false, event: none, ended });
  return (
    <section class="stage" aria-label="Terminal">
      <div class="bar">
        <Connection line={line} />
        <span class="faint grow note" role="status">
          {note}
        </span>
      </div>
      <div class="terminal" ref={box} />
    </section>
  );
}

const nobody = new Map<string, string>();

/** What was said and done, read on while the run goes on. */
function Words({ guest, going }: { guest: Guest; going: boolean }) {
  const [events, set] = useState<AgentEvent[]>([]);
  const next = useRef(0);
  const read = async () => {
    for (let more = true; more; ) {
      const page = await guest.events(next.current);
      more = page.next > next.current;
      next.current = page.next;
      set((all) => merged(all, page.events));
    }
  };
  const [, problem] = useRead(read, "", going ? 1000 : 0);
  return (
    <section class="stage" aria-label="Conversation">
      <Problem text={problem} />
      <Timeline events={events} mine={nobody} full />
    </section>
  );
}
