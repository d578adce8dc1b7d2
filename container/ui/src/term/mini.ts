/**
 * The small screens of a grid. The server draws a screen once; from then on only the bytes that came since are fetched,
 * at most once a second and only where something was printed, and the browser draws them. That costs the server a
 * hundredth of a stream for each tile, which sends a frame every 16 ms.
 */
import type { Terminal } from "@xterm/xterm";
import type { Agent, AgentEvent, Client } from "../api";
import { gist, line, toolName } from "../format";
import { draw } from "./draw";
import { newTerminal } from "./new";

/** More than this at once is not drawn: of a flood, a small screen shows the end. */
const flood = 64 << 10;
const floodEnd = 16 << 10;
/** How often the server's own drawing is asked for: sizes change without a byte. */
const drawnEvery = 120_000;

/** Columns of a conversation's screen: fewer than a terminal's, for words are to be read. */
const wordCols = 60;

const encoder = new TextEncoder();

/** Whether a program speaks a protocol instead of drawing on its terminal. */
export const structured = (cli: string) => cli !== "command" && cli !== "demo";

export class Mini {
  private term: Terminal | null = null;
  private run = "";
  private offset = 0;
  private seen = "";
  private drawnAt = 0;
  private cursor = 0;

  constructor(
    private readonly client: Client,
    private agent: Agent,
    readonly canvas: HTMLCanvasElement,
  ) {}

  set(agent: Agent): void {
    this.agent = agent;
  }

  /** Whether there is something new to fetch. */
  get stale(): boolean {
    return this.seen !== this.mark;
  }

  private get mark(): string {
    const a = this.agent;
    return `${a.runId} ${a.lastActivityAt} ${a.status} ${a.turn.count}`;
  }

  async update(signal: AbortSignal): Promise<void> {
    const mark = this.mark;
    if (structured(this.agent.cli)) await this.updateEvents();
    else await this.updateBytes(signal);
    this.seen = mark;
    this.paint();
  }

  paint(): void {
    if (this.term) draw(this.term, this.canvas);
  }

  dispose(): void {
    this.term?.dispose();
    this.term = null;
  }

  private async updateBytes(signal: AbortSignal) {
    const { agentId, runId } = this.agent;
    if (runId !== this.run || Date.now() - this.drawnAt > drawnEvery) return this.redraw();
    const got = await this.client.tail(agentId, runId, `${this.offset}-${this.offset + flood}`, signal);
    if (got && got.data.length <= flood) {
      this.offset = got.next;
      return this.write(got.data);
    }
    // A flood; or nothing is held there: nothing was printed, or so much that what came next was dropped.
    const end = await this.client.tail(agentId, runId, `-${floodEnd}`, signal);
    if (!end || end.next <= this.offset) return;
    this.offset = end.next;
    await this.write(encoder.encode("\x1b[0m\r\n"));
    await this.write(end.data);
  }

  private async redraw() {
    const screen = await this.client.screen(this.agent.agentId);
    this.drawnAt = Date.now();
    this.run = screen.runId;
    this.offset = screen.offset;
    this.make(screen.cols, screen.rows);
    await this.write(encoder.encode(screen.ansi));
  }

  private make(cols: number, rows: number) {
    this.term?.dispose();
    this.term = newTerminal({ cols, rows, scrollback: 0, convertEol: false });
  }

  private async updateEvents() {
    const { agentId, runId } = this.agent;
    if (runId !== this.run) {
      this.run = runId;
      this.make(wordCols, 24);
      const newest = await this.client.events(agentId, Number.MAX_SAFE_INTEGER, 1);
      this.cursor = Math.max(0, newest.next - 200);
    }
    const page = await this.client.events(agentId, this.cursor, 500);
    this.cursor = page.next;
    for (const event of page.events) {
      const text = told(event);
      if (text) await this.write(encoder.encode(`${text}\x1b[0m\r\n`));
    }
  }

