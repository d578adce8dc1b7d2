// What a person does at the dashboard, step by step, at the town of TOWND_URL. Prints a line of JSON for each step.
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { transform } from "esbuild";
import {
  browser,
  call,
  dialogs,
  go,
  green,
  guest,
  leave,
  looks,
  must,
  mustBeAccessible,
  mustFitAPhone,
  page,
  patience,
  pictures,
  rows,
  server,
  step,
  sure,
  token,
  until,
  url,
} from "./person.mjs";

const rig = "site";
const town = (method, path, body) => call(method, `api/towns/local/${path}`, body);

async function start(agentId, script, more = { cli: "command", command: ["sh", "-c", script] }) {
  const { rigs } = await town("GET", "rigs");
  await call("POST", "agents/start", {
    agentId,
    rigId: rig,
    townId: "local",
    role: "polecat",
    name: agentId,
    gitUrl: rigs[0].gitUrl,
    branch: `polecat/${agentId}/1`,
    ...more,
  });
}

/** Makes a link to the run whose page is shown. */
async function share() {
  await page.getByRole("button", { name: "Share" }).click();
  const dialog = page.getByRole("dialog", { name: "Share this run" });
  await dialog.getByLabel("For").selectOption("8 hours");
  await dialog.getByRole("button", { name: "Make a link" }).click();
  const link = await dialog.getByLabel("The link").inputValue();
  must(link.startsWith(`${url}#/shared/`), `the link is ${link.slice(0, 60)}`);
  return link;
}

const closeLinks = () => page.getByRole("dialog").getByRole("button", { name: "Close" }).click();

/** The streams of events that a page has open from now on. */
function streamsOf(of) {
  const open = new Set();
  of.on("request", (r) => r.headers().accept === "text/event-stream" && open.add(r));
  of.on("requestfinished", (r) => open.delete(r));
  of.on("requestfailed", (r) => open.delete(r));
  return open;
}

const killServer = () => process.kill(Number(readFileSync(process.env.SERVER_LOCK, "utf8")), "SIGKILL");

await step("an event is read in whatever pieces it comes", async () => {
  const { code } = await transform(readFileSync("../src/sse.ts", "utf8"), { loader: "ts", format: "esm" });
  const { EventParser } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  const text = ': quiet\n\nid: 1\nevent: x\ndata: {"a":"ü:1"}\n\ndata:one\r\ndata:  two\r\n\r\nretry: 5\n\ndata: cut';
  const want = JSON.stringify(['{"a":"ü:1"}', "one\n two"]);
  for (let i = 0; i <= text.length; i++) {
    for (let j = i; j <= text.length; j++) {
      const parser = new EventParser();
      const got = [text.slice(0, i), text.slice(i, j), text.slice(j)].flatMap((piece) => parser.push(piece));
      must(JSON.stringify(got) === want, `in pieces at ${i} and ${j}: ${JSON.stringify(got)}`);
    }
  }
});

await step("the files are public and strict", async () => {
  const response = await fetch(url);
  const policy = response.headers.get("content-security-policy");
  must(policy.includes("default-src 'none'") && !policy.includes("unsafe"), `policy ${policy}`);
  must(response.headers.get("x-content-type-options") === "nosniff", "no nosniff");
  const script = /src="(ui\/app-[^"]+\.js)"/.exec(await response.text())[1];
  const file = await fetch(new URL(script, url));
  must(file.headers.get("cache-control").includes("immutable"), "scripts are not kept");
  must((await fetch(new URL("ui/none.js", url))).status === 404, "a file that is none of ours");
});

await step("a wrong token is told, the right one lets in and stays out of the address", async () => {
  await page.goto(url);
  await page.getByLabel("The town's token").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("That is not this town's token.").waitFor();
  await page.getByLabel("The town's token").fill(token);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Agents" }).waitFor();
  must(!page.url().includes(token), "the token is in the address");
  await page.getByText("Nobody works: there is nothing to do.").waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Agents" }).waitFor();
});

