// A person at the browser: what the steps of a test are done with. TOWND_URL is where, TOWND_TOKEN what lets in.
import { mkdirSync } from "node:fs";
import axe from "axe-core";
import { chromium } from "playwright-core";

export const url = `${process.env.TOWND_URL}/`;
export const token = process.env.TOWND_TOKEN;
export const patience = 40_000;
const wide = { width: 1440, height: 900 };
const phone = { width: 390, height: 844 };

export const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
export const context = await browser.newContext({ colorScheme: "dark", viewport: wide });
context.setDefaultTimeout(patience);
export const page = await context.newPage();
const complaints = []; // of the browser's console
export const dialogs = [];
export const server = { down: false }; // it was killed: calls fail then
const listen = (m) => {
  const refused = server.down && /Failed to load resource|WebSocket connection|net::ERR/.test(m.text());
  // A step asks for that, or a small screen has nothing new; the canvas is read by us; the server's library may close twice.
  const asked = /status of (401|404|416)|willReadFrequently|Close received after close/.test(m.text());
  if ((m.type() === "error" || m.type() === "warning") && !refused && !asked) complaints.push(m.text());
};
page.on("console", listen);
page.on("pageerror", (err) => complaints.push(err.stack));
page.on("dialog", (d) => {
  dialogs.push(d.message());
  void d.dismiss();
});
context.on("page", (p) => p !== page && dialogs.push(`a new page ${p.url()}`));

let failed = false;
/** Does a step and prints a line of JSON for it. */
export async function step(Name, what) {
  try {
    await what();
    console.log(JSON.stringify({ Name }));
  } catch (err) {
    failed = true;
    const shown = await page
      .locator("main")
      .innerText({ timeout: 2000 })
      .catch(() => "");
    console.log(JSON.stringify({ Name, Error: `${err.stack}\nthe page shows: ${shown.slice(0, 1500)}` }));
  }
}

export function must(ok, text) {
  if (!ok) throw new Error(text);
}

export async function call(method, path, body) {
  const headers = { Authorization: `Bearer ${token}`, "Idempotency-Key": Math.random().toString(36) };
  const response = await fetch(new URL(path, url), { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** Waits until what returns something true. */
export async function until(what, why) {
  for (const end = Date.now() + patience; ; ) {
    const got = await what().catch(() => null);
    if (got) return got;
    if (Date.now() > end) throw new Error(`waited in vain until ${why}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** Presses a button that asks again until it is done: on a busy machine it may not ask any more when it is answered. */
export async function sure(of, label, really, done) {
  const press = (name) => of.getByRole("button", { name }).click({ timeout: 5000 });
  await until(async () => {
    if (await done()) return true;
    await press(label);
    await press(really);
    return false;
  }, `${really}: done`);
}

export const go = (hash) => page.evaluate((h) => (location.hash = h), hash);
export const rows = (of = page) => of.locator(".terminal .xterm-rows").innerText();

/** How many green dots the screen of a tile has. */
export const green = (tile) =>
  tile.locator("canvas").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let n = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i + 1] > 120 && data[i] < 60 && data[i + 2] < 80) n++;
    return n;
  });

/** Goes to a view and waits until it is there. */
async function see(view) {
  await go(`#/${view}`);
  await page.locator("main .skeleton").first().waitFor({ state: "detached" });
}

/** Opens a link as somebody who has nothing else, and notes what servers are asked. */
export async function guest(link) {
  const own = await browser.newContext({ colorScheme: "dark", viewport: wide });
  own.setDefaultTimeout(patience);
  const shown = await own.newPage();
  shown.asked = [];
  shown.on("request", (r) => shown.asked.push(r.url()));
  shown.on("websocket", (w) => shown.asked.push(w.url()));
  shown.on("console", listen);
  shown.on("pageerror", (err) => complaints.push(err.stack));
  await shown.goto(link);
  return shown;
}

/** What keeps people from reading or using a page as it is. */
export async function findings(of = page) {
  if (!(await of.evaluate(() => "axe" in window))) await of.evaluate(axe.source);
  const { violations } = await of.evaluate(() => window.axe.run(document));
  return violations
    .filter((v) => v.impact === "serious" || v.impact === "critical")
    .map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")}`);
}

/** Looks at a page in both colours and on a phone. */
export async function looks(of, name) {
  const wrong = [];
  for (const [look, size] of Object.entries({ dark: wide, light: wide, phone })) {
    await of.setViewportSize(size);
    await of.emulateMedia({ colorScheme: look === "light" ? "light" : "dark" });
    wrong.push(...(await findings(of)).map((w) => `${name}, ${look}: ${w}`));
    const width = await of.evaluate(() => document.documentElement.scrollWidth);
    if (width > size.width) wrong.push(`${name}, ${look}: ${width} wide`);
    if (process.env.SHOTS) {
      mkdirSync(process.env.SHOTS, { recursive: true });
      await of.screenshot({ path: `${process.env.SHOTS}/${name}-${look}.png` });
    }
  }
  await of.setViewportSize(wide);
  await of.emulateMedia({ colorScheme: "dark" });
  must(wrong.length === 0, wrong.join("\n"));
}

/** Fails on findings in one of the views. */
export async function mustBeAccessible(views) {
  const found = [];
  for (const view of views) {
    await see(view);
    found.push(...(await findings()).map((text) => `${view}: ${text}`));
  }
  must(found.length === 0, found.join("\n"));
}

/** Fails on a view that is wider than a phone. */
export async function mustFitAPhone(views) {
  const found = [];
  await page.setViewportSize(phone);
  for (const view of views) {
    await see(view);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > phone.width) found.push(`${view}: ${width}`);
  }
  await page.setViewportSize(wide);
  must(found.length === 0, found.join(", "));
}

/** Takes pictures of each view, dark, light and on a phone. */
export async function pictures(dir, views) {
  mkdirSync(dir, { recursive: true });
  for (const [name, size] of Object.entries({ dark: wide, light: wide, phone })) {
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme: name === "light" ? "light" : "dark" });
    for (const view of views) {
      await go(`#/${view}`);
      await page.waitForTimeout(2000); // for a picture only
      await page.screenshot({ path: `${dir}/${view.replaceAll("/", "-")}-${name}.png` });
    }
  }
  await page.setViewportSize(wide);
}

/** Takes the last steps and ends the test. */
export async function leave() {
  await step("signing out forgets the token", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("The town's token").waitFor();
    const kept = await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }));
    must(!kept.includes(token), kept);
  });
  await step("the browser had no complaint", async () =>
    must(complaints.length === 0, complaints.slice(0, 10).join("\n")),
  );
  await browser.close();
  process.exit(failed ? 1 : 0);
}
