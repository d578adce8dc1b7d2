// Serves the Worker in workerd on a loopback port until its input ends, for tests in
// other languages. Its first line of output is the address. The environment may give
// the variables that are named here. wrangler's own servers put a proxy before workerd
// that passes no WebSocket on to containers.
import { readFile } from "node:fs/promises";
import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { parse } from "yaml";

const given = (...names) => Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));

const engine = process.env.CONTAINER_ENGINE; // the socket of a container engine that speaks Docker's API

const config = parse((await readFile(new URL("wrangler.jsonc", import.meta.url), "utf8")).replace(/^\s*\/\/.*$/gm, ""));
const { outputFiles } = await build({
  entryPoints: [new URL(config.main, import.meta.url).pathname],
  bundle: true,
  format: "esm",
  target: "es2024",
  conditions: ["workerd", "worker", "browser"],
  external: ["cloudflare:*", "node:*"],
  loader: { ".sql": "text" },
  write: false,
});
const server = new Miniflare(
  convertV4MiniflareOptions({
    modules: [{ type: "ESModule", path: "index.mjs", contents: outputFiles[0].text }],
    compatibilityDate: config.compatibility_date,
    compatibilityFlags: config.compatibility_flags,
    host: "127.0.0.1",
    port: Number(process.env.PORT ?? 0),
    cf: false,
    durableObjects: Object.fromEntries(
      config.durable_objects.bindings.map(({ name, class_name }) => [
        name,
        { className: class_name, useSQLite: true, ...(engine && class_name === "TownContainer" && { container: { imageName: "townd" } }) },
      ]),
    ),
    ...(engine && { containerEngine: { localDocker: { socketPath: engine } } }),
    assets: {
      directory: new URL(config.assets.directory, import.meta.url).pathname,
      binding: config.assets.binding,
      routerConfig: { has_user_worker: true, invoke_user_worker_ahead_of_assets: config.assets.run_worker_first },
      assetConfig: { html_handling: config.assets.html_handling },
    },
    bindings: {
      ...config.vars,
      ...given("TOWNS", "TOWN_CONTAINER_URL", "MAX_AGENTS", "GITHUB_RIG", "TOWND_TOKEN", "CONTAINER_SECRET", "GITHUB_WEBHOOK_SECRET"),
      ...given("ACCESS_TEAM", "ACCESS_AUD", "ACCESS_KEYS", "PUBLIC_URL", "SLEEP_AFTER"),
    },
  }),
);
console.log((await server.ready).href);
for await (const _ of process.stdin);
await server.dispose();
process.exit(0);