await step("agents are shown with their screens", async () => {
  await start(
    "counter",
    'echo one two >$TOWND_ARTIFACTS/numbers.txt; i=0; while :; do i=$((i+1)); printf "n=%d \\033[38;2;9;200;9mgreen\\033[0m\\n" $i; sleep 0.1; done',
  );
  await start("shell", "PS1='$ ' exec bash --norc --noprofile");
  const tile = page.locator(".tile", { hasText: "counter" });
  await tile.waitFor();
  await until(async () => (await green(tile)) > 50, "the screen of counter is drawn");
});

await step("what becomes of an agent comes by itself", async () => {
  const asked = [];
  const note = (r) => {
    const { pathname } = new URL(r.url());
    if (pathname === "/agents" || pathname.endsWith("/status")) asked.push(pathname);
  };
  page.on("request", note);
  const tile = page.locator(".tile", { hasText: "brief" });
  await start("brief", "sleep 600");
  await tile.getByText("working", { exact: true }).waitFor();
  await call("POST", "agents/brief/stop", {});
  await tile.waitFor({ state: "detached" });
  page.off("request", note);
  must(asked.length === 0, `meanwhile it asked for ${asked}`);
});

await step("a page that nobody sees holds no stream", async () => {
  const open = streamsOf(page);
  const see = (seen) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, !seen);
  await page.reload();
  await until(async () => open.size === 2, "the town is followed");
  await see(false);
  await until(async () => open.size === 0, "nothing is open");
  await start("unseen", "sleep 600");
  await see(true);
  await page.locator(".tile", { hasText: "unseen" }).waitFor();
  await until(async () => open.size === 2, "the town is followed again");
  await call("POST", "agents/unseen/stop", {});
});

await step("a cut connection is opened again, and only a town that does not answer is told", async () => {
  const sockets = new Set();
  const proxy = createServer((near) => {
    const far = connect(Number(new URL(url).port), "127.0.0.1");
    for (const s of [near, far]) {
      sockets.add(s);
      s.on("error", () => undefined);
      s.on("close", () => [near, far].map((other) => other.destroy()));
    }
    near.pipe(far).pipe(near);
  });
  const cut = () => {
    for (const s of sockets) s.destroy();
    sockets.clear();
  };
  await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
  const { port } = proxy.address();
  const other = await (await browser.newContext()).newPage();
  other.setDefaultTimeout(patience);
  const open = streamsOf(other);
  await other.goto(`http://127.0.0.1:${port}/`);
  await other.getByLabel("The town's token").fill(token);
  await other.keyboard.press("Enter");
  await other.locator(".tile", { hasText: "counter" }).waitFor();
  await other.evaluate(() => {
    window.told = [];
    const old = document.querySelector(".old");
    new MutationObserver(() => window.told.push(old.textContent)).observe(old, {
      subtree: true,
      childList: true,
      characterData: true,
    });
  });
  for (let i = 0; i < 3; i++) {
    const before = [...open];
    cut();
    await until(async () => open.size === 2 && !before.some((r) => open.has(r)), "both streams are open again");
    // What they bring says that they are: one that is cut before is one that could not be opened.
    await town("PATCH", "settings", { paused: `cut ${i}` });
    await start(`late${i}`, "sleep 600");
    await other.getByText(`paused: cut ${i}`).waitFor();
    await other.locator(".tile", { hasText: `late${i}` }).waitFor();
    await call("POST", `agents/late${i}/stop`, {});
  }
  await town("PATCH", "settings", { paused: "" });
  await start("final", "sleep 600");
  await other.locator(".tile", { hasText: "final" }).waitFor();
  const told = await other.evaluate(() => window.told.filter(Boolean));
  must(told.length === 0, `of a cut it told ${told}`);
  proxy.close();
  cut();
  await other.getByText("The town does not answer. Trying again…").waitFor();
  await call("POST", "agents/final/stop", {});
  await new Promise((done) => proxy.listen(port, "127.0.0.1", done));
  await other.getByText("The town does not answer. Trying again…").waitFor({ state: "detached" });
  await other.locator(".tile", { hasText: "final" }).waitFor({ state: "detached" });
  await other.context().close();
  proxy.close();
  cut();
});

await step("the town goes on when its server was killed", async () => {
  const open = streamsOf(page);
  server.down = true;
  killServer();
  await until(() => start("after", "sleep 600").then(() => true), "the server is back");
  await page.locator(".tile", { hasText: "after" }).waitFor();
  await page.locator(".old.on").waitFor({ state: "detached" });
  server.down = false;
  await until(async () => open.size === 2, "both streams are open again");
  await call("POST", "agents/after/stop", {});
});

