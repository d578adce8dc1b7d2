// Queries and headers. Parameters that we do not know are left alone, since callers
// and proxies change; those that we do must be readable.
import { badParam } from "./errors";

export class Params {
  private readonly values = new Map<string, string[]>();

  constructor(search: string) {
    for (const pair of search.replace(/^\?/, "").split("&")) {
      if (pair !== "") {
        const [name = "", ...rest] = pair.split("=");
        const key = decoded(name);
        this.values.set(key, [...(this.values.get(key) ?? []), decoded(rest.join("="))]);
      }
    }
  }

  /** The value of a parameter, "" when it is absent. It must be given once at most. */
  one(name: string): string {
    const values = this.values.get(name) ?? [];
    if (values.length > 1) {
      throw badParam(name, `is given ${values.length} times`);
    }
    return values[0] ?? "";
  }

  number(name: string, low: number, high: number, fallback: number): number {
    const value = this.one(name);
    if (value === "") {
      return fallback;
    }
    const n = /^[0-9]{1,15}$/.test(value) ? Number(value) : -1;
    if (n < low || n > high) {
      throw badParam(name, `"${value.slice(0, 40)}" must be a number from ${low} to ${high}`);
    }
    return n;
  }

  choice(name: string, ...words: string[]): string {
    const value = this.one(name);
    if (value !== "" && !words.includes(value)) {
      throw badParam(name, `"${value.slice(0, 40)}" must be one of ${words.join(", ")}`);
    }
    return value;
  }
}

function decoded(s: string): string {
  try {
    return decodeURIComponent(s.replaceAll("+", " "));
  } catch {
    throw badParam("query", "must be name=value pairs joined by &, percent-encoded");
  }
}

/** The request's idempotency key, "" without one. */
export function idempotencyKey(request: Request): string {
  const key = request.headers.get("Idempotency-Key");
  if (key === null) {
    return "";
  }
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw badParam("Idempotency-Key", "must be given once, with 1 to 255 visible ASCII characters");
  }
  return key;
}

/** Whether the request asks for this media type by name. */
export function accepts(request: Request, mediaType: string): boolean {
  return (request.headers.get("Accept") ?? "").split(",").some((part) => part.split(";")[0]?.trim() === mediaType);
}
