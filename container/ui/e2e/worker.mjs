// What a person does at the dashboard that the Worker serves for its towns. CONTAINER_URL is the control server of the
// town TOWN, whose process is CONTAINER_PID; ALONE_URL a Worker with that town only; OTHER_URL another site; ASSERTION what
// Cloudflare Access says of a person.
import {
  browser,
  call,
  findings,
  go,
  green,
  leave,
  must,
  mustBeAccessible,
  mustFitAPhone,
  page,
  pictures,
  rows,
  server,
  step,
  token,
  until,
  url,
} from "./person.mjs";

const { TOWN: id, CONTAINER_URL: control, ALONE_URL: alone, OTHER_URL: other, ASSERTION: assertion } = process.env;
const town = (method, path, body) => call(method, `api/towns/${id}/${path}`, body);

async function enter(value) {
  await page.getByLabel("The town's token").fill(value);
  await page.keyboard.press("Enter");
}

await step("files and headers are those of the control server", async () => {
  const script = /src="(ui\/app-[^"]+\.js)"/.exec(await (await fetch(url)).text())[1];
  for (const path of ["", "ui/LICENSES.txt", script, script.replace(/app-.*/, "none.js")]) {
    const ours = await fetch(new URL(path, `${control}/`));
    for (const base of [url, `${url}towns/${id}/`]) {
      const its = await fetch(new URL(path, base));
      must(its.status === ours.status, `${base}${path}: status ${its.status}, not ${ours.status}`);
      if (!ours.ok) continue;
      for (const name of [
        "content-security-policy",
        "content-type",
        "cache-control",
        "x-content-type-options",
        "referrer-policy",
        "cross-origin-opener-policy",
        "cross-origin-resource-policy",
      ]) {
        const [is, want] = [its.headers.get(name), ours.headers.get(name)];
        must(want && is === want, `${base}${path}: ${name} is ${is}, not ${want}`);
      }
      must((await its.text()) === (await ours.clone().text()), `${base}${path} is another file`);
    }
  }
});