await step("a small screen goes on when more was printed than is held", async () => {
  const drawn = page.waitForResponse(/agents\/burst\/screen/);
  await start(
    "burst",
    "echo begin; until test -e go; do sleep 0.1; done; yes | head -c 20000000; printf '\\033[38;2;9;200;9m'; yes green | head -n 99; exec sleep 600",
  );
  const tile = page.locator(".tile", { hasText: "burst" });
  const told = "**/agents/burst/transcript*";
  await drawn;
  server.down = true;
  await page.route(told, (route) => route.abort());
  writeFileSync(`${(await call("GET", "agents/burst/status")).workdir}/go`, "");
  await until(() => call("GET", "agents/burst/screen").then((s) => s.text.includes("green")), "it has printed 20 MB");
  must((await green(tile)) === 0, "its end is shown although nothing was fetched");
  await page.unroute(told);
  await until(async () => (await green(tile)) > 50, "its end is shown");
  server.down = false;
  await call("POST", "agents/burst/stop", {});
  await call("DELETE", "agents/burst");
});

await step("a question comes first and is answered in place", async () => {
  await until(
    () => town("GET", "agents").then((r) => r.agents.some((a) => a.agentId === "counter")),
    "the coordinator knows counter",
  );
  const q = await town("POST", "agents/counter/ask", {
    question: "Which way?",
    options: ["Left", "Right"],
    waitSeconds: 600,
  });
  const card = page.getByRole("article", { name: "Question of counter" });
  await card.waitFor();
  const first = await page.locator(".tile").first().innerText();
  must(first.includes("counter"), `the first tile is ${first}`);
  await card.getByRole("button", { name: "Right" }).click();
  await card.waitFor({ state: "detached" });
  const answered = await town("GET", `questions/${q.id}`);
  must(answered.status === "answered" && answered.answer === "Right", JSON.stringify(answered));
});

await step("an escalation is answered in the inbox", async () => {
  const e = await town("POST", "escalations", { title: "Cannot go on", body: "<b>why</b>", severity: "high" });
  await page.getByRole("link", { name: /Inbox/ }).click();
  const card = page.getByRole("article", { name: "Escalation: Cannot go on" });
  await card.getByText("<b>why</b>").waitFor();
  await card.getByRole("textbox").fill("take the other road");
  await card.getByRole("button", { name: "Close" }).click();
  await card.waitFor({ state: "detached" });
  const { escalations } = await town("GET", "escalations");
  must(escalations.find((x) => x.id === e.id).answer === "take the other road", JSON.stringify(escalations));
});

await step("the keyboard reaches every place and agent", async () => {
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  await page.locator(".tile", { hasText: "shell" }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("shell");
  await until(async () => (await page.locator(".tile").count()) === 1, "one agent is left");
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "shell", level: 1 }).waitFor();
});

await step("a terminal is watched and typed into", async () => {
  await page.getByText("live", { exact: true }).waitFor();
  await until(async () => (await rows()).includes("$"), "the prompt is shown");
  await page.getByRole("button", { name: "Type" }).click();
  await page.getByRole("button", { name: /Typing/ }).waitFor();
  await page.keyboard.type("echo $((6*7)); echo new >new.txt\n");
  await until(async () => /^42$/m.test(await rows()), "what was typed is answered");
});

await step("a message is sent and its receipt shown", async () => {
  await page.getByLabel("Message to shell").fill("echo from a message");
  await page.getByLabel("When it is delivered").selectOption("now");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".timeline .message", { hasText: "echo from a message" }).waitFor();
  await page.locator(".timeline .message", { hasText: /message (delivered|seen)/ }).waitFor();
});

await step("its changes are shown", async () => {
  await page.getByRole("link", { name: "Changes" }).click();
  await page.locator(".file", { hasText: "new.txt" }).locator(".added", { hasText: "+new" }).waitFor();
});

