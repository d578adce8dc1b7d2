/** A run once more, at any speed and from any moment. */
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ago, span } from "../format";
import { type Context, Empty, Problem, useAction, useRead } from "../parts";
import { Screen } from "../term/screen";
import type { Resident } from "../town";
import { ShareButton } from "./share";

/** A moment of a recording: at seconds, what was printed or the size that was set. */
interface Moment {
  at: number;
  kind: "o" | "r";
  data: string;
}

interface Recording {
  cols: number;
  rows: number;
  moments: Moment[];
}

/** Reads asciicast v2; lines that are none are left out. */
export function parse(text: string): Recording {
  const lines = text.split("\n");
  const head: { width?: number; height?: number } = JSON.parse(lines[0] ?? "{}");
  const moments: Moment[] = [];
  for (const entry of lines.slice(1)) {
    if (!entry) continue;
    const [at, kind, data]: unknown[] = JSON.parse(entry);
    if (typeof at === "number" && (kind === "o" || kind === "r") && typeof data === "string")
      moments.push({ at, kind, data });
  }
  return { cols: head.width ?? 80, rows: head.height ?? 24, moments };
}

export function Replay({ at, a }: { at: Context; a: Resident }) {
  const [runs] = useRead(
    async () => (at.town.hall ? at.client.runs({ agent: a.agentId, limit: 50 }) : []),
    a.agentId,
    0,
  );
  const [run, setRun] = useState(a.runId);
  const read = useCallback((signal: AbortSignal) => at.client.recording(a.agentId, run, signal), [at, a.agentId, run]);
  const others = (runs ?? []).filter((r) => r.runId !== a.runId);
  return (
    <section aria-label="Replay">
      <div class="bar">
        {others.length > 0 && (
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
        )}
        <span class="grow" />
        <ShareButton at={at} agent={a.agentId} run={run} />
      </div>
      <Recorded read={read} file={`${a.agentId}-${run}.cast`} />
    </section>
  );
}

interface Source {
  read: (signal: AbortSignal) => Promise<string>; // the recording, in asciicast v2
  file: string; // its name where it is saved
}

/** A recording, once it is read. */
export function Recorded({ read, file }: Source) {
  const [recording, setRecording] = useState<Recording | null>(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const abort = new AbortController();
    setRecording(null);
    setProblem("");
    read(abort.signal)
      .then((text) => setRecording(parse(text)))
      .catch((err: unknown) => !abort.signal.aborted && setProblem(err instanceof Error ? err.message : String(err)));
    return () => abort.abort();
  }, [read]);
  return (
    <>
      <Problem text={problem} />
      {recording && recording.moments.length === 0 && <Empty title="This run has printed nothing." />}
      {recording && recording.moments.length > 0 && (
        <Player key={file} recording={recording}>
          <Download read={read} file={file} />
        </Player>
      )}
      {!recording && !problem && <div class="skeleton tall" aria-hidden="true" />}
    </>
  );
}

/** Saves the recording as a file. It is read again: a page that held it would hold it twice. */
function Download({ read, file }: Source) {
  const [busy, problem, run] = useAction();
  const save = () =>
    run(async () => {
      const text = await read(new AbortController().signal);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/x-asciicast" }));
      link.download = file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser has it by then
    });
  return (
    <>
      <button type="button" disabled={busy} onClick={save} title="asciicast v2: townd play, asciinema play">
        Download
      </button>
      <Problem text={problem} />
    </>
  );
}

function Player({ recording, children }: { recording: Recording; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const screen = useRef<Screen | null>(null);
  const next = useRef(0); // index of the moment that was not shown yet
  const total = recording.moments.at(-1)?.at ?? 0;
  const [time, setTime] = useState(total);
  const [playing, setPlaying] = useState(false);
  const [speed, setSpeed] = useState(1);
  useEffect(() => {
    if (!box.current) return;
    const made = new Screen(box.current);
    screen.current = made;
    next.current = 0;
    const sized = new ResizeObserver(() => made.scale());
    sized.observe(box.current);
    return () => {
      sized.disconnect();
      made.dispose();
    };
  }, []);
  // Shows the moments up to time: from the first when it lies before what is shown.
  useEffect(() => {
    const { moments, cols, rows } = recording;
    const shown = moments[next.current - 1]?.at ?? 0;
    if (next.current === 0 || time < shown) {
      screen.current?.reset(cols, rows);
      next.current = 0;
    }
    let text = "";
    for (let m = moments[next.current]; m && m.at <= time; m = moments[++next.current]) {
      if (m.kind === "o") text += m.data;
      else {
        screen.current?.write(text);
        text = "";
        const [c = 0, r = 0] = m.data.split("x").map(Number);
        screen.current?.size(c, r);
      }
    }
    screen.current?.write(text);
  }, [recording, time]);
  useEffect(() => {
    if (!playing) return;
    let last = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      const step = ((now - last) / 1000) * speed;
      last = now;
      setTime((t) => {
        if (t + step >= total) setPlaying(false);
        return Math.min(total, t + step);
      });
    }, 50);
    return () => clearInterval(timer);
  }, [playing, speed, total]);
  const toggle = () => {
    if (!playing && time >= total) setTime(0);
    setPlaying(!playing);
  };
  return (
    <div class="player">
      <div class="bar">
        <button type="button" class="primary" onClick={toggle}>
          {playing ? "Pause" : "Play"}
        </button>
        <input
          type="range"
          class="grow"
          aria-label="Time"
          aria-valuetext={`${span(time * 1000)} of ${span(total * 1000)}`}
          min={0}
          max={total}
          step="any"
          value={time}
          onInput={(e) => setTime(Number(e.currentTarget.value))}
        />
        <span class="mono faint">
          {span(time * 1000)} / {span(total * 1000)}
        </span>
        <select aria-label="Speed" value={String(speed)} onChange={(e) => setSpeed(Number(e.currentTarget.value))}>
          {[0.5, 1, 2, 5, 20, 100].map((s) => (
            <option key={s} value={s}>
              {s}×
            </option>
          ))}
        </select>
        {children}
      </div>
      <div class="terminal" ref={box} />
    </div>
  );
}
