// Answers that go on: server-sent events.
import { accepts } from "./params";

/** How long, in milliseconds, a stream of events is silent at most: then it says that it is there. */
export const quietAfter = 15_000;

/** Whether the request asks for an answer of server-sent events. */
export function wantsEvents(request: Request): boolean {
  return request.method === "GET" && accepts(request, "text/event-stream");
}

/** One event, its data in JSON; id is "" for one without. */
export function eventText(id: string, event: string, data: unknown): string {
  return `${id === "" ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Sends what next returns, whole events or "" for none, until the caller leaves. It is asked when the caller takes more. */
export function eventStream(next: () => Promise<string>): Response {
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        controller.enqueue(encoder.encode((await next()) || ": quiet\n\n"));
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(stream, { headers: { "Content-Type": "text/event-stream", "Cache-Control": "no-store" } });
}