await step("the terminal goes on at the exact byte when the server was killed", async () => {
  await go("#/agents/counter");
  await until(async () => (await rows()).includes("n="), "the counter is shown");
  server.down = true;
  killServer();
  await page.getByText("reconnecting…").waitFor();
  await page.getByText("live", { exact: true }).waitFor();
  server.down = false;
  const before = Number(
    (await rows())
      .match(/n=(\d+)/g)
      .at(-1)
      .slice(2),
  );
  await until(
    async () =>
      Number(
        (await rows())
          .match(/n=(\d+)/g)
          .at(-1)
          .slice(2),
      ) >
      before + 5,
    "the counter goes on",
  );
  // All that is shown, above the screen too.
  const seen = [];
  for (let i = 0; i < 12; i++) {
    seen.push(...[...(await rows()).matchAll(/n=(\d+) green/g)].map((m) => Number(m[1])));
    await page.locator(".terminal .xterm-screen").hover();
    await page.mouse.wheel(0, -400);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  }
  const numbers = [...new Set(seen)].sort((a, b) => a - b);
  const holes = numbers.filter((n, i) => i > 0 && n !== numbers[i - 1] + 1);
  must(
    numbers.length > 40 && holes.length === 0,
    `after holes: ${holes}; of ${numbers.length} from ${numbers[0]} to ${numbers.at(-1)}`,
  );
  const screen = [...(await rows()).matchAll(/n=(\d+) green/g)].map((m) => Number(m[1]));
  must(
    screen.every((n, i) => i === 0 || n === screen[i - 1] + 1),
    `lines are there twice: ${screen}`,
  );
});

await step("a run is played again from any moment", async () => {
  await page.getByRole("link", { name: "Replay" }).click();
  const time = page.getByLabel("Time", { exact: true });
  await time.waitFor();
  await until(async () => (await rows()).includes("n="), "its end is shown");
  const end = await rows();
  await time.focus();
  await page.keyboard.press("Home");
  await until(async () => !/n=[1-9]\d/.test(await rows()), "its beginning is shown");
  await page.getByLabel("Speed").selectOption("5");
  await page.getByRole("button", { name: "Play" }).click();
  await until(async () => /n=[1-9]\d/.test(await rows()), "it is played");
  await time.focus();
  await page.keyboard.press("End");
  await until(async () => (await rows()) === end, "its end is shown again");
});

await step("a recording is saved as a file", async () => {
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download" }).click(),
  ]);
  const [head, ...lines] = readFileSync(await file.path(), "utf8")
    .trimEnd()
    .split("\n");
  must(/^counter-\w+\.cast$/.test(file.suggestedFilename()), file.suggestedFilename());
  must(JSON.parse(head).version === 2 && lines.length > 10, head);
});

let kept; // by who goes on watching
await step("a run is shared with who has nothing but the link", async () => {
  await page.getByRole("link", { name: "Terminal" }).click();
  await page.getByText("live", { exact: true }).waitFor();
  const link = await share();
  await looks(page, "share");
  await closeLinks();
  const shown = await guest(link);
  await shown.getByText("live", { exact: true }).waitFor();
  await until(async () => (await rows(shown)).includes("n="), "the counter is shown");
  must((await shown.title()) === "counter · shared", await shown.title());
  must((await shown.locator("nav, textarea:not(.xterm-helper-textarea)").count()) === 0, "there is more than the run");
  await looks(shown, "shared");
  await shown.getByRole("button", { name: "Replay" }).click();
  await shown.getByLabel("Time", { exact: true }).focus();
  await shown.keyboard.press("Home");
  await until(async () => !/n=[1-9]\d/.test(await rows(shown)), "its beginning is shown");
  await looks(shown, "shared-replay");
  await shown.getByRole("button", { name: "Replay" }).click();
  const secret = link.split(".").at(-1);
  const leaks = shown.asked.filter((asked) => asked.includes(secret) || !new URL(asked).host.startsWith("127."));
  must(leaks.length === 0 && shown.asked.length > 5, `asked ${leaks.length} times with the secret, or elsewhere`);
  must((await shown.evaluate(() => sessionStorage.length + document.referrer.length)) === 0, "something is kept");
  kept = shown;
});

