// Takes the pictures of the docs at the town of TOWND_URL, into the directory PICTURES. Prints a line of JSON for each.
import { writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

const { TOWND_URL, TOWND_TOKEN, CHROMIUM, PICTURES, AGENT, FONTCONFIG_FILE } = process.env;

/**
 * For each picture the address of what it shows, and a text that is there when all is; of the town that is its tiles. Scale is
 * how many pixels it has for one of the page.
 */
const desk = { width: 1440, height: 912, scale: 1.5 };
const pictures = [
  { name: "town-light", view: "town", theme: "light", ...desk },
  { name: "town-dark", view: "town", theme: "dark", ...desk },
  { name: "agent", view: `agents/${AGENT}`, seen: "grep -rn coupon src", theme: "dark", ...desk },
  { name: "beads", view: "beads", seen: "Explain refunds in the handbook", theme: "light", ...desk, height: 840 },
  { name: "merges", view: "merges", seen: "merging", theme: "light", ...desk, height: 600 },
  { name: "phone", view: "town", theme: "dark", width: 390, height: 844, scale: 2 },
];

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"], env: { FONTCONFIG_FILE } });
const context = await browser.newContext();
context.setDefaultTimeout(120_000);
const page = await context.newPage();
const devtools = await context.newCDPSession(page);
const light = await browser.newPage(); // looks at what was taken
await page.goto(`${TOWND_URL}/`);
await page.getByLabel("The town's token").fill(TOWND_TOKEN);
await page.keyboard.press("Enter");
await page.getByRole("heading", { name: "Agents" }).waitFor();
for (const picture of pictures) {
  const { name: Name } = picture;
  try {
    await take(picture);
    console.log(JSON.stringify({ Name }));
  } catch (err) {
    console.log(JSON.stringify({ Name, Error: err.stack }));
  }
}
await browser.close();

async function take({ name, view, seen, theme, width, height, scale }) {
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: theme });
  await page.evaluate((hash) => {
    location.hash = hash;
  }, `#/${view}`);
  if (seen) await page.getByText(seen, { exact: true }).first().waitFor();
  else await page.waitForFunction(tilesAreDrawn);
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const { data } = await devtools.send("Page.captureScreenshot", {
    format: "webp",
    quality: 75,
    clip: { x: 0, y: 0, width, height, scale },
  });
  const got = await light.evaluate(look, data);
  if (got.width !== width * scale || got.height !== height * scale || got.colours < 100)
    throw new Error(`it is ${got.width}x${got.height} with ${got.colours} colours`);
  writeFileSync(`${PICTURES}/${name}.webp`, Buffer.from(data, "base64"));
}

/** In the page: whether the small screens that can be seen have something on them. */
function tilesAreDrawn() {
  const tiles = [...document.querySelectorAll(".tile canvas")];
  const seen = tiles.filter((canvas) => canvas.getBoundingClientRect().top < innerHeight);
  return (
    tiles.length > 0 &&
    seen.every((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value, i) => i % 4 === 1 && value > 120);
    })
  );
}

/** In a page: the size of a picture, and how many colours it has. */
async function look(data) {
  const image = new Image();
  image.src = `data:image/webp;base64,${data}`;
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return { width: canvas.width, height: canvas.height, colours: new Set(pixels).size };
}
