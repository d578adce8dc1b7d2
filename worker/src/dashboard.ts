// The dashboard: the files of container/ui/dist, for all towns at / and for one at
// /towns/{townId}/. Everybody may have them, and they tell no stranger which towns there are.
import rule from "../../container/ui/headers.json";
import { identify, isSignedIn } from "./auth";
import { answer, noSuchPath, notAllowed } from "./errors";
import { pathID } from "./router";

const caching: Record<string, string> = rule.caching;

/** The towns that there are. */
export const townsOf = (env: Env) => env.TOWNS.split(",").map((id) => id.trim());

/** Answers the names of all towns, to a person. */
export async function listTowns(request: Request, env: Env): Promise<Response> {
  mustRead(request);
  await identify(request, env, ""); // no container is of that town
  return answer({ towns: townsOf(env) });
}

/** Answers a request for a file of the dashboard, or for what its page must know first. */
export async function dashboard(request: Request, env: Env): Promise<Response> {
  const { origin, pathname } = new URL(request.url);
  if (/^\/towns\/[^/]+$/.test(pathname)) {
    return Response.redirect(`${origin}${pathname}/`, 308);
  }
  const found = /^(?:\/towns\/([^/]+))?\/(?:ui\/([^/]+))?$/.exec(pathname);
  if (found === null || found[2] === "index.html") {
    throw noSuchPath();
  }
  mustRead(request);
  const [, town, name = "index.html"] = found;
  const townId = town === undefined ? "" : pathID("townId", town);
  const response = name === "town.json" ? answer(await about(request, env, townId)) : await file(request, env, name);
  response.headers.set("Cache-Control", caching[name] ?? caching["*"] ?? "");
  for (const [header, value] of Object.entries(rule.headers)) {
    response.headers.set(header, value);
  }
  return response;
}

function mustRead({ method }: Request): void {
  if (method !== "GET" && method !== "HEAD") {
    throw notAllowed("GET, HEAD");
  }
}

/** What the page must know before anyone has signed in; addresses are relative to its own. */
async function about(request: Request, env: Env, townId: string) {
  const signedIn = await isSignedIn(request, env);
  if (townId === "") {
    return { townId, hall: false, sharing: false, signedIn };
  }
  const coordinator = `../../api/towns/${encodeURIComponent(townId)}`;
  const towns = townsOf(env).length > 1 ? "../../" : "";
  return { townId, hall: true, control: `${coordinator}/container`, coordinator, towns, sharing: false, signedIn };
}

async function file(request: Request, env: Env, name: string): Promise<Response> {
  const found = await env.ASSETS.fetch(new Request(new URL(`/${name}`, request.url), request));
  if (found.status === 404) {
    throw noSuchPath();
  }
  return new Response(found.body, found);
}