await step("a link that is taken back shows so at once", async () => {
  const shown = await guest(await share());
  await until(async () => (await rows(shown)).includes("n="), "the counter is shown");
  const links = page.getByRole("list", { name: "Links of this run" }).getByRole("listitem");
  must((await links.count()) === 2, "both links are listed");
  await sure(links.nth(1), "Take back", "Take it back, really", async () => (await links.count()) === 1);
  await shown.getByText("This link shows nothing any more.").waitFor();
  await looks(shown, "shared-over");
  await closeLinks();
  await shown.context().close();
  must((await rows(kept)).includes("n="), "the other link goes on");
});

await step("an agent is stopped", async () => {
  await page.getByRole("link", { name: "Terminal" }).click();
  await until(async () => (await rows()).includes("n="), "the counter is shown");
  const stopped = async () => (await town("GET", "runs?agent=counter")).runs.some((r) => r.reason === "stopped");
  await sure(page, "Stop", "Stop it, really", stopped); // and the coordinator knows
  must((await rows()).includes("n="), "its terminal is gone");
  await page.locator(".link").getByText("ended").waitFor();
  await kept.locator(".pill", { hasText: "exited" }).waitFor();
  await kept.getByLabel("Time", { exact: true }).waitFor();
  await kept.context().close();
});

await step("what is kept of its run is saved as a file", async () => {
  await page.getByRole("link", { name: "Changes" }).click();
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download numbers.txt" }).click(),
  ]);
  must(file.suggestedFilename() === "numbers.txt", file.suggestedFilename());
  const text = readFileSync(await file.path(), "utf8");
  must(text === "one two\n", text);
  await looks(page, "kept");
});

await step("work is given, done by an agent and merged", async () => {
  await page.keyboard.press("n");
  const form = page.getByRole("form", { name: "New bead" });
  await form.getByLabel("Title").fill("write a haiku");
  await form.getByLabel("Priority").selectOption("high");
  await form.getByRole("button", { name: "Create" }).click();
  const closed = page.getByRole("region", { name: "Closed" });
  await closed.getByText("write a haiku").click();
  await page.getByRole("region", { name: "Summary" }).waitFor();
  await page.getByRole("link", { name: "Merges" }).click();
  await page
    .getByRole("row", { name: /merged/ })
    .first()
    .waitFor();
});

