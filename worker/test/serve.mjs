// Serves the Worker in workerd on a loopback port until its input ends, for tests in
// other languages. Its first line of output is the address. The environment may give
// the variables that are named here.
import { createTestHarness } from "wrangler";

const given = (...names) => Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));

const server = createTestHarness({
  workers: [
    {
      configPath: new URL("wrangler.jsonc", import.meta.url),
      vars: given("TOWNS", "TOWN_CONTAINER_URL", "MAX_AGENTS", "GITHUB_RIG"),
      secrets: given("TOWND_TOKEN", "CONTAINER_SECRET", "GITHUB_WEBHOOK_SECRET"),
    },
  ],
});
const { url } = await server.listen();
console.log(url.href);
for await (const _ of process.stdin);
if (process.env.TOWND_TEST_LOGS) {
  for (const log of server.getLogs()) console.error(JSON.stringify(log));
}
await server.close();
process.exit(0);
