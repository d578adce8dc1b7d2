/** The town at a glance: what needs a person, then every agent with its screen. */
import { memo } from "preact/compat";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { TownAgent, TownStatus } from "../api";
import { ago, bytes, count, line, minute, money } from "../format";
import { type Context, Empty, Pill, Problem, useAction } from "../parts";
import { to } from "../route";
import { structured, Wall } from "../term/mini";
import { live, type Resident, state, tone, useTown, type View } from "../town";
import { EscalationCard, FailedCard, QuestionCard } from "./needs";

export function TownView({ at }: { at: Context }) {
  const view = useTown(at.town);
  const [filter, setFilter] = useState("");
  const [ended, setEnded] = useState(false);
  const [wall, setWall] = useState<Wall | null>(null);
  useEffect(() => {
    const made = new Wall(at.client);
    setWall(made);
    return () => made.close();
  }, [at.client]);
  const asking = useMemo(() => new Set(view.status?.questions.map((q) => q.agentId)), [view.status]);
  const agents = useMemo(() => sorted(view.agents, asking, filter, ended), [view.agents, asking, filter, ended]);
  const over = view.agents.filter((a) => !live(a)).length;
  return (
    <>
      <Needs at={at} view={view} />
      <section aria-label="Agents">
        <div class="bar">
          <h2>Agents</h2>
          <Counts view={view} />
          {view.status?.paused && <Pill tone="warn">paused: {line(view.status.paused, 80)}</Pill>}
          {view.status?.standby && <Standby {...view.status.standby} />}
          <span class="grow" />
          {over > 0 && (
            <label class="check">
              <input type="checkbox" checked={ended} onChange={(e) => setEnded(e.currentTarget.checked)} /> ended (
              {over})
            </label>
          )}
          <input
            type="search"
            class="filter"
            placeholder="Filter (/)"
            aria-label="Filter agents"
            value={filter}
            onInput={(e) => setFilter(e.currentTarget.value)}
          />
          <Pause at={at} view={view} />
        </div>
        {!view.loaded ? (
          <div class="grid" aria-hidden="true">
            <div class="tile skeleton" />
            <div class="tile skeleton" />
            <div class="tile skeleton" />
          </div>
        ) : agents.length === 0 ? (
          <NoAgents view={view} filter={filter} away={at.client.away} />
        ) : (
          <ul class="grid">
            {wall && agents.map((a) => <Tile key={a.agentId} a={a} asks={asking.has(a.agentId)} wall={wall} />)}
          </ul>
        )}
      </section>
      <Waiting view={view} />
    </>
  );
}

function Needs({ at, view }: { at: Context; view: View }) {
  const s = view.status;
  const open = s?.escalations.filter((e) => e.status === "open") ?? [];
  // A bead that was given up calls for help: that is one thing to settle, not two.
  const told = new Set(open.map((e) => e.beadId));
  const failed = view.failed.filter((b) => !told.has(b.id));
  const n = (s?.questions.length ?? 0) + open.length + failed.length;
  if (!s || n === 0) return null;
  return (
    <section aria-label="Needs you">
      <div class="bar">
        <h2>Needs you</h2>
        <Pill tone="warn">{n}</Pill>
      </div>
      <div class="needs">
        {s.questions.map((q) => (
          <QuestionCard key={q.id} at={at} q={q} />
        ))}
        {open.map((e) => (
          <EscalationCard key={e.id} at={at} e={e} failed={view.failed.some((b) => b.id === e.beadId)} />
        ))}
        {failed.slice(0, 6).map((b) => (
          <FailedCard key={b.id} at={at} b={b} />
        ))}
      </div>
    </section>
  );
}

/** Why nobody is started for now: nobody has to do anything about it. */
function Standby({ until, why }: NonNullable<TownStatus["standby"]>) {
  return (
    <span class="standby">
      <Pill tone="calm">standby until {minute(until)}</Pill> <span class="faint">{line(why, 120)}</span>
    </span>
  );
}

function Counts({ view }: { view: View }) {
  const b = view.status?.beads;
  const working = view.agents.filter(live).length;
  return (
    <span class="faint counts">
      {working} live
      {b &&
        ` · ${b.open ?? 0} waiting · ${b.in_progress ?? 0} in progress · ${b.in_review ?? 0} in review · ${b.closed ?? 0} closed`}
    </span>
  );
}

function Pause({ at, view }: { at: Context; view: View }) {
  const [busy, problem, run] = useAction();
  if (!view.status) return null;
  const paused = view.status.paused ?? "";
  const set = () =>
    run(async () => {
      await at.client.setPaused(paused ? "" : "paused in the dashboard");
      at.town.refresh();
    });
  return (
    <>
      <button type="button" disabled={busy} onClick={set} title="Whether agents are given new work">
        {paused ? "Go on" : "Pause"}
      </button>
      <Problem text={problem} />
    </>
  );
}

