// What a person does at the dashboard, step by step, at the town of TOWND_URL. Prints a line of JSON for each step.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import axe from "axe-core";
import { chromium } from "playwright-core";

const url = `${process.env.TOWND_URL}/`;
const token = process.env.TOWND_TOKEN;
const patience = 40_000;
const rig = "site";

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
const context = await browser.newContext({ colorScheme: "dark", viewport: { width: 1440, height: 900 } });
context.setDefaultTimeout(patience);
const page = await context.newPage();
const complaints = []; // of the browser's console
const dialogs = [];
let down = false; // the server was killed: calls fail then
page.on("console", (m) => {
  const refused = down && /Failed to load resource|WebSocket connection|net::ERR/.test(m.text());
  // A step asks for that, or a small screen has nothing new; the canvas is read by us; the server's library may close twice.
  const asked = /status of (401|404|416)|willReadFrequently|Close received after close/.test(m.text());
  if ((m.type() === "error" || m.type() === "warning") && !refused && !asked) complaints.push(m.text());
});
page.on("pageerror", (err) => complaints.push(err.stack));
page.on("dialog", (d) => {
  dialogs.push(d.message());
  void d.dismiss();
});
context.on("page", (p) => p !== page && dialogs.push(`a new page ${p.url()}`));

let failed = false;
async function step(Name, what) {
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

function must(ok, text) {
  if (!ok) throw new Error(text);
}

async function call(method, path, body) {
  const headers = { Authorization: `Bearer ${token}`, "Idempotency-Key": Math.random().toString(36) };
  const response = await fetch(new URL(path, url), { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}
const town = (method, path, body) => call(method, `api/towns/local/${path}`, body);

/** Waits until what returns something true. */
async function until(what, why) {
  for (const end = Date.now() + patience; ; ) {
    const got = await what().catch(() => null);
    if (got) return got;
    if (Date.now() > end) throw new Error(`waited in vain until ${why}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

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

/** How much of a tile's small screen is green. */
const green = (tile) =>
  tile.locator("canvas").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let n = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i + 1] > 120 && data[i] < 60 && data[i + 2] < 80) n++;
    return n;
  });
const go = (hash) => page.evaluate((h) => (location.hash = h), hash);
const rows = () => page.locator(".terminal .xterm-rows").innerText();

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
    'i=0; while :; do i=$((i+1)); printf "n=%d \\033[38;2;9;200;9mgreen\\033[0m\\n" $i; sleep 0.1; done',
  );
  await start("shell", "PS1='$ ' exec bash --norc --noprofile");
  const tile = page.locator(".tile", { hasText: "counter" });
  await tile.waitFor();
  await until(async () => (await green(tile)) > 50, "the screen of counter is drawn");
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
  down = true;
  await page.route(told, (route) => route.abort());
  writeFileSync(`${(await call("GET", "agents/burst/status")).workdir}/go`, "");
  await until(() => call("GET", "agents/burst/screen").then((s) => s.text.includes("green")), "it has printed 20 MB");
  must((await green(tile)) === 0, "its end is shown although nothing was fetched");
  await page.unroute(told);
  await until(async () => (await green(tile)) > 50, "its end is shown");
  down = false;
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
  down = true;
  process.kill(Number(readFileSync(process.env.SERVER_LOCK, "utf8")), "SIGKILL");
  await page.getByText("reconnecting…").waitFor();
  await page.getByText("live", { exact: true }).waitFor();
  down = false;
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
  const time = page.getByLabel("Time");
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

await step("an agent is stopped", async () => {
  await page.getByRole("link", { name: "Terminal" }).click();
  await until(async () => (await rows()).includes("n="), "the counter is shown");
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("button", { name: "Stop it, really" }).click();
  const stopped = async () => (await town("GET", "runs?agent=counter")).runs.some((r) => r.reason === "stopped");
  await until(stopped, "the coordinator knows that it was stopped");
  must((await rows()).includes("n="), "its terminal is gone");
  await page.locator(".link").getByText("ended").waitFor();
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
  await go("#/town");
  await page.locator(".tile", { hasText: "talker" }).waitFor();
});

await step("a conversation is played again, step by step too", async () => {
  await go("#/agents/talker/replay");
  const talk = page.getByRole("list", { name: "Conversation" });
  const shown = (text) => talk.getByText(text).count();
  const [asked, done] = ["<img src=x onerror=alert(1)> I write.", "It is done."];
  await until(async () => (await shown(done)) === 2, "its end is shown");
  const time = page.getByLabel("Time");
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
  await page.getByLabel("Time").focus();
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
    const found = [];
    const { beads } = await town("GET", "beads?limit=1");
    for (const view of [...views(), `beads/${beads[0].id}`, "beads?new=1"]) {
      await go(`#/${view}`);
      await page.locator("main .skeleton").first().waitFor({ state: "detached" });
      if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => window.axe.run(document));
      for (const v of violations.filter((x) => x.impact === "serious" || x.impact === "critical"))
        found.push(`${view}: ${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")}`);
    }
    must(found.length === 0, found.join("\n"));
  });
}

await step("nothing is wider than a phone", async () => {
  const wide = [];
  await page.setViewportSize({ width: 390, height: 844 });
  for (const view of views()) {
    await go(`#/${view}`);
    await page.locator("main .skeleton").first().waitFor({ state: "detached" });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > 390) wide.push(`${view}: ${width}`);
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  must(wide.length === 0, wide.join(", "));
});

await step("signing out forgets the token", async () => {
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("The town's token").waitFor();
  const kept = await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }));
  must(!kept.includes(token), kept);
});

await step("the browser had no complaint", async () =>
  must(complaints.length === 0, complaints.slice(0, 10).join("\n")),
);

if (process.env.SHOTS) await pictures(process.env.SHOTS);
await browser.close();
process.exit(failed ? 1 : 0);

/** Takes pictures of each view, dark, light and on a phone. */
async function pictures(dir) {
  mkdirSync(dir, { recursive: true });
  const sizes = { dark: [1440, 900], light: [1440, 900], phone: [390, 844] };
  await page.getByLabel("The town's token").fill(token);
  await page.keyboard.press("Enter");
  for (const [name, [width, height]] of Object.entries(sizes)) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: name === "light" ? "light" : "dark" });
    for (const view of views()) {
      await go(`#/${view}`);
      await page.waitForTimeout(2000); // for a picture only
      await page.screenshot({ path: `${dir}/${view.replaceAll("/", "-")}-${name}.png` });
    }
  }
}
