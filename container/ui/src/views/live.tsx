/** An agent as it works: its terminal, or what it says, and beside it what it did. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { AgentEvent } from "../api";
import { bytes } from "../format";
import type { Context } from "../parts";
import { Screen } from "../term/screen";
import { type Link, Stream, type Tickets } from "../term/stream";
import { live, type Resident } from "../town";
import { Composer } from "./agent";
import { most, Timeline } from "./timeline";

const before = 500; // events of the past that are read at first
const tooFar = 16 << 20; // bytes that wait to be drawn; some seconds

interface Line {
  state: Link;
  why: string;
}

interface Watched {
  tickets: Tickets;
  agent: string;
  words: boolean; // it has no terminal: its events are drawn elsewhere
  write: boolean;
  event: (event: AgentEvent) => void;
  ended: () => void;
}

/** Watches an agent by a stream, and draws its terminal in box. */
export function useStream({ tickets, agent, words, write, event, ended }: Watched) {
  const box = useRef<HTMLDivElement>(null);
  const [typing, setTyping] = useState(false);
  const [waiting, setWaiting] = useState(false);
  const [line, setLine] = useState<Line>({ state: "connecting", why: "" });
  const [note, setNote] = useState("");
  useEffect(() => {
    const screen = words || !box.current ? null : new Screen(box.current);
    let offered = { cols: 0, rows: 0 };
    const made = new Stream(tickets, agent, write ? "write" : "read", words ? "live" : "screen", {
      link: (state, why) => setLine({ state, why }),
      hello: (hello, fresh) => {
        if (screen && fresh) screen.reset(hello.cols, hello.rows);
        if (hello.status === "exited" || hello.status === "failed") ended();
      },
      screen: (data) => screen?.write(data),
      bytes: (data) => {
        if (!screen) return;
        screen.write(data);
        if (screen.behind > tooFar) {
          made.pause();
          screen.caughtUp(() => made.skip());
        }
      },
      resize: (cols, rows) => screen?.size(cols, rows),
      event,
      gap: (from, to) => setNote(`${bytes(to - from)} were left out: printed too fast, or no longer held.`),
      mode: (mode, queued) => {
        setTyping(mode === "write");
        setWaiting(queued);
        screen?.input(mode === "write");
        if (mode === "write" && screen) {
          offered = screen.fit();
          made.size(offered.cols, offered.rows);
          screen.focus();
        }
      },
      error: setNote,
      exit: ended,
    });
    screen?.onInput((data) => made.type(data));
    const fitted = new ResizeObserver(() => {
      screen?.scale();
      if (!screen?.typing) return;
      const now = screen.fit();
      if (now.cols !== offered.cols || now.rows !== offered.rows) made.size(now.cols, now.rows);
      offered = now;
    });
    if (box.current) fitted.observe(box.current);
    return () => {
      fitted.disconnect();
      made.close();
      screen?.dispose();
    };
  }, [tickets, agent, words, write, event, ended]);
  return { box, line, note, typing, waiting };
}

export function Live({ at, a, words }: { at: Context; a: Resident; words: boolean }) {
  const [write, setWrite] = useState(false);
  const [events, add] = useEvents(at, a.agentId);
  const [mine, setMine] = useState<Map<string, string>>(new Map());
  const ended = useCallback(() => at.town.refresh(), [at]);
  const { box, line, note, typing, waiting } = useStream({
    tickets: at.client,
    agent: a.agentId,
    words,
    write,
    event: add,
    ended,
  });
  const sent = useCallback((id: string, text: string) => setMine((all) => new Map(all).set(id, text)), []);
  return (
    <div class="live">
      <section class="stage" aria-label={words ? "Conversation" : "Terminal"}>
        <div class="bar">
          <Connection line={line} />
          <span class="faint grow note" role="status">
            {note}
          </span>
          {!words && live(a) && (
            <button type="button" aria-pressed={write} onClick={() => setWrite(!write)}>
              {!write ? "Type" : typing ? "Typing — stop" : waiting ? "Someone else types" : "…"}
            </button>
          )}
        </div>
        {words ? <Timeline events={events} mine={mine} full /> : <div class="terminal" ref={box} />}
        <Composer at={at} a={a} sent={sent} />
      </section>
      {!words && (
        <aside class="beside" aria-label="Timeline">
          <h2>Timeline</h2>
          <Timeline events={events} mine={mine} />
        </aside>
      )}
    </div>
  );
}

export function Connection({ line }: { line: Line }) {
  const text = {
    connecting: "connecting…",
    live: "live",
    lost: "reconnecting…",
    ended: "ended",
    refused: "cannot be watched",
  };
  const tone = { connecting: "calm", live: "good", lost: "warn", ended: "calm", refused: "bad" };
  return (
    <span class={`link ${tone[line.state]}`} role="status">
      <span class="dot" aria-hidden="true" />
      {text[line.state]}
      {line.why && <span class="faint"> {line.why}</span>}
    </span>
  );
}

/** An agent's events: the newest of the past, then what is added. */
function useEvents(at: Context, id: string): [AgentEvent[], (event: AgentEvent) => void] {
  const [events, set] = useState<AgentEvent[]>([]);
  useEffect(() => {
    let over = false;
    set([]);
    const read = async () => {
      const newest = await at.client.events(id, Number.MAX_SAFE_INTEGER, 1);
      const page = await at.client.events(id, Math.max(0, newest.next - before), before * 2);
      if (!over) set((later) => merged(page.events, later));
    };
    read().catch(() => undefined); // the stream says what is wrong
    return () => {
      over = true;
    };
  }, [at, id]);
  // A burst of events is drawn once.
  const burst = useRef<AgentEvent[]>([]);
  const add = useCallback((event: AgentEvent) => {
    if (burst.current.push(event) > 1) return;
    setTimeout(() => {
      const more = burst.current;
      burst.current = [];
      set((all) => merged(all, more));
    }, 100);
  }, []);
  return [events, add];
}

export function merged(a: AgentEvent[], b: AgentEvent[]): AgentEvent[] {
  const last = a.at(-1)?.id ?? 0;
  return [...a, ...b.filter((event) => event.id > last)].slice(-most);
}