function NoAgents({ view, filter, away }: { view: View; filter: string; away: string }) {
  if (away) return <Away why={away} agents={view.status?.agents ?? []} />;
  if (filter) return <Empty title="No agent matches the filter." />;
  if (!view.status)
    return (
      <Empty title="No agent runs here.">
        <p>The coordinator of this town is elsewhere and starts agents; or start one yourself:</p>
        <code>townd start NAME --cli demo --prompt "…"</code>
      </Empty>
    );
  if (view.status.rigs.length === 0)
    return (
      <Empty title="This town has no repository yet.">
        <p>Add one and give it work:</p>
        <code>townd rig add NAME --repo URL</code>
        <code>townd sling NAME "what is to be done"</code>
      </Empty>
    );
  if ((view.status.beads.open ?? 0) > 0)
    return <Empty title="No agent is at work. What waits is listed below, with the reason." />;
  return (
    <Empty title="Nobody works: there is nothing to do.">
      <p>
        <a class="button" href="#/beads?new=1">
          Give the town work
        </a>
      </p>
    </Empty>
  );
}

/** Says why nobody can be seen, and who was at work when the coordinator last heard of them. */
function Away({ why, agents }: { why: string; agents: TownAgent[] }) {
  return (
    <>
      <Empty title={why} />
      <ul class="lines">
        {agents.map((a) => (
          <li key={a.agentId}>
            <a class="strong" href={to("agents", a.agentId)}>
              {a.name}
            </a>{" "}
            <span class="faint">
              {a.role} · {a.rigId} · {line(a.why, 160)} · heard of {ago(a.lastSeenAt)}
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}

function Waiting({ view }: { view: View }) {
  const waiting = view.status?.waiting ?? [];
  if (waiting.length === 0) return null;
  return (
    <section aria-label="Waiting">
      <div class="bar">
        <h2>Next</h2>
      </div>
      <ul class="lines">
        {waiting.map((b) => (
          <li key={b.id}>
            <a class="strong" href={to("beads", b.id)}>
              {line(b.title, 120)}
            </a>{" "}
            <span class="faint">
              {b.rigId} · {b.priority} · {line(b.why, 160)}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Those that need a person first, then those at work, by age: an agent keeps its place while its state does. */
function sorted(agents: Resident[], asking: Set<string>, filter: string, ended: boolean): Resident[] {
  const rank = (a: Resident) => (asking.has(a.agentId) ? 0 : a.status === "failed" ? 1 : live(a) ? 2 : 3);
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (a: Resident) => {
    const text = `${a.agentId} ${a.name} ${a.role} ${a.rigId} ${a.cli} ${a.beadId ?? ""} ${state(a)}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
  return agents
    .filter((a) => (ended || live(a) || asking.has(a.agentId)) && matches(a))
    .sort(
      (a, b) =>
        rank(a) - rank(b) || (a.startedAt ?? "").localeCompare(b.startedAt ?? "") || a.agentId.localeCompare(b.agentId),
    );
}

interface TileProps {
  a: Resident;
  asks: boolean;
  wall: Wall;
}

/** What of an agent its tile shows: it is drawn again only when that changes. */
function face({ a, asks }: TileProps): string {
  const mem = bytes(a.resources.rssBytes);
  return [
    asks,
    state(a),
    tone(a),
    a.turn.count,
    money(a.usage.costUsd),
    mem,
    Math.round(a.resources.cpuPercent),
    a.why,
    a.says,
  ].join("|");
}

const Tile = memo(
  function Tile({ a, asks, wall }: TileProps) {
    const canvas = useRef<HTMLCanvasElement>(null);
    // biome-ignore lint/correctness/useExhaustiveDependencies: the wall is told of changes by TileData
    useEffect(() => {
      if (canvas.current) wall.add(a, canvas.current);
      return () => wall.remove(a.agentId);
    }, [wall, a.agentId]);
    wall.set(a);
    const says = line(asks ? "asks a question" : a.says || a.why, 120);
    return (
      <li class={`tile ${asks ? "warn" : tone(a)}`}>
        <a href={to("agents", a.agentId)}>
          <span class="tile-head">
            <span class="dot" aria-hidden="true" />
            <span class="strong">{a.name}</span>
            <span class="faint">
              {a.role} · {a.rigId}
            </span>
            <span class="grow" />
            <Pill tone={asks ? "warn" : tone(a)}>{asks ? "asks" : state(a)}</Pill>
          </span>
          <canvas ref={canvas} />
          <span class="tile-why">{says || " "}</span>
          <span class="tile-foot faint">
            {structured(a.cli) && (
              <>
                <span>turn {a.turn.count}</span>
                <span>{money(a.usage.costUsd)}</span>
                <span>{count(a.usage.inputTokens + a.usage.outputTokens)} tok</span>
              </>
            )}
            <span>{Math.round(a.resources.cpuPercent)}% cpu</span>
            <span>{bytes(a.resources.rssBytes)}</span>
            <span class="grow" />
            {!live(a) && <span>{ago(a.exitedAt)}</span>}
          </span>
        </a>
      </li>
    );
  },
  (was, is) => {
    is.wall.set(is.a);
    return was.wall === is.wall && face(was) === face(is);
  },
);
