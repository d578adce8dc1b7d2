/**
 * One agent's output, as it comes: each byte once, whatever the connection does. The position is the offset of the next
 * byte; a connection that was lost is opened again at it.
 */

import { type AgentEvent, ApiError, base, type Ticket } from "../api";
import type { components } from "../schema";

export type Hello = components["schemas"]["HelloFrame"];
export type Exit = components["schemas"]["ExitFrame"];
type Frame = components["schemas"]["StreamFrame"];

export type Link = "connecting" | "live" | "lost" | "ended" | "refused";

/** What a stream tells. */
export interface Listener {
  link(state: Link, why: string): void;
  /** fresh: what was shown before is not what follows. */
  hello(hello: Hello, fresh: boolean): void;
  screen(data: string): void;
  bytes(data: Uint8Array): void;
  resize(cols: number, rows: number): void;
  event(event: AgentEvent): void;
  gap(from: number, to: number): void;
  mode(mode: "read" | "write", waiting: boolean): void;
  error(text: string): void;
  exit(exit: Exit): void;
}

/** Who gives tickets: a person's client, or a shared link's. */
export interface Tickets {
  readonly control: string; // the address of the control API
  ticket(agent: string, mode: "read" | "write"): Promise<Ticket>;
}

const patience = { first: 250, most: 5000 };

export class Stream {
  private socket: WebSocket | null = null;
  private timer = 0;
  private delay = patience.first;
  private closed = false;
  private skipping = false;
  private run = "";
  private offset = 0;
  private events = ""; // cursor of the newest event told
  private epoch = "";

  constructor(
    private readonly tickets: Tickets,
    private readonly agent: string,
    private readonly mode: "read" | "write",
    private readonly begin: string, // after, at first
    private readonly on: Listener,
  ) {
    void this.open();
  }

  /** The position, as the server takes it. */
  get position(): string {
    return this.run ? `${this.run}:${this.offset}` : this.begin;
  }

  close(): void {
    this.closed = true;
    this.leave();
  }

  private leave(): void {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    // Browsers complain of one that is closed before it is open.
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket.close();
  }

  /** Lets go of the connection until skip: the terminal cannot keep up. */
  pause(): void {
    this.leave();
  }

  /** Goes on with what is printed now, and tells what was left out as a gap. */
  skip(): void {
    if (this.socket) return;
    this.skipping = true;
    void this.open();
  }

  type(data: Uint8Array<ArrayBuffer>): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  size(cols: number, rows: number): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type: "resize", cols, rows }));
  }

  private async open() {
    clearTimeout(this.timer);
    if (this.closed) return;
    this.on.link("connecting", "");
    try {
      const { ticket } = await this.tickets.ticket(this.agent, this.mode);
      if (!this.closed) this.connect(ticket);
    } catch (err) {
      const refused = err instanceof ApiError && [400, 401, 403, 404, 409, 410].includes(err.status);
      if (refused) this.on.link("refused", err.message);
      else this.lost(err instanceof ApiError ? err.message : "the town does not answer");
    }
  }

  private connect(ticket: string) {
    const url = new URL(`${this.tickets.control}/agents/${encodeURIComponent(this.agent)}/stream`, base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const after = this.skipping ? "live" : this.position;
    if (after) url.searchParams.set("after", after);
    if (this.events) url.searchParams.set("events", this.events);
    const socket = new WebSocket(url, [`ticket.${ticket}`]); // not in the address, which proxies log
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    let ended = false;
    socket.onmessage = (message: MessageEvent<ArrayBuffer | string>) => {
      if (this.socket !== socket) return; // what it brings is asked for again
      if (typeof message.data === "string") ended = this.frame(JSON.parse(message.data)) || ended;
      else {
        this.offset += message.data.byteLength;
        this.on.bytes(new Uint8Array(message.data));
      }
    };
    socket.onclose = (event) => {
      if (this.socket !== socket || this.closed) return;
      this.socket = null;
      if (ended) this.on.link("ended", "");
      else if (event.code === 1008) this.on.link("refused", event.reason);
      else this.lost(event.code === 1001 ? "the town is restarting" : "the connection was lost");
    };
  }

  /** Tells a frame and reports whether it was the last. */
  private frame(frame: Frame): boolean {
    switch (frame.type) {
      case "hello":
        this.hello(frame);
        break;
      case "screen":
        this.on.screen(frame.data);
        break;
      case "resize":
        this.on.resize(frame.cols, frame.rows);
        break;
      case "event":
        this.events = `${this.epoch}:${frame.event.id}`;
        this.on.event(frame.event);
        break;
      case "gap":
        this.offset = frame.to;
        this.on.gap(frame.from, frame.to);
        break;
      case "mode":
        this.on.mode(frame.mode, false);
        break;
      case "error":
        this.on.error(frame.error);
        break;
      case "exit":
        this.on.exit(frame);
        return true;
    }
    return false;
  }

  private hello(frame: Hello) {
    const skipped = this.skipping && this.run === frame.runId;
    const fresh = !skipped && (this.run !== frame.runId || this.offset !== frame.offset);
    if (skipped) this.on.gap(this.offset, frame.offset);
    this.skipping = false;
    this.run = frame.runId;
    this.offset = frame.offset;
    this.epoch = frame.epoch;
    this.events ||= `${frame.epoch}:${frame.eventId}`;
    this.delay = patience.first;
    this.on.link("live", "");
    this.on.hello(frame, fresh);
    this.on.mode(frame.mode, frame.waiting ?? false);
  }

  private lost(why: string) {
    this.on.link("lost", why);
    const wait = this.delay * (0.75 + Math.random() / 2);
    this.delay = Math.min(this.delay * 2, patience.most);
    this.timer = window.setTimeout(() => void this.open(), wait);
  }
}
