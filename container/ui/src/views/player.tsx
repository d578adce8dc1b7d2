/** What was recorded, at any speed and from any moment. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { span } from "../format";
import { Empty, Problem } from "../parts";
import { Screen } from "../term/screen";

/** A moment of a recording: at seconds, what was printed or the size that was set. */
interface Moment {
  at: number;
  kind: "o" | "r";
  data: string;
}

export interface Recording {
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

/** Reads a recording and plays it. Another read is another recording: it must be the same function for the same one. */
export function Player({ read }: { read: (signal: AbortSignal) => Promise<Recording> }) {
  const [recording, setRecording] = useState<Recording | null>(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const abort = new AbortController();
    setRecording(null);
    setProblem("");
    read(abort.signal)
      .then((got) => !abort.signal.aborted && setRecording(got))
      .catch((err: unknown) => !abort.signal.aborted && setProblem(err instanceof Error ? err.message : String(err)));
    return () => abort.abort();
  }, [read]);
  if (problem) return <Problem text={problem} />;
  if (!recording) return <div class="skeleton tall" aria-hidden="true" />;
  if (recording.moments.length === 0) return <Empty title="This run has printed nothing." />;
  return (
    <Scrubber times={recording.moments.map((m) => m.at)}>
      {(time) => <TerminalAt recording={recording} time={time} />}
    </Scrubber>
  );
}

/** Chooses a time, in seconds up to the last of times, or lets it run. */
function Scrubber({ times, children }: { times: number[]; children: (time: number) => ComponentChildren }) {
  const total = times.at(-1) ?? 0;
  const [time, setTime] = useState(total);
  const [playing, setPlaying] = useState(false);
  const [speed, setSpeed] = useState(1);
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
      </div>
      {children(time)}
    </div>
  );
}

function TerminalAt({ recording, time }: { recording: Recording; time: number }) {
  const box = useRef<HTMLDivElement>(null);
  const screen = useRef<Screen | null>(null);
  const next = useRef(0); // index of the moment that was not shown yet
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
  return <div class="terminal" ref={box} />;
}
