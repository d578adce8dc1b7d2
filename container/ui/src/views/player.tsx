/** What was recorded, at any speed and from any moment. */
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { AgentEvent } from "../api";
import { span } from "../format";
import { Empty, Problem } from "../parts";
import { Screen } from "../term/screen";
import { most, Timeline } from "./timeline";

/** A moment of a terminal: at seconds, what was printed or the size that was set. */
interface Moment {
  at: number;
  kind: "o" | "r";
  data: string;
}

interface Cast {
  kind: "cast";
  cols: number;
  rows: number;
  moments: Moment[];
}

/** What a program without a terminal did, at seconds since the first of it. */
interface Talk {
  kind: "talk";
  moments: { at: number; event: AgentEvent }[];
}

export type Recording = Cast | Talk;

export function talk(events: AgentEvent[]): Talk {
  const begin = Date.parse(events[0]?.timestamp ?? "");
  let at = 0; // a clock may be set back
  const moments = events.map((event) => {
    at = Math.max(at, (Date.parse(event.timestamp) - begin) / 1000);
    return { at, event };
  });
  return { kind: "talk", moments };
}

/** Reads asciicast v2; lines that are none are left out. */
export function parse(text: string): Cast {
  const lines = text.split("\n");
  const head: { width?: number; height?: number } = JSON.parse(lines[0] ?? "{}");
  const moments: Moment[] = [];
  for (const entry of lines.slice(1)) {
    if (!entry) continue;
    const [at, kind, data]: unknown[] = JSON.parse(entry);
    if (typeof at === "number" && (kind === "o" || kind === "r") && typeof data === "string")
      moments.push({ at, kind, data });
  }
  return { kind: "cast", cols: head.width ?? 80, rows: head.height ?? 24, moments };
}

interface Source {
  read: (signal: AbortSignal) => Promise<Recording>;
  children?: ComponentChildren; // stand beside the scrubber
}

/** Reads a recording and plays it. Another read is another recording: it must be the same function for the same one. */
export function Player({ read, children }: Source) {
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
  if (recording.moments.length === 0) return <Empty title="There is nothing to show again." />;
  return (
    <Scrubber times={recording.moments.map((m) => m.at)} tools={children}>
      {(time) =>
        recording.kind === "cast" ? <CastAt cast={recording} time={time} /> : <TalkAt talk={recording} time={time} />
      }
    </Scrubber>
  );
}

interface Scrubbed {
  times: number[];
  tools: ComponentChildren;
  children: (time: number) => ComponentChildren;
}

/** Chooses a time, in seconds up to the last of times, or lets it run. */
function Scrubber({ times, tools, children }: Scrubbed) {
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
  const step = (to: number | undefined) => {
    setPlaying(false);
    if (to !== undefined) setTime(to);
  };
  return (
    <div class="player">
      <div class="bar">
        <button type="button" class="primary" onClick={toggle}>
          {playing ? "Pause" : "Play"}
        </button>
        <button type="button" aria-label="One step back" onClick={() => step(times.findLast((t) => t < time))}>
          ‹
        </button>
        <button type="button" aria-label="One step on" onClick={() => step(times.find((t) => t > time))}>
          ›
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
        {tools}
      </div>
      {children(time)}
    </div>
  );
}

const nothingOfMine = new Map<string, string>(); // events do not say what was written in a message

function TalkAt({ talk, time }: { talk: Talk; time: number }) {
  const { moments } = talk;
  const after = moments.findIndex((m) => m.at > time);
  const count = after < 0 ? moments.length : after;
  const shown = useMemo(() => moments.slice(Math.max(0, count - most), count).map((m) => m.event), [moments, count]);
  return <Timeline events={shown} mine={nothingOfMine} full />;
}

function CastAt({ cast, time }: { cast: Cast; time: number }) {
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
    const { moments, cols, rows } = cast;
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
  }, [cast, time]);
  return <div class="terminal" ref={box} />;
}
