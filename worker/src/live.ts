// A value that callers follow as server-sent events.
import { eventStream, eventText } from "./eventstream";
import type { Hall } from "./hall";

/** Milliseconds between two events at least. */
const pace = 1000;

/** Milliseconds after which it is read though nothing has changed: some of it hangs on the time. */
const lookAfter = 10_000;

/**
 * Each reader is sent the value at once, and again when it is another, at most once a second. It is read once for all
 * readers, and for nobody when there are none. A slow reader is sent the newest and misses what was between.
 */
export class Live {
  private text = ""; // the newest, as an event
  private readAt = 0;
  private changed: Promise<boolean> = Promise.resolve(true); // since it was read
  private looking: Promise<void> | undefined; // that readers wait for

  constructor(
    private readonly event: string,
    private readonly hall: Pick<Hall, "changed">,
    private readonly read: () => unknown,
  ) {}

  /** Answers one more reader. */
  follow(): Response {
    this.look();
    let sent = "";
    return eventStream(async () => {
      if (sent !== "") {
        this.looking ??= this.lookLater().finally(() => {
          this.looking = undefined;
        });
        await this.looking;
      }
      if (this.text === sent) {
        return "";
      }
      sent = this.text;
      return sent;
    });
  }

  private async lookLater(): Promise<void> {
    await this.changed;
    const wait = this.readAt + pace - Date.now();
    if (wait > 0) {
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
    this.look();
  }

  private look(): void {
    this.text = eventText("", this.event, this.read());
    this.readAt = Date.now();
    this.changed = this.hall.changed("work", lookAfter);
  }
}