await step("a program without a terminal is shown as a conversation", async () => {
  await start("talker", "", { cli: "claude", model: "claude-sonnet-4-5", prompt: "please write one.txt" });
  await go("#/agents/talker");
  const talk = page.getByRole("region", { name: "Conversation" });
  await talk.getByText("<img src=x onerror=alert(1)> I write.").waitFor();
  await talk.getByText(/^✓ write/i).waitFor();
  await talk.getByText("It is done.").waitFor();
  await page.getByLabel("Message to talker").fill("please write two.txt");
  await page.getByRole("button", { name: "Send" }).click();
  await talk
    .locator(".message", { hasText: "please write two.txt" })
    .getByText(/delivered|seen/)
    .waitFor();
  await until(async () => (await talk.getByText("It is done.").count()) === 2, "the second turn is done");
  await page.getByText("turn 2", { exact: true }).waitFor();
  await page.locator(".facts", { hasText: /[1-9]\d* in/ }).waitFor();
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/conversation.png` });
  const shown = await guest(await share());
  await closeLinks();
  await shown.getByText("<img src=x onerror=alert(1)> I write.").first().waitFor();
  await until(async () => (await shown.getByText("It is done.").count()) === 2, "both turns are shown by a link");
  await looks(shown, "shared-words");
  await shown.context().close();
  await go("#/town");
  await page.locator(".tile", { hasText: "talker" }).waitFor();
});

await step("a conversation is played again, step by step too", async () => {
  await go("#/agents/talker/replay");
  const talk = page.getByRole("list", { name: "Conversation" });
  const shown = (text) => talk.getByText(text).count();
  const [asked, done] = ["<img src=x onerror=alert(1)> I write.", "It is done."];
  await until(async () => (await shown(done)) === 2, "its end is shown");
  const time = page.getByLabel("Time", { exact: true });
  await time.focus();
  await page.keyboard.press("Home");
  await until(async () => (await shown(asked)) === 0, "its beginning is shown");
  const on = page.getByRole("button", { name: "One step on" });
  for (let i = 0; i < 50 && (await shown(asked)) === 0; i++) await on.click();
  must((await shown(asked)) === 1 && (await shown(done)) === 0, "the first words are not shown alone");
  await page.getByRole("button", { name: "One step back" }).click();
  await until(async () => (await shown(asked)) === 0, "what was before them is shown");
  await page.getByLabel("Speed").selectOption("100");
  await page.getByRole("button", { name: "Play" }).click();
  await until(async () => (await shown(done)) === 2, "it is played to its end");
  await page.getByRole("button", { name: "Play" }).waitFor();
});

await step("a quota that is almost used up holds new work back", async () => {
  const told = async () => (await town("GET", "status")).quota?.provider === "claude";
  await until(told, "a heartbeat has told what the model's answers did");
  await go("#/town");
  must((await page.locator(".standby").count()) === 0, "standby without a minimum");
  await town("PATCH", "settings", { minQuotaPercent: 10 });
  const bead = await town("POST", `rigs/${rig}/beads`, { title: "waits for the quota" });
  const badge = page.locator(".standby", { hasText: /standby until (\w+ \d+ )?\d\d:\d\d/ }); // with the day when that is tomorrow
  await badge.getByText("4 % of claude's input-tokens left").waitFor();
  const next = page.getByRole("region", { name: "Waiting" });
  await next.getByText(/standby until \d\d:\d\d: 4 % of claude's input-tokens left/).waitFor();
  must((await town("GET", `beads/${bead.id}`)).status === "open", "the bead was taken");
  const shot = (name) => process.env.SHOTS && page.screenshot({ path: `${process.env.SHOTS}/standby-${name}.png` });
  await shot("town");
  await page.setViewportSize({ width: 390, height: 844 });
  must((await page.evaluate(() => document.documentElement.scrollWidth)) <= 390, "the badge is wider than a phone");
  await shot("phone");
  await page.setViewportSize({ width: 1440, height: 900 });
  await go("#/health");
  await page.getByRole("region", { name: /Standby until/ }).waitFor();
  await page
    .locator("li", { hasText: "claude" })
    .getByText(/^4 % of input-tokens left, reset at .+, seen /)
    .waitFor();
  await page
    .locator("li", { hasText: "probe" })
    .getByText(/^40 % of five_hour left, reset at .+, seen /)
    .waitFor();
  const least = page.getByLabel(/Start no agent while less than/);
  must((await least.inputValue()) === "10", `the minimum is shown as ${await least.inputValue()}`);
  await shot("health");
  await least.fill("0");
  await page.getByRole("button", { name: "Set" }).click();
  await page.getByText("0: whatever is left").waitFor();
  await go("#/town");
  await badge.waitFor({ state: "detached" });
  await until(async () => (await town("GET", `beads/${bead.id}`)).status !== "open", "the bead is taken");
});

await step("a failed bead is retried where it is shown", async () => {
  await town("PATCH", "settings", { paused: "for the test" });
  const bead = await town("POST", `rigs/${rig}/beads`, { title: "will fail", body: "x" });
  await town("PATCH", `beads/${bead.id}`, { status: "failed", reason: "it was given up" });
  await go(`#/beads/${bead.id}`);
  await page.getByText("it was given up").first().waitFor();
  await page.getByRole("button", { name: "Retry" }).click();
  await page.locator("article.bead .pill", { hasText: "open" }).waitFor();
  must((await town("GET", `beads/${bead.id}`)).status === "open", "the bead is not open");
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByRole("form", { name: "Edit bead" }).getByLabel("Title").fill("a better title");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "a better title" }).waitFor();
  await page.getByLabel("A note").fill("mind the step");
  await page.getByRole("button", { name: "Add" }).click();
  await page.getByRole("region", { name: "History" }).getByText("mind the step").waitFor();
});

