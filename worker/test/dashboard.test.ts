import { env, reset, SELF } from "cloudflare:test";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import rule from "../../container/ui/headers.json";
import { containerToken } from "../src/auth";
import { looks } from "../src/containers";
import worker from "../src/index";

beforeEach(reset);

const site = "https://town.example.com";
const person = { Authorization: "Bearer of-the-tests" };
const team = "team.example.com";
const behindAccess: Env = { ...env, ACCESS_TEAM: team, ACCESS_AUD: "tag" };

const get = (path: string, headers: Record<string, string> = {}) => SELF.fetch(site + path, { headers, redirect: "manual" });

let privateKey: CryptoKey;

beforeAll(async () => {
  const pair = await generateKeyPair("RS256", { extractable: true });
  privateKey = pair.privateKey;
  const keys = { keys: [{ ...(await exportJWK(pair.publicKey)), alg: "RS256" }] };
  const outside = globalThis.fetch;
  vi.spyOn(globalThis, "fetch").mockImplementation((input, init) =>
    String(input) === `https://${team}/cdn-cgi/access/certs` ? Promise.resolve(Response.json(keys)) : outside(input, init),
  );
});
afterAll(() => void vi.restoreAllMocks());

/** An assertion for a person of the team. */
function assertion(expires = "1h"): Promise<string> {
  return new SignJWT({})
    .setProtectedHeader({ alg: "RS256" })
    .setIssuer(`https://${team}`)
    .setAudience("tag")
    .setExpirationTime(expires)
    .sign(privateKey);
}

/** The Worker's answer where Cloudflare Access stands before it. */
const ask = (path: string, init: RequestInit<IncomingRequestCfProperties>) =>
  worker.fetch(new Request<unknown, IncomingRequestCfProperties>(site + path, init), behindAccess);

test("the page and its files are served at all towns' address and at each town's, by one rule", async () => {
  const page = await (await get("/")).text();
  const script = /src="(ui\/[^"]+)"/.exec(page)?.[1] ?? "";
  for (const [path, caching] of [
    ["/", "no-cache"],
    ["/towns/main/", "no-cache"],
    ["/towns/main/ui/LICENSES.txt", "no-cache"],
    ["/towns/main/ui/town.json", "no-cache"],
    [`/${script}`, rule.caching["*"]],
    [`/towns/main/${script}`, rule.caching["*"]],
  ] as const) {
    const response = await get(path);
    await response.text();
    expect([path, response.status, response.headers.get("Cache-Control")]).toEqual([path, 200, caching]);
    expect(Object.fromEntries(response.headers)).toMatchObject(
      Object.fromEntries(Object.entries(rule.headers).map(([name, value]) => [name.toLowerCase(), value])),
    );
  }
  const moved = await get("/towns/main");
  expect([moved.status, moved.headers.get("Location")]).toEqual([308, `${site}/towns/main/`]);
  for (const path of ["/ui/index.html", "/ui/none.js", "/index.html", "/towns/", "/towns/main/x", "/towns/main/ui/a/b", `/x${script}`]) {
    expect([path, (await get(path)).status]).toEqual([path, 404]);
  }
  expect((await SELF.fetch(`${site}/`, { method: "POST" })).status).toBe(405);
});

test("which towns there are is told to people only", async () => {
  expect(await (await get("/api/towns", person)).json()).toEqual({ towns: ["main", "conformance"] });
  const container = { Authorization: `Bearer ${await containerToken("of-the-tests-too", "main", 1)}` };
  for (const headers of [{}, container, { Authorization: "Bearer x" }]) {
    expect((await get("/api/towns", headers)).status).toBe(401);
  }
  // The page of a town that does not exist is like every other.
  const ours = await get("/towns/main/");
  const none = await get("/towns/none/");
  expect([none.status, await none.text()]).toEqual([ours.status, await ours.text()]);
});

