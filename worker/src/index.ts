// The door to all towns: who calls, and to which room.
import { identify, openTicket, signTicket } from "./auth";
import { lookHeader, looks, reach } from "./containers";
import { agentHeader } from "./contract";
import { dashboard, listTowns, townsOf } from "./dashboard";
import { answer, away, messageOf, noSuchPath, notAllowed, notFound, problem } from "./errors";
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
  switch (pathname) {
    case "/api/towns":
      return listTowns(request, env);
    case "/webhook/github":
      return fromGitHub(request, env);
    case "/health":
      return new Response("ok");
    default:
      return dashboard(request, env);
  }
}

async function toTown(request: Request, env: Env, townId: string, path: string): Promise<Response> {
  const ticket = isStream(request, path) ? ticketOf(request) : undefined;
  if (ticket !== undefined) {
    mustExist(env, townId);
    return openStream(request, env, townId, path, ticket);
  }
  const identity = await identify(request, env, townId);
  mustExist(env, townId);
  if (path.startsWith("/container/") && identity.kind === "person") {
    if (isSharing(path)) {
      throw noSuchPath();
    }
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
  if (!townsOf(env).includes(townId)) {
    throw notFound(`town ${townId}: there is no such town`);
  }
}

/** Whether a request is for an agent's stream. */
function isStream(request: Request, path: string): boolean {
  return request.method === "GET" && /^\/container\/agents\/[^/]+\/stream$/.test(path);
}

/** Whether a request is about links to runs, which only a town's own server shares: nobody without a token passes here. */
function isSharing(path: string): boolean {
  return /^\/container\/(shared|shares|agents\/[^/]+\/shares)(\/|$)/.test(path);
}

interface StreamTicket {
  ticket: string;
  protocol?: string; // that carries it, if the address does not
}

function ticketOf(request: Request): StreamTicket | undefined {
  const ticket = new URL(request.url).searchParams.get("ticket");
  if (ticket !== null) {
    return { ticket };
  }
  const protocols = (request.headers.get("Sec-WebSocket-Protocol") ?? "").split(",").map((word) => word.trim());
  const protocol = protocols.find((word) => word.startsWith("ticket."));
  return protocol === undefined ? undefined : { ticket: protocol.slice("ticket.".length), protocol };
}

/** Opens a stream. Its ticket is the whole authority; the container gets its own in the address. */
async function openStream(request: Request, env: Env, townId: string, path: string, { ticket, protocol }: StreamTicket): Promise<Response> {
  const url = new URL(request.url);
  url.searchParams.set("ticket", await openTicket(env.CONTAINER_SECRET, townId, ticket));
  const headers = new Headers(request.headers);
  headers.delete("Sec-WebSocket-Protocol");
  const opened = await toContainer(new Request(url, new Request(request, { headers })), env, townId, path);
  if (protocol === undefined || opened.webSocket === null) {
    return opened;
  }
  // Browsers want one of the protocols that they offered.
  return new Response(null, { status: 101, webSocket: opened.webSocket, headers: { "Sec-WebSocket-Protocol": protocol } });
}

/** The container's answer that holds a ticket, with the ticket signed, and with the address that opens the stream here. */
async function withSignedTicket(response: Response, env: Env, townId: string): Promise<Response> {
  const told: { ticket: string; url: string } = await response.json();
  const ticket = await signTicket(env.CONTAINER_SECRET, townId, told.ticket);
  const url = told.url.replace(encodeURIComponent(told.ticket), encodeURIComponent(ticket));
  return answer({ ...told, ticket, url: `/api/towns/${encodeURIComponent(townId)}/container${url}` });
}

/** Passes a request on to the container, without what only the Worker may see. */
async function toContainer(request: Request, env: Env, townId: string, path: string): Promise<Response> {
  const headers = new Headers(request.headers);
  for (const name of ["Authorization", "Cookie", "Cf-Access-Jwt-Assertion", agentHeader, lookHeader]) {
    headers.delete(name);
  }
  if (looks(request.method, path)) {
    headers.set(lookHeader, "1");
  }
  const url = `http://container${path.replace(/^\/container/, "")}${new URL(request.url).search}`;
  try {
    return await reach(env, townId, new Request(url, new Request(request, { headers })));
  } catch (error) {
    console.warn({ message: "container not reached", town: townId, error: messageOf(error) });
    throw away("The container does not answer.");
  }
}

async function fromGitHub(request: Request, env: Env): Promise<Response> {
  if (request.method !== "POST") {
    throw notAllowed("POST");
  }
  const secret: unknown = Reflect.get(env, "GITHUB_WEBHOOK_SECRET");
  const delivery = await readDelivery(request, typeof secret === "string" ? secret : "");
  await env.TOWN.getByName(destination(env).townId).received(delivery);
  return accepted();
}
