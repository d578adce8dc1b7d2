/** What the town sends again whenever it has changed: kept open while someone looks. */

const patience = { first: 250, most: 5000 };

/** What a feed tells. */
export interface Taker<T> {
  value(value: T): void;
  /** It cannot be opened; it is tried again. */
  lost(err: unknown): void;
}

export class Feed<T> {
  private stream: AbortController | null = null;
  private opening = false; // nothing has come yet
  private again = false; // asked for while it was opened: what comes may be from before

  constructor(
    private readonly follow: (signal: AbortSignal) => AsyncIterable<T>,
    private readonly to: Taker<T>,
  ) {}

  close(): void {
    this.stream?.abort();
    this.stream = null;
  }

  open(): void {
    this.close();
    this.opening = true;
    this.again = false;
    this.stream = new AbortController();
    void this.keep(this.stream.signal);
  }

  /** Has what it is now sent at once, if it is open. */
  renew(): void {
    if (this.opening) this.again = true;
    else if (this.stream) this.open();
  }

  private async keep(signal: AbortSignal) {
    for (let delay = patience.first; !signal.aborted; ) {
      const brought = await this.take(signal);
      delay = brought ? patience.first : Math.min(delay * 2, patience.most);
      await pause(delay * (0.75 + Math.random() / 2), signal);
    }
  }

  /** Takes what one stream brings, and reports whether that was anything. A stream that was cut is no loss yet. */
  private async take(signal: AbortSignal): Promise<boolean> {
    let brought = false;
    let problem: unknown;
    try {
      for await (const value of this.follow(signal)) {
        if (signal.aborted) return true;
        brought = true;
        this.opening = false;
        this.to.value(value);
        if (this.again) this.open();
      }
    } catch (err) {
      problem = err;
    }
    if (!brought && !signal.aborted) this.to.lost(problem);
    return brought;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    });
  });
}