await step("a bead that was given up needs a person once, and is retried there", async () => {
  const bead = await town("POST", `rigs/${rig}/beads`, { title: "too hard", body: "x" });
  await town("PATCH", `beads/${bead.id}`, { status: "failed", reason: "it was given up" });
  const e = await town("POST", "escalations", { title: "given up: too hard", beadId: bead.id, severity: "high" });
  await go("#/town");
  const card = page.getByRole("article", { name: "Escalation: given up: too hard" });
  await card.waitFor();
  must((await page.getByRole("article", { name: "Failed: too hard" }).count()) === 0, "it is there twice");
  await card.getByRole("button", { name: "Retry" }).click();
  await card.waitFor({ state: "detached" });
  must((await town("GET", `beads/${bead.id}`)).status === "open", "the bead is not open");
  const { escalations } = await town("GET", "escalations");
  must(escalations.find((x) => x.id === e.id).status === "closed", JSON.stringify(escalations));
});

await step("mail is written", async () => {
  await go("#/inbox");
  await page.getByText("Write mail").click();
  const form = page.getByRole("form", { name: "New mail" });
  await form.getByLabel("Subject").fill("to the mayor");
  await form.getByRole("button", { name: "Send" }).click();
  await page.locator(".lines").getByText("to the mayor").waitFor();
});

await step("what an agent prints changes nothing outside its terminal", async () => {
  const hostile = [
    "\\033]0;<img src=x onerror=alert(1)>OWNED\\007",
    "\\033]2;OWNED\\033\\\\",
    "\\033]52;c;T1dORUQ=\\007",
    "\\033]8;;javascript:alert(1)\\033\\\\CLICK\\033]8;;\\033\\\\",
    "\\033]8;;https://example.invalid/\\033\\\\CLICK\\033]8;;\\033\\\\",
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "\\033[?1000h\\033[?1003h\\033[?2004h\\033[8;500;500t\\033[3;0;0t\\033[21t\\033[6n\\033[c",
    "\\033]1337;File=inline=1:AAAA\\007\\033P1;1q~~\\033\\\\",
  ].join("\\r\\n");
  await start(
    "hostile",
    `printf '${hostile}\\r\\n'; head -c 10000000 /dev/zero | tr '\\0' 'A'; printf '\\r\\nEND\\r\\n'; exec sleep 600`,
  );
  await page.evaluate(() => {
    window.copied = [];
    navigator.clipboard.writeText = async (text) => void window.copied.push(text);
    window.open = (to) => void window.copied.push(to);
  });
  const nodes = () =>
    page.evaluate(() => document.querySelectorAll("img, iframe, script:not([src]), .terminal a").length);
  await until(() => page.evaluate(() => document.title.startsWith("Inbox")), "the title is the page's");
  await go("#/agents/hostile");
  await until(async () => (await rows()).includes("END"), "the end of 10 MB on one line");
  await page.reload();
  await until(async () => (await rows()).includes("END"), "the end again");
  must((await page.title()) === "hostile · local", `title ${await page.title()}`);
  must((await nodes()) === 0, "an element came in");
  await page.getByRole("link", { name: "Replay" }).click();
  await until(async () => (await rows()).includes("END"), "the end in the replay");
  await page.getByLabel("Time", { exact: true }).focus();
  await page.keyboard.press("Home");
  await until(async () => (await rows()).includes("CLICK"), "the link's text").catch(() => undefined);
  for (const link of await page.locator(".terminal").getByText("CLICK").all())
    await link.click({ modifiers: ["Control"] }).catch(() => undefined);
  await go("#/town");
  await page.locator(".tile", { hasText: "hostile" }).waitFor();
  must((await nodes()) === 0, "an element came in");
  const copied = await page.evaluate(() => window.copied ?? []);
  must(copied.length === 0 && dialogs.length === 0, `copied ${copied}, dialogs ${dialogs}`);
});

const views = () => [
  "town",
  "agents/shell",
  "agents/shell/diff",
  "agents/hostile/replay",
  "agents/talker/replay",
  "beads",
  "merges",
  "inbox",
  "health",
];

for (const theme of ["dark", "light"]) {
  await step(`no serious finding of axe-core, ${theme}`, async () => {
    await page.emulateMedia({ colorScheme: theme });
    const { beads } = await town("GET", "beads?limit=1");
    await mustBeAccessible([...views(), `beads/${beads[0].id}`, "beads?new=1"]);
  });
}

await step("nothing is wider than a phone", () => mustFitAPhone(views()));

if (process.env.SHOTS) await pictures(process.env.SHOTS, views());
await leave();
