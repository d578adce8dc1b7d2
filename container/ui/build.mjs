// Builds dist/ from src/: `node build.mjs`, or with --check tells whether dist/ is what src/ makes.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const dist = new URL("dist/", here);

const files = await bundle();
if (process.argv.includes("--check")) check(files);
else write(files);

/** Returns the files of dist/ by name: scripts and styles are named by their hash, so that they may be kept for ever. */
async function bundle() {
  const result = await build({
    absWorkingDir: here.pathname,
    entryPoints: { app: "src/main.tsx" },
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    outdir: "dist",
    legalComments: "none",
    metafile: true,
    write: false,
  });
  const out = new Map(result.outputFiles.map((f) => [f.path.split("/").pop(), Buffer.from(f.contents)]));
  const find = (suffix) => [...out.keys()].find((name) => name.startsWith("app-") && name.endsWith(suffix));
  const page = readFileSync(new URL("src/index.html", here), "utf8");
  out.set("index.html", Buffer.from(page.replace("app.js", find(".js")).replace("app.css", find(".css"))));
  const licences = ["@xterm/xterm", "@xterm/addon-fit", "preact"].map((name) => {
    const text = readFileSync(new URL(`node_modules/${name}/LICENSE`, here), "utf8").trim();
    return `${name}\n\n${text}\n`;
  });
  out.set("LICENSES.txt", Buffer.from(licences.join("\n----\n\n")));
  return out;
}

function write(files) {
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  for (const [name, data] of files) writeFileSync(new URL(name, dist), data);
  for (const [name, data] of files) console.log(`${String(data.length).padStart(8)} ${name}`);
}

function check(files) {
  const sum = (data) => createHash("sha256").update(data).digest("hex");
  const held = new Map(readdirSync(dist).map((name) => [name, readFileSync(new URL(name, dist))]));
  const names = new Set([...held.keys(), ...files.keys()]);
  const differ = [...names].filter((n) => !held.has(n) || !files.has(n) || sum(held.get(n)) !== sum(files.get(n)));
  if (differ.length === 0) return;
  console.error(`dist is not what src makes; run npm run build. These differ: ${differ.join(", ")}`);
  process.exit(1);
}
