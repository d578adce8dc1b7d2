// From a request to the answer of a route.
import { createHash } from "node:crypto";
import { callerOf, person } from "./caller";
import { agentHeader, idRule, isID } from "./contract";
import { readBody } from "./decode";
import { answer, badParam, noSuchPath, Refusal } from "./errors";
import { type Hall, type HallCall, mayCall, Reply, type Route, routes } from "./hall";
import { idempotencyKey, Params } from "./params";

const patterns = routes.map((route) => ({ route, segments: route.path.slice(1).split("/") }));

/** Finds the route of a path below /api/towns/{townId}, with the ids in it. */
function find(method: string, path: string): { route: Route; ids: Record<string, string> } {
  const parts = path.slice(1).split("/");
  const fits = patterns.filter(
    ({ segments }) => segments.length === parts.length && segments.every((s, i) => s.startsWith("{") || s === parts[i]),
  );
  const asked = method === "HEAD" ? "GET" : method;
  const found = fits.find(({ route }) => route.method === asked);
  if (found) {
    return { route: found.route, ids: idsOf(found.segments, parts) };
  }
  if (fits.length === 0) {
    // URLs lose segments that are dots before we see them.
    throw path.endsWith("/") ? badParam("path", "ends with no id") : noSuchPath();
  }
  const methods = fits.flatMap(({ route }) => (route.method === "GET" ? ["GET", "HEAD"] : [route.method]));
  const allow = [...new Set(methods)].join(", ");
  throw new Refusal(405, `method "${method.slice(0, 20)}" is not allowed here; allowed: ${allow}`, { headers: { Allow: allow } });
}

function idsOf(segments: string[], parts: string[]): Record<string, string> {
  const ids: Record<string, string> = {};
  for (const [i, segment] of segments.entries()) {
    if (segment.startsWith("{")) {
      const name = segment.slice(1, -1);
      ids[name] = pathID(name, parts[i] ?? "");
    }
  }
  return ids;
}

/** The id in a segment of a path, which is still percent-encoded. */
export function pathID(name: string, segment: string): string {
  let id: string;
  try {
    id = decodeURIComponent(segment);
  } catch {
    throw badParam(name, "cannot be percent-decoded");
  }
  if (!isID(id)) {
    throw badParam(name, `"${id.slice(0, 140)}" ${idRule}`);
  }
  return id;
}

/** Answers a call of the coordinator, which may be made for an agent. path is what follows /api/towns/{townId}. */
export async function serve(hall: Hall, request: Request, path: string): Promise<Response> {
  const { route, ids } = find(request.method, path);
  const agent = request.headers.get(agentHeader);
  const caller = agent === null ? person : hall.read((t) => callerOf(t, agent));
  const url = new URL(request.url);
  const call: HallCall = { hall, request, caller, ids, params: new Params(url.search), data: new Uint8Array(), key: undefined };
  mayCall(route.who, call);
  if (request.method !== "GET" && request.method !== "HEAD") {
    call.data = await readBody(request);
    const key = request.method === "POST" ? idempotencyKey(request) : "";
    const digest = createHash("sha256").update(call.data).digest("hex");
    call.key = key === "" ? undefined : { key, fingerprint: `${caller.agentId} ${request.method} ${url.pathname} ${digest}` };
  }
  const value = await route.handle(call);
  if (value instanceof Response) {
    return value;
  }
  return value instanceof Reply ? answer(value.value, value.status) : answer(value);
}
