// The door to all towns: who calls, and to which room.
import { identify, openTicket, signTicket } from "./auth";
import { reach } from "./containers";
import { agentHeader } from "./contract";
import { answer, noSuchPath, notFound, problem, Refusal } from "./errors";
import { pathID } from "./router";
import { epochHeader } from "./town";
import { accepted, destination, readDelivery } from "./webhook";

export { TownContainer } from "./container";
export { TownDO } from "./town";

export default {
  async fetch(request, env): Promise<Response> {
    try {
      return await route(request, env);
    } catch (error) {
      return problem(error);
    }
  },
} satisfies ExportedHandler<Env>;

async function route(request: Request, env: Env): Promise<Response> {
  const { pathname } = new URL(request.url);
  const [, town = "", path = ""] = /^\/api\/towns\/([^/]*)(\/.*)?$/.exec(pathname) ?? [];
  if (town !== "") {
    return toTown(request, env, pathID("townId", town), path);
  }
  if (pathname === "/webhook/github") {
    return fromGitHub(request, env);
  }
  if (pathname === "/health") {
    return new Response("ok");
  }
  throw noSuchPath();
}

async function toTown(request: Request, env: Env, townId: string, path: string): Promise<Response> {
  const url = new URL(request.url);
  const signed = isStream(request, path) ? url.searchParams.get("ticket") : null;
  if (signed !== null) {
    mustExist(env, townId);
    url.searchParams.set("ticket", await openTicket(env.CONTAINER_SECRET, townId, signed)); // it is the whole authority
    return toContainer(new Request(url, request), env, townId, path);
  }
  const identity = await identify(request, env, townId);
  mustExist(env, townId);
  if (path.startsWith("/container/") && identity.kind === "person") {
    const response = await toContainer(request, env, townId, path);
    return response.ok && path.endsWith("/stream-ticket") ? withSignedTicket(response, env, townId) : response;
  }
  const headers = new Headers(request.headers);
  headers.delete(epochHeader);
  if (identity.kind === "container") {
    headers.set(epochHeader, String(identity.epoch));
  }
  return env.TOWN.getByName(townId).fetch(new Request(request, { headers }));
}

/** Refuses a town that is not one of ours: a name that is mistyped would make another. */
function mustExist(env: Env, townId: string): void {
  if (!env.TOWNS.split(",").some((id) => id.trim() === townId)) {
    throw notFound(`town ${townId}: there is no such town`);
  }
}

/** Whether a request is for an agent's stream. */
function isStream(request: Request, path: string): boolean {
  return request.method === "GET" && /^\/container\/agents\/[^/]+\/stream$/.test(path);
}

/** The container's answer that holds a ticket, with the ticket signed. */
async function withSignedTicket(response: Response, env: Env, townId: string): Promise<Response> {
  const told: { ticket: string; url: string } = await response.json();
  const ticket = await signTicket(env.CONTAINER_SECRET, townId, told.ticket);
  return answer({ ...told, ticket, url: told.url.replace(encodeURIComponent(told.ticket), encodeURIComponent(ticket)) });
}

/** Passes a request on to the container, without what only the Worker may see. */
function toContainer(request: Request, env: Env, townId: string, path: string): Promise<Response> {
  const headers = new Headers(request.headers);
  for (const name of ["Authorization", "Cookie", "Cf-Access-Jwt-Assertion", agentHeader]) {
    headers.delete(name);
  }
  const url = `http://container${path.replace(/^\/container/, "")}${new URL(request.url).search}`;
  return reach(env, townId, new Request(url, new Request(request, { headers })));
}

async function fromGitHub(request: Request, env: Env): Promise<Response> {
  if (request.method !== "POST") {
    throw new Refusal(405, "only POST is allowed here", { headers: { Allow: "POST" } });
  }
  const secret: unknown = Reflect.get(env, "GITHUB_WEBHOOK_SECRET");
  const delivery = await readDelivery(request, typeof secret === "string" ? secret : "");
  await env.TOWN.getByName(destination(env).townId).received(delivery);
  return accepted();
}
