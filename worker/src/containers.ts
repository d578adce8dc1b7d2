// The way to a town's container.

/** Set by the Worker, and by it alone: a request that is no reason to wake the container. */
export const lookHeader = "X-Townd-Look";

/** Whether a person's call of the control API only looks: it must not wake a container. A ticket is asked for to look, too. */
export function looks(method: string, path: string): boolean {
  return method === "GET" || method === "HEAD" || path.endsWith("/stream-ticket");
}

/** Sends a request to the control API of a town's container, with its credential. The path is that of the control API. */
export async function reach(env: Env, townId: string, request: Request): Promise<Response> {
  if (env.TOWN_CONTAINER_URL === "") {
    return env.TOWN_CONTAINER.getByName(townId).fetch(request);
  }
  const { pathname, search } = new URL(request.url);
  const headers = new Headers(request.headers);
  headers.set("Authorization", `Bearer ${env.TOWND_TOKEN}`);
  return fetch(new Request(env.TOWN_CONTAINER_URL.replace(/\/+$/, "") + pathname + search, new Request(request, { headers })));
}
