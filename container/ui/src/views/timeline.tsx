/** What an agent did, from its events. All of it is text of the agent: shown, never interpreted. */
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { AgentEvent } from "../api";
import { clock, gist, line, money, toolName } from "../format";
import { Empty } from "../parts";

/** How many events are shown at most: the newest. */
export const most = 3000;

interface Item {
  id: number;
  kind: string; // its class
  at: string;
  head: string;
  text: string;
  gist?: string; // of text, for who has not opened it
}

const get = (event: AgentEvent, name: string): unknown => Reflect.get(event.data, name);
const str = (event: AgentEvent, name: string): string => String(get(event, name) ?? "");

/** The items of events: text that comes in pieces is one, a message's receipts are one. */
function items(events: AgentEvent[], mine: Map<string, string>): Item[] {
  const out: Item[] = [];
  const calls = new Map<string, Item>();
  const messages = new Map<string, Item>();
  for (const e of events) {
    const last = out.at(-1);
    const item = made(e, mine);
    if (!item) continue;
    if (e.event === "text" || e.event === "thinking") {
      if (last?.kind === item.kind) {
        last.text += item.text;
        continue;
      }
    } else if (e.event === "tool.call") calls.set(str(e, "id"), item);
    else if (e.event === "tool.result") {
      const call = calls.get(str(e, "id"));
      if (call) {
        call.head = `${get(e, "ok") ? "✓" : "✗"} ${call.head.slice(2)}`;
        call.kind = get(e, "ok") ? "tool" : "tool bad";
        call.text += `\n\n${str(e, "output")}`;
        continue;
      }
    } else if (e.event === "message") {
      const known = messages.get(str(e, "messageId"));
      if (known) {
        known.head = item.head;
        continue;
      }
      messages.set(str(e, "messageId"), item);
    }
    out.push(item);
  }
  return out;
}

function made(e: AgentEvent, mine: Map<string, string>): Item | null {
  const item = (kind: string, head: string, text = ""): Item => ({ id: e.id, kind, at: e.timestamp, head, text });
  switch (e.event) {
    case "state":
      return item("state", `${str(e, "status")} ${str(e, "reason")}`);
    case "turn.started":
      return item("turn", "turn");
    case "turn.ended":
      return item(get(e, "ok") ? "turn" : "turn bad", get(e, "ok") ? "turn ended" : "turn failed");
    case "text":
      return item("text", "", str(e, "text"));
    case "thinking":
      return item("thinking", "thinking", str(e, "text"));
    case "tool.call":
      return {
        ...item("tool", `● ${toolName(str(e, "name"))}`, JSON.stringify(get(e, "input") ?? {}, null, 1)),
        gist: gist(get(e, "input")),
      };
    case "tool.result":
      return item("tool", get(e, "ok") ? "✓ tool" : "✗ tool", str(e, "output"));
    case "message":
      return item("message", `message ${str(e, "receipt")}`, mine.get(str(e, "messageId")) ?? "");
    case "retry":
      return item("warn", `retry ${str(e, "attempt")} in ${str(e, "delaySeconds")}s: ${str(e, "kind")}`);
    case "error":
      return item("bad", `error: ${str(e, "kind")}`, str(e, "message"));
    case "hook":
      return get(e, "decision") === "deny" ? item("warn", `denied ${str(e, "tool")}`, str(e, "reason")) : null;
    case "budget":
      return item("warn", `budget ${str(e, "limit")}: ${str(e, "used")} of ${str(e, "of")}`);
    case "checkpoint":
      return item("state", `checkpoint ${str(e, "commit").slice(0, 8) || "(all committed)"}`);
    case "gap":
      return item("warn", "earlier events are no longer held");
    case "usage": {
      const cost = Number(get(e, "costUsd") ?? 0);
      return cost >= 0.01 ? item("state", `used ${money(cost)}`) : null;
    }
  }
  return null;
}

export function Timeline({
  events,
  mine,
  full = false,
}: {
  events: AgentEvent[];
  mine: Map<string, string>;
  full?: boolean;
}) {
  const all = useMemo(() => items(events, mine), [events, mine]);
  const list = useRef<HTMLOListElement>(null);
  const follow = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what was added is scrolled to
  useEffect(() => {
    if (follow.current && list.current) list.current.scrollTop = list.current.scrollHeight;
  }, [all]);
  return (
    <ol
      ref={list}
      class={`timeline ${full ? "full" : ""}`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it
      tabIndex={0}
      aria-label={full ? "Conversation" : "Timeline"}
      onScroll={(e) => {
        const { scrollHeight, scrollTop, clientHeight } = e.currentTarget;
        follow.current = scrollHeight - scrollTop - clientHeight < 40;
      }}
    >
      {all.length === 0 && (
        <li>
          <Empty title="Nothing has happened yet." />
        </li>
      )}
      {all.map((item) => (
        <li key={item.id} class={item.kind}>
          <time dateTime={item.at}>{clock(item.at)}</time>
          <Body item={item} full={full} />
        </li>
      ))}
    </ol>
  );
}

function Body({ item, full }: { item: Item; full: boolean }) {
  if (!item.text) return <span class="head">{item.head}</span>;
  const text =
    item.text.length > 20_000 ? `${item.text.slice(0, 20_000)}\n… ${item.text.length - 20_000} more` : item.text;
  if (!item.head || item.kind === "message" || item.kind === "bad")
    return (
      <div>
        {item.head && <span class="head">{item.head}</span>}
        <p class={`words ${full ? "" : "clamp"}`}>{text}</p>
      </div>
    );
  return (
    <details>
      <summary>
        <span class="head">{item.head}</span> <span class="faint">{line(item.gist ?? item.text, 100)}</span>
      </summary>
      <pre class="words">{text}</pre>
    </details>
  );
}