test("the page is told where the town's two interfaces are, relative to itself", async () => {
  const told: { control: string; coordinator: string; towns: string } = await (await get("/towns/main/ui/town.json")).json();
  expect(told).toMatchObject({ townId: "main", hall: true, sharing: false, signedIn: false });
  const at = (address: string) => new URL(address, `${site}/towns/main/`).pathname;
  expect([at(told.control), at(told.coordinator), at(told.towns)]).toEqual(["/api/towns/main/container", "/api/towns/main", "/"]);
  expect((await get(`${at(told.coordinator)}/status`, person)).status).toBe(200);
  expect((await get(`${at(told.control)}/shares`, person)).status).toBe(404); // a link would open nothing here
  expect(await (await get("/ui/town.json")).json()).toEqual({ townId: "", hall: false, sharing: false, signedIn: false });
});

test("the page is told that Cloudflare Access let the person in, by the header or by the browser's cookie", async () => {
  const made = await assertion();
  for (const [headers, signedIn] of [
    [{ "Cf-Access-Jwt-Assertion": made }, true],
    [{ Cookie: `theme=dark; CF_Authorization=${made}` }, true],
    [{ Cookie: `XCF_Authorization=${made}` }, false],
    [{ Cookie: "CF_Authorization=" }, false],
    [{ Cookie: "CF_Authorization=a.b.c" }, false],
    [{}, false],
  ] as [Record<string, string>, boolean][]) {
    expect(await (await ask("/towns/main/ui/town.json", { headers })).json()).toMatchObject({ signedIn });
  }
});

test("whom Cloudflare Access let in changes nothing from another site's page", async () => {
  const cookie = { Cookie: `CF_Authorization=${await assertion()}` };
  const status = async (method: string, headers: Record<string, string>) =>
    (await ask("/api/towns/main/settings", { method, headers, body: method === "PATCH" ? "{}" : null })).status;
  for (const headers of [{}, { Origin: site }, { Origin: site, "Sec-Fetch-Site": "same-origin" }, { "Sec-Fetch-Site": "none" }]) {
    expect(await status("PATCH", { ...cookie, ...headers }), JSON.stringify(headers)).toBe(200);
  }
  for (const headers of [
    { Origin: "https://evil.example.com" },
    { Origin: "https://town.example.com.evil.example" },
    { Origin: "http://town.example.com" },
    { Origin: "https://town.example.com:8443" },
    { Origin: "null" },
    { Origin: "" },
    { "Sec-Fetch-Site": "cross-site" },
    { "Sec-Fetch-Site": "same-site" },
  ]) {
    for (const method of ["PATCH", "DELETE", "POST"]) {
      expect(await status(method, { ...cookie, ...headers }), JSON.stringify(headers)).toBe(403);
    }
    expect(await status("GET", { ...cookie, ...headers })).toBe(405); // it is heard
    expect(await status("PATCH", { ...person, ...cookie, ...headers })).toBe(200); // no page has a token that was not given to it
  }
  expect(await status("PATCH", { Cookie: `CF_Authorization=${await assertion("-1h")}` })).toBe(401);
  expect(await status("PATCH", { ...cookie, Authorization: "Bearer wrong" })).toBe(401);
});

test("looking at agents is no reason to wake a container", () => {
  for (const [method, path] of [
    ["GET", "/container/agents"],
    ["HEAD", "/container/agents"],
    ["GET", "/container/agents/a/transcript"],
    ["GET", "/container/agents/a/stream"],
    ["POST", "/container/agents/a/stream-ticket"],
  ] as const) {
    expect(looks(method, path), path).toBe(true);
  }
  for (const [method, path] of [
    ["POST", "/container/agents/start"],
    ["POST", "/container/agents/a/message"],
    ["DELETE", "/container/agents/a"],
    ["PATCH", "/container/agents/a/model"],
  ] as const) {
    expect(looks(method, path), path).toBe(false);
  }
});

test("a container that is not there is told as that", async () => {
  const response = await get("/api/towns/main/container/agents", person);
  expect([response.status, await response.json()]).toMatchObject([503, { type: "urn:townd:container-away", status: 503 }]);
});
