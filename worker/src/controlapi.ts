// The calls of a container's control API that a coordinator makes.
import { type AgentStatus, type MergeRequest, type MergeResult, parse, type StartRequest } from "./contract";

/** A call that the container did not carry out, or of which nobody knows: then status is 0. */
export class ContainerError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfter = 0, // milliseconds
  ) {
    super(message);
  }
}

/** An agent as the container shows it. */
export interface AgentNow {
  status: AgentStatus;
  generation: number;
}

/** Bounds of calls. A start may clone a repository first; the container goes on with it when its caller has left, and a repeated one joins it. */
const startTimeout = 600_000;
const mergeTimeout = 60_000;
const statusTimeout = 15_000;
const orderTimeout = 60_000;

export class ControlAPI {
  /** send sends a request for a path of the control API, with its credential. */
  constructor(private readonly send: (path: string, init: RequestInit) => Promise<Response>) {}

  async start(req: StartRequest): Promise<void> {
    await this.ask("POST", "/agents/start", startTimeout, req);
  }

  agent(id: string): Promise<AgentNow> {
    return this.ask<AgentNow>("GET", `/agents/${id}/status`, statusTimeout);
  }

  async stop(id: string, req: unknown): Promise<void> {
    await this.ask("POST", `/agents/${id}/stop`, orderTimeout, req ?? {});
  }

  async message(id: string, req: unknown, key: string): Promise<void> {
    await this.ask("POST", `/agents/${id}/message`, orderTimeout, req, { "Idempotency-Key": key });
  }

  async forget(id: string): Promise<void> {
    await this.ask("DELETE", `/agents/${id}`, orderTimeout);
  }

  merge(req: MergeRequest): Promise<MergeResult> {
    return this.ask<MergeResult>("POST", "/git/merge", mergeTimeout, req);
  }

  private async ask<T>(method: string, path: string, timeout: number, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
    let response: Response;
    let text: string;
    try {
      response = await this.send(path, {
        method,
        headers: body === undefined ? headers : { ...headers, "Content-Type": "application/json" },
        body: body === undefined ? null : JSON.stringify(body),
        signal: AbortSignal.timeout(timeout),
      });
      text = await response.text();
    } catch (error) {
      throw new ContainerError(0, `call the container: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (!response.ok) {
      const seconds = Number(response.headers.get("Retry-After")) || 0;
      throw new ContainerError(response.status, reasonOf(text) || `the container answered ${response.status}`, seconds * 1000);
    }
    return parse<T>(text);
  }
}

function reasonOf(text: string): string {
  try {
    const { detail, error } = parse<{ detail?: string; error?: string }>(text);
    return detail || error || "";
  } catch {
    return text.slice(0, 200); // not a town's answer: the platform's
  }
}
