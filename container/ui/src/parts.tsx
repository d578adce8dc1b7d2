/** What the views have in common. */
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { Client, Run } from "./api";
import { ago, line, link, money, short, span } from "./format";
import { to } from "./route";
import { nextTheme, savedTheme, setTheme, type Theme } from "./session";
import type { Town } from "./town";

/** What every view is given. */
export interface Context {
  client: Client;
  town: Town;
  /** Tells a person, also one who only listens. */
  say: (text: string) => void;
}

export function Pill({ tone, children }: { tone: string; children: ComponentChildren }) {
  return <span class={`pill ${tone}`}>{children}</span>;
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

export function Problem({ text }: { text: string }) {
  return text ? (
    <p class="problem" role="alert">
      {text}
    </p>
  ) : null;
}

export function BeadLink({ id, title }: { id: string; title?: string }) {
  return (
    <a class="bead-link" href={to("beads", id)}>
      {title ? line(title, 90) : short(id)}
    </a>
  );
}

/** A link to the outside, if it is one that can be followed safely. */
export function Outside({ url }: { url: string | undefined }) {
  const href = link(url);
  return href ? (
    <a href={href} rel="noopener noreferrer" target="_blank">
      {line(href, 80)}
    </a>
  ) : null;
}

/** Runs of agents, as the coordinator keeps them for audit. */
export function RunList({ runs }: { runs: Run[] }) {
  return (
    <ul class="lines">
      {runs.map((r) => (
        <li key={r.runId}>
          <a href={to("agents", r.agentId)}>{r.agentId}</a>{" "}
          <span class="faint">
            {r.status} {r.reason}, {ago(r.startedAt)}
            {r.durationMs ? `, ${span(r.durationMs)}` : ""}, {money(r.usage.costUsd)}{" "}
            <span class="mono">{short(r.runId)}</span>
          </span>{" "}
          {r.beadId && <BeadLink id={r.beadId} />}
        </li>
      ))}
    </ul>
  );
}

/** Something that a person does: busy while it runs, and what went wrong. */
export function useAction(): [busy: boolean, problem: string, run: (what: () => Promise<unknown>) => void] {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const mounted = useRef(true);
  useEffect(
    () => () => {
      mounted.current = false;
    },
    [],
  );
  const run = useCallback((what: () => Promise<unknown>) => {
    setBusy(true);
    setProblem("");
    what()
      .catch((err: unknown) => mounted.current && setProblem(err instanceof Error ? err.message : String(err)))
      .finally(() => mounted.current && setBusy(false));
  }, []);
  return [busy, problem, run];
}

/** How soon something is read again that could not be read, or that nobody saw. */
const retryMs = 4000;

/**
 * What read returns: read again every so many milliseconds (never: 0), when key changes, of which it is then another, and
 * when mark does.
 */
export function useRead<T>(
  read: () => Promise<T>,
  key: string,
  everyMs = 4000,
  mark = "",
): [value: T | null, problem: string, again: () => void] {
  const [value, setValue] = useState<T | null>(null);
  const [problem, setProblem] = useState("");
  const [round, setRound] = useState(0);
  const latest = useRef(read);
  latest.current = read;
  // biome-ignore lint/correctness/useExhaustiveDependencies: key stands for what read reads
  useEffect(() => setValue(null), [key]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: key, mark and round say when to read
  useEffect(() => {
    let over = false;
    let timer = 0;
    const soon = (ms: number) => {
      if (!over && ms > 0) timer = window.setTimeout(go, ms);
    };
    const go = () => {
      if (document.hidden) return soon(everyMs || retryMs);
      latest
        .current()
        .then((v) => {
          if (over) return;
          setValue(v);
          setProblem("");
          soon(everyMs);
        })
        .catch((err: unknown) => {
          if (over) return;
          setProblem(err instanceof Error ? err.message : String(err));
          soon(everyMs || retryMs);
        });
    };
    go();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [key, round, everyMs, mark]);
  return [value, problem, useCallback(() => setRound((n) => n + 1), [])];
}

/** A button that saves something as a file. It is read then: a page that held it already would hold it twice. */
export function Save({ read, file, title }: { read: () => Promise<Blob>; file: string; title: string }) {
  const [busy, problem, run] = useAction();
  const save = () =>
    run(async () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await read());
      link.download = file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser has it by then
    });
  return (
    <>
      <button type="button" disabled={busy} onClick={save} title={title} aria-label={`Download ${file}`}>
        Download
      </button>
      <Problem text={problem} />
    </>
  );
}

/** A button that asks again before it does what cannot be undone. */
export function Sure({ label, sure, busy, act }: { label: string; sure: string; busy?: boolean; act: () => void }) {
  const [asked, setAsked] = useState(false);
  useEffect(() => {
    if (!asked) return;
    const timer = setTimeout(() => setAsked(false), 5000);
    return () => clearTimeout(timer);
  }, [asked]);
  const pressed = () => {
    if (asked) act();
    setAsked(!asked);
  };
  return (
    <button type="button" class={asked ? "danger" : ""} disabled={busy} onClick={pressed}>
      {asked ? sure : label}
    </button>
  );
}

/** The button that goes through the colours. */
export function Colours() {
  const [theme, set] = useState<Theme>(savedTheme);
  const turn = () => {
    const next = nextTheme(theme);
    setTheme(next);
    set(next);
  };
  return (
    <button type="button" class="quiet" onClick={turn} aria-label={`Colours: ${theme}`} title={`Colours: ${theme}`}>
      {theme === "dark" ? "☾" : theme === "light" ? "☀" : "◐"}
    </button>
  );
}
