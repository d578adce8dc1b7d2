/** One agent: its terminal or conversation, what it did, its changes, and how to talk to it and stop it. */
import { useRef, useState } from "preact/hooks";
import { bytes, clock, count, line, many, money, span } from "../format";
import { BeadLink, type Context, Empty, Pill, Problem, RunList, Sure, useAction, useRead } from "../parts";
import { go, to } from "../route";
import { structured } from "../term/mini";
import { live, type Resident, state, tone, useTown } from "../town";
import { ChangesTab } from "./changes";
import { Live } from "./live";
import { Replay } from "./replay";
import { ShareButton } from "./share";

const tabs = ["", "diff", "replay"];

export function AgentView({ at, id, tab }: { at: Context; id: string; tab: string }) {
  const view = useTown(at.town);
  const seen = useRef<Resident | null>(null); // goes on being shown when the town has forgotten it
  const now = view.agents.find((agent) => agent.agentId === id);
  if (now) seen.current = now;
  const a = seen.current?.agentId === id ? seen.current : null;
  if (!a) return view.loaded ? <Forgotten at={at} id={id} /> : <div class="skeleton tall" aria-hidden="true" />;
  const words = structured(a.cli);
  const names = [words ? "Conversation" : "Terminal", "Changes", "Replay"];
  return (
    <div class="agent">
      <Head at={at} a={a} gone={!now} />
      <nav class="tabs" aria-label="Views of this agent">
        {tabs.map((name, i) => (
          <a key={name} href={to("agents", id, name)} aria-current={tab === name ? "page" : undefined}>
            {names[i]}
          </a>
        ))}
      </nav>
      {tab === "diff" ? (
        <ChangesTab at={at} a={a} />
      ) : tab === "replay" ? (
        <Replay key={a.agentId} at={at} a={a} words={words} />
      ) : (
        <Live key={`${a.agentId} ${a.runId}`} at={at} a={a} words={words} />
      )}
    </div>
  );
}

/** An agent that is not, or no longer, in the container: what the coordinator keeps of it. */
function Forgotten({ at, id }: { at: Context; id: string }) {
  const [runs] = useRead(async () => (at.town.hall ? at.client.runs({ agent: id, limit: 50 }) : []), id, 0);
  return (
    <section aria-label={id}>
      <Empty
        title={at.client.away || (runs?.length ? `${id} has ended and was forgotten.` : `There is no agent ${id}.`)}
      >
        <a href="#/town">All agents</a>
      </Empty>
      {runs && <RunList runs={runs} />}
    </section>
  );
}

function Head({ at, a, gone }: { at: Context; a: Resident; gone: boolean }) {
  const [busy, problem, run] = useAction();
  const stop = () =>
    run(async () => {
      await at.client.stop(a.agentId);
      at.say(`${a.name} is stopped`);
      at.town.refresh();
    });
  const forget = () =>
    run(async () => {
      await at.client.forget(a.agentId);
      at.town.refresh();
      go("#/town");
    });
  const time = a.startedAt ? span((a.exitedAt ? Date.parse(a.exitedAt) : Date.now()) - Date.parse(a.startedAt)) : "";
  return (
    <header class="agent-head">
      <div class="row wrap">
        <h1>{a.name}</h1>
        <Pill tone={tone(a)}>{state(a)}</Pill>
        <span class="faint">
          {a.role} · {a.rigId} · {a.cli}
          {a.model && ` · ${line(a.model, 60)}`}
        </span>
        {a.beadId && <BeadLink id={a.beadId} />}
        <span class="grow" />
        {!gone && a.runId && <ShareButton at={at} agent={a.agentId} run={a.runId} />}
        {gone ? (
          <Pill tone="calm">{at.client.away ? "not running" : "forgotten"}: this is what was seen last</Pill>
        ) : live(a) ? (
          <Sure label="Stop" sure="Stop it, really" busy={busy} act={stop} />
        ) : (
          <Sure label="Forget" sure="Forget it, really" busy={busy} act={forget} />
        )}
      </div>
      <p class="facts faint">
        <span class="mono">{a.branch}</span>
        {structured(a.cli) && (
          <>
            <span>turn {a.turn.count}</span>
            <span>{money(a.usage.costUsd)}</span>
            <span>
              {count(a.usage.inputTokens)} in, {count(a.usage.outputTokens)} out
            </span>
            <span>{many(a.usage.toolCalls, "tool call", "tool calls")}</span>
          </>
        )}
        <span>
          {Math.round(a.resources.cpuPercent)}% cpu, {bytes(a.resources.rssBytes)},{" "}
          {many(a.resources.processes, "process", "processes")}
        </span>
        {a.startedAt && (
          <span>
            since {clock(a.startedAt)} ({time})
          </span>
        )}
        {a.exitCode !== null && <span>exit code {a.exitCode}</span>}
      </p>
      <p class="why">{line(a.says || a.why || a.error || "", 300) || " "}</p>
      <Problem text={problem} />
    </header>
  );
}

/** Says something to the agent; its receipts come as events. */
export function Composer({ at, a, sent }: { at: Context; a: Resident; sent: (id: string, text: string) => void }) {
  const [text, setText] = useState("");
  const [deliver, setDeliver] = useState("turn-end");
  const [busy, problem, run] = useAction();
  const send = () => {
    if (!text.trim()) return;
    run(async () => {
      const messageId = await at.client.message(a.agentId, text, deliver);
      if (messageId) sent(messageId, text);
      else at.say("It goes on with your message");
      setText("");
    });
  };
  return (
    <form
      class="composer"
      onSubmit={(e) => {
        e.preventDefault();
        send();
      }}
    >
      <div class="row">
        <textarea
          rows={1}
          aria-label={`Message to ${a.name}`}
          placeholder={`Message to ${a.name} (Ctrl+Enter sends)`}
          value={text}
          onInput={(e) => setText(e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) send();
          }}
        />
        <select aria-label="When it is delivered" value={deliver} onChange={(e) => setDeliver(e.currentTarget.value)}>
          <option value="turn-end">after its turn</option>
          <option value="now">now</option>
          <option value="idle">when idle</option>
        </select>
        <button type="submit" class="primary" disabled={busy || !text.trim() || !(live(a) || a.reason === "waiting")}>
          Send
        </button>
      </div>
      <Problem text={problem} />
    </form>
  );
}
