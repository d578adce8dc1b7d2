// The Worker with a clock that tests can move on, and with objects that they can end.
import { env } from "cloudflare:workers";
import worker, { TownContainer as Container } from "../src/index";
import { TownDO as Town } from "../src/town";

/** A container that sleeps as soon as a test wants it to. */
export class TownContainer extends Container {
  override sleepAfter = given("SLEEP_AFTER") || "30m";
}

/** A variable that a test may give; "" when it does not. */
function given(name: string): string {
  const value: unknown = Reflect.get(env, name);
  return typeof value === "string" ? value : "";
}

/** The keys of Cloudflare Access are those that a test gives: its team has no server here. */
const outside = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const asked = given("ACCESS_KEYS") && String(input).endsWith("/cdn-cgi/access/certs");
  return asked ? Promise.resolve(new Response(given("ACCESS_KEYS"))) : outside(input, init);
};

export class TownDO extends Town {
  protected override now(): number {
    return Date.now() + this.ahead;
  }

  private get ahead(): number {
    return this.ctx.storage.kv.get<number>("ahead") ?? 0;
  }

  override async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/abort") {
      this.ctx.abort("a test ends it");
    }
    if (pathname !== "/advance") {
      return super.fetch(request);
    }
    this.ctx.storage.kv.put("ahead", this.ahead + Number(searchParams.get("milliseconds")));
    this.pass();
    return new Response("ok");
  }
}

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const town = searchParams.get("town");
    if (!town || (pathname !== "/advance" && pathname !== "/abort")) {
      return worker.fetch(request, env);
    }
    try {
      return await env.TOWN.getByName(town).fetch(request);
    } catch {
      return new Response("ended");
    }
  },
} satisfies ExportedHandler<Env>;
