/** Server-sent events over fetch: the browser's own EventSource sends no Authorization. */

/** Takes a stream of events piece by piece. */
export class EventParser {
  private rest = ""; // of a line
  private data: string[] = []; // of an event

  /** Returns the data of the events that a piece completes. */
  push(piece: string): string[] {
    const lines = (this.rest + piece).split("\n");
    this.rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.line(line.endsWith("\r") ? line.slice(0, -1) : line));
  }

  private line(line: string): string[] {
    if (line.startsWith("data:")) this.data.push(line.slice(line[5] === " " ? 6 : 5));
    if (line !== "" || this.data.length === 0) return []; // other fields and comments say nothing here
    const data = this.data.join("\n");
    this.data = [];
    return [data];
  }
}

/**
 * Yields the data of the events of a stream until it ends. open makes the call. A stream that brings nothing, not even a
 * comment, for so many milliseconds is ended: its other end may be gone without a word.
 */
export async function* eventData(
  open: (signal: AbortSignal) => Promise<Response>,
  signal: AbortSignal,
  silentMs: number,
): AsyncGenerator<string> {
  const own = new AbortController();
  let timer = 0;
  const alive = () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => own.abort(), silentMs);
  };
  alive();
  try {
    const { body } = await open(AbortSignal.any([signal, own.signal]));
    const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    for (let read = await reader?.read(); read?.value !== undefined; read = await reader?.read()) {
      alive();
      yield* parser.push(read.value);
    }
  } finally {
    clearTimeout(timer);
    own.abort(); // who reads no further lets the connection go
  }
}