await step("a wrong token is told; the right one shows the towns, and each asks no more", async () => {
  await page.goto(url);
  await enter("wrong");
  await page.getByText("That is not this town's token.").waitFor();
  await enter(token);
  await page.getByRole("link", { name: "elsewhere" }).waitFor();
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/towns.png` });
  must((await findings()).length === 0, (await findings()).join("\n"));
  await page.getByRole("link", { name: id }).click();
  await page.getByRole("heading", { name: "Agents" }).waitFor();
  must(page.url().startsWith(`${url}towns/${id}/`) && !page.url().includes(token), `the address is ${page.url()}`);
  await page.getByRole("link", { name: "All towns" }).click();
  await page.getByRole("link", { name: id }).click();
});

await step("a town that does not exist is told", async () => {
  await page.goto(`${url}towns/typo/`);
  await page.getByText("town typo: there is no such town").waitFor();
  await page.goto(`${url}towns/${id}/`);
});

await step("an agent is shown with its screen", async () => {
  const tile = page.locator(".tile", { hasText: "polecat" }).first();
  await tile.waitFor();
  await until(async () => (await green(tile)) > 50, "its screen is drawn");
  await tile.click();
  await page.getByText("live", { exact: true }).waitFor();
  await until(async () => (await rows()).includes("$"), "the prompt is shown");
});

await step("its terminal is typed into", async () => {
  await page.getByRole("button", { name: "Type" }).click();
  await page.getByRole("button", { name: /Typing/ }).waitFor();
  await page.keyboard.type("echo $((6*7)); echo new >new.txt\n");
  await until(async () => /^42$/m.test(await rows()), "what was typed is answered");
  await page.keyboard.press("Control+Shift+Escape");
  await page.getByRole("link", { name: "Changes" }).click();
  await page.locator(".file", { hasText: "new.txt" }).locator(".added", { hasText: "+new" }).waitFor();
});

await step("work is given and held back", async () => {
  await go("#/town");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("button", { name: "Go on" }).waitFor();
  await page.keyboard.press("n");
  const form = page.getByRole("form", { name: "New bead" });
  await form.getByLabel("Title").fill("write a haiku");
  await form.getByRole("button", { name: "Create" }).click();
  await go("#/beads");
  await page.locator("main").getByText("write a haiku").first().waitFor();
  const { beads } = await town("GET", "beads?q=haiku");
  must(beads.length === 1 && beads[0].status === "open", JSON.stringify(beads));
});

await step("health is the container's", async () => {
  await go("#/health");
  await page.getByText("Agents apart by").waitFor();
});

const { agents } = await town("GET", "status");
const views = ["town", `agents/${agents[0].agentId}`, "beads", "merges", "inbox", "health"];

for (const theme of ["dark", "light"])
  await step(`no serious finding of axe-core, ${theme}`, async () => {
    await page.emulateMedia({ colorScheme: theme });
    await mustBeAccessible(views);
  });

await step("nothing is wider than a phone", () => mustFitAPhone(views));

if (process.env.SHOTS) await pictures(process.env.SHOTS, views);

await step("the only town is gone to", async () => {
  await page.goto(`${alone}/`);
  await enter(token);
  await page.getByRole("heading", { name: "Agents" }).waitFor();
  must(page.url() === `${alone}/towns/${id}/`, `the address is ${page.url()}`);
  must((await page.getByRole("link", { name: "All towns" }).count()) === 0, "a way to all towns");
});

await step("whom Cloudflare Access lets in needs no token", async () => {
  const context = await browser.newContext();
  await context.addCookies([{ name: "CF_Authorization", value: assertion, url }]);
  const signedIn = await context.newPage();
  await signedIn.goto(`${url}towns/${id}/`);
  await signedIn.getByRole("button", { name: "Go on" }).click();
  await signedIn.getByRole("button", { name: "Pause" }).waitFor();
  const tile = signedIn.locator(".tile", { hasText: "polecat" }).first();
  await until(async () => (await green(tile)) > 50, "a screen is drawn");
  await tile.click();
  await signedIn.getByText("live", { exact: true }).waitFor();
  must((await signedIn.evaluate(() => sessionStorage.length)) === 0, "something is kept");
  // Another site's page, in the same browser.
  await signedIn.goto(other);
  await signedIn.evaluate(
    (to) => fetch(to, { method: "POST", mode: "no-cors", credentials: "include", body: '{"title": "forged"}' }),
    `${url}api/towns/${id}/rigs/app/beads`,
  );
  const { beads } = await town("GET", "beads?q=forged");
  must(beads.length === 0, "another site has made a bead");
  // When Access lets nobody in any more, its sign-in is to be seen.
  await signedIn.goto(`${url}towns/${id}/`);
  await signedIn.getByRole("heading", { name: "Agents" }).waitFor();
  await context.clearCookies();
  await signedIn.getByText("Your sign-in is over: load this page again.").waitFor();
  await context.close();
});

await step("without its container the town is shown, and why nobody works", async () => {
  await page.goto(`${url}towns/${id}/`);
  await page.locator(".tile").first().waitFor();
  server.down = true;
  process.kill(Number(process.env.CONTAINER_PID), "SIGTERM");
  await page.getByText("The container does not answer.").waitFor();
  must((await page.locator(".old.on").count()) === 0, "what is shown is said to be old");
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/away.png` });
  await go("#/health");
  await page.getByText("The container does not answer.").waitFor();
  await page.getByText(/It was last heard of/).waitFor();
  await go("#/beads");
  await page.locator("main").getByText("write a haiku").first().click();
  await page.getByRole("heading", { name: "write a haiku" }).waitFor();
  await mustBeAccessible(["town", "health"]);
});

await leave();
