// The container of a town: one instance for each town, by its name.
import { Container, type StopParams } from "@cloudflare/containers";
import { containerToken } from "./auth";
import { lookHeader } from "./containers";
import { away, messageOf, problem, unavailable } from "./errors";

/** How long the container may take to end after SIGTERM: the platform kills it after 15 minutes. */
const stopSeconds = 840;

export class TownContainer extends Container<Env> {
  override defaultPort = 8080;
  override sleepAfter = "30m";

  private starting: Promise<void> | undefined;

  private get townId(): string {
    return this.ctx.id.name ?? this.ctx.storage.kv.get<string>("town") ?? ""; // an alarm may not know the name
  }

  private get town() {
    return this.env.TOWN.getByName(this.townId);
  }

  /**
   * Passes a request on to the container's control API, with the token that it knows; it is
   * started first if it sleeps, unless somebody only looks.
   */
  override async fetch(request: Request): Promise<Response> {
    if (request.headers.has(lookHeader)) {
      return this.look(request).catch(problem);
    }
    try {
      await this.awake();
    } catch (error) {
      console.error({ message: "container not started", town: this.townId, error: messageOf(error) });
      return problem(unavailable(`the container could not be started: ${messageOf(error)}`));
    }
    return this.pass(request);
  }

  /** Passes a request on, which keeps the container awake; a stream does so until it ends. */
  private async pass(request: Request): Promise<Response> {
    this.envVars = await this.environment(); // for a start that containerFetch makes when the container ends just now
    return this.containerFetch(await this.signed(request));
  }

  /** Passes a request on that neither wakes the container nor keeps it awake, but for a stream: somebody watches. */
  private async look(request: Request): Promise<Response> {
    if (this.starting !== undefined) {
      throw away("The container is starting.");
    }
    if (!this.ctx.container?.running) {
      throw away("The container is asleep. It wakes when there is work.");
    }
    if (request.headers.get("Upgrade") === "websocket") {
      return this.pass(request);
    }
    const signed = await this.signed(request);
    return this.ctx.container
      .getTcpPort(this.defaultPort)
      .fetch(signed.url.replace("https:", "http:"), signed)
      .catch(() => {
        throw away("The container does not answer.");
      });
  }

  private async signed(request: Request): Promise<Request> {
    const headers = new Headers(request.headers);
    headers.set("Authorization", `Bearer ${await this.token()}`);
    return new Request(request, { headers });
  }

  /** Starts the container unless it runs. Requests that come meanwhile wait for the same start. */
  private awake(): Promise<void> {
    this.starting ??= this.begin().finally(() => {
      this.starting = undefined;
    });
    return this.starting;
  }

  private async begin(): Promise<void> {
    if (this.ctx.container?.running) {
      return;
    }
    if (this.env.PUBLIC_URL === "") {
      throw new Error("PUBLIC_URL is not set: the container would not find its coordinator");
    }
    this.ctx.storage.kv.put("town", this.townId);
    const epoch = await this.town.nextEpoch();
    this.ctx.storage.kv.put("epoch", epoch);
    await this.startAndWaitForPorts({ startOptions: { envVars: await this.environment() } });
  }

  private token(): Promise<string> {
    return containerToken(this.env.CONTAINER_SECRET, this.townId, this.ctx.storage.kv.get<number>("epoch") ?? 0);
  }

  /** What the container is started with: its token, where its coordinator is, and what CONTAINER_ENV names. */
  private async environment(): Promise<Record<string, string>> {
    const given = this.env.CONTAINER_ENV.split(",").flatMap((name) => {
      const value: unknown = Reflect.get(this.env, name.trim());
      return typeof value === "string" && value !== "" ? [[name.trim(), value]] : [];
    });
    return {
      ...Object.fromEntries(given),
      TOWND_TOKEN: await this.token(),
      TOWND_TOWN_ID: this.townId,
      TOWND_COORDINATOR_URL: this.env.PUBLIC_URL,
      TOWND_STOP_SECONDS: String(stopSeconds),
    };
  }

  override onStart(): void {
    console.info({ message: "container started", town: this.townId });
  }

  override onStop({ exitCode, reason }: StopParams): void {
    console.info({ message: "container stopped", town: this.townId, exitCode, reason });
  }

  override onError(error: unknown): void {
    console.error({ message: "container failed", town: this.townId, error: messageOf(error) });
  }

  /** Lets the container sleep unless agents work: requests alone do not tell. */
  override async onActivityExpired(): Promise<void> {
    if (await this.town.busy()) {
      this.renewActivityTimeout();
      return;
    }
    console.info({ message: "container sleeps", town: this.townId });
    await super.onActivityExpired();
  }
}