  private write(data: Uint8Array): Promise<void> {
    return new Promise((done) => {
      if (this.term) this.term.write(data, done);
      else done();
    });
  }
}

/** A line of a conversation, for a small screen. */
function told({ event, data }: AgentEvent): string {
  const text = (name: string) => line(String(Reflect.get(data, name) ?? ""), 400);
  switch (event) {
    case "text":
      return wrapped(text("text"));
    case "tool.call": {
      const name = toolName(text("name"));
      const room = Math.max(0, wordCols - name.length - 3);
      return `\x1b[36m● ${name}\x1b[90m ${line(gist(Reflect.get(data, "input")), room)}`;
    }
    case "tool.result":
      return Reflect.get(data, "ok") ? "" : `\x1b[31m✗ ${text("output").slice(0, wordCols - 2)}`;
    case "error":
      return `\x1b[31m${text("message")}`;
    case "turn.ended":
      return "\x1b[90m── turn ended ──";
  }
  return "";
}

/** Breaks text between words; a word that is longer than a line is broken by the terminal. */
function wrapped(text: string): string {
  let at = 0;
  return text
    .split(" ")
    .map((word, i) => {
      const fits = at + 1 + word.length <= wordCols;
      at = i > 0 && fits ? at + 1 + word.length : word.length;
      return i === 0 ? word : `${fits ? " " : "\r\n"}${word}`;
    })
    .join("");
}

/** Keeps the tiles that can be seen up to date. */
export class Wall {
  private minis = new Map<string, Mini>();
  private shown = new Set<string>();
  private timer = 0;
  private readonly abort = new AbortController();
  private readonly observer = new IntersectionObserver((entries) => this.observe(entries), { rootMargin: "200px" });
  private readonly sizes = new ResizeObserver(() => {
    for (const mini of this.minis.values()) mini.paint();
  });

  constructor(private readonly client: Client) {
    this.tick();
  }

  add(agent: Agent, canvas: HTMLCanvasElement): void {
    if (this.minis.get(agent.agentId)?.canvas === canvas) return;
    this.remove(agent.agentId);
    this.minis.set(agent.agentId, new Mini(this.client, agent, canvas));
    canvas.dataset.agent = agent.agentId;
    this.observer.observe(canvas);
    this.sizes.observe(canvas);
  }

  set(agent: Agent): void {
    this.minis.get(agent.agentId)?.set(agent);
  }

  remove(id: string): void {
    const mini = this.minis.get(id);
    if (!mini) return;
    this.observer.unobserve(mini.canvas);
    this.sizes.unobserve(mini.canvas);
    mini.dispose();
    this.minis.delete(id);
    this.shown.delete(id);
  }

  close(): void {
    clearTimeout(this.timer);
    this.abort.abort();
    this.observer.disconnect();
    this.sizes.disconnect();
    for (const mini of this.minis.values()) mini.dispose();
    this.minis.clear();
  }

  private observe(entries: IntersectionObserverEntry[]) {
    for (const { target, isIntersecting } of entries) {
      const id = target instanceof HTMLElement ? (target.dataset.agent ?? "") : "";
      if (isIntersecting) this.shown.add(id);
      else this.shown.delete(id);
    }
  }

  private tick() {
    void this.round().finally(() => {
      if (!this.abort.signal.aborted) this.timer = window.setTimeout(() => this.tick(), 1000);
    });
  }

  /** Updates what is stale, three at a time: a browser has six connections to a server, and the town's feeds have two. */
  private async round() {
    if (document.hidden) return;
    const due = [...this.shown].flatMap((id) => this.minis.get(id) ?? []).filter((mini) => mini.stale);
    const work = async () => {
      for (let mini = due.pop(); mini && !this.abort.signal.aborted; mini = due.pop()) {
        await mini.update(this.abort.signal).catch(() => undefined); // the next round tries again; the page tells of it
      }
    };
    await Promise.all([work(), work(), work()]);
  }
}
