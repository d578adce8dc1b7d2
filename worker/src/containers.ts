// The way to a town's container.

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
