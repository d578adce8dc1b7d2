// What callers are told when a call is not carried out: RFC 9457 with the members
// that older clients read.

export interface Issue {
  path: string;
  message: string;
}

interface Details {
  type?: string; // a URI that says which problem it is, for programs
  issues?: Issue[];
  param?: boolean; // a path, query or header is wrong, not the body
  detail?: string;
  headers?: Record<string, string>;
}

/** A call that is not carried out, with its status. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly details: Details = {},
  ) {
    super(message);
  }
}

export const invalid = (issues: Issue[], param = false) =>
  new Refusal(400, `invalid: ${issues.map((i) => `${i.path} ${i.message}`).join("; ")}`, { issues, param });
export const badBody = (path: string, message: string) => invalid([{ path, message }]);
export const badParam = (path: string, message: string) => invalid([{ path, message }], true);
export const unauthorized = (message: string) => new Refusal(401, message, { headers: { "WWW-Authenticate": 'Bearer realm="townd"' } });
export const forbidden = (message: string) => new Refusal(403, message);
export const notFound = (message: string) => new Refusal(404, message);
export const noSuchPath = () => new Refusal(404, "Not found", { detail: "there is no such path; GET /openapi.json lists them" });
export const conflict = (message: string) => new Refusal(409, message);
export const gone = (message: string) => new Refusal(410, message);
export const tooLarge = (message: string) => new Refusal(413, message);
export const notAllowed = (allowed: string) => new Refusal(405, `only ${allowed} is allowed here`, { headers: { Allow: allowed } });
/** The container sleeps, starts or cannot be reached: the dashboard says so and shows the rest. */
export const away = (message: string) => new Refusal(503, message, { type: "urn:townd:container-away", headers: { "Retry-After": "5" } });
export const unavailable = (message: string) => new Refusal(503, message, { headers: { "Retry-After": "5" } });

const titles: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  410: "Gone",
  413: "Request Entity Too Large",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
};

/** The answer that tells of an error. Of one that is no Refusal it is told only that there was one. */
export function problem(error: unknown): Response {
  const refusal = error instanceof Refusal ? error : new Refusal(500, "internal error");
  if (!(error instanceof Refusal)) {
    console.error({ message: "request failed", error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
  const { type = "about:blank", issues, param, detail, headers } = refusal.details;
  const body = {
    type,
    title: titles[refusal.status] ?? "Error",
    status: refusal.status,
    detail: detail ?? refusal.message,
    error: issues && !param ? "Invalid request body" : refusal.message,
    ...(issues ? { issues } : refusal.status === 400 ? { issues: [{ path: "body", message: refusal.message }] } : {}),
  };
  return new Response(JSON.stringify(body), {
    status: refusal.status,
    headers: { "Content-Type": "application/problem+json", "X-Content-Type-Options": "nosniff", ...headers },
  });
}

export function answer(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { "Content-Type": "application/json", "X-Content-Type-Options": "nosniff" },
  });
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
