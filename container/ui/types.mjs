// Writes src/schema.ts: the types of the contract's schemas, from api/openapi.yaml. With --check tells whether it is that.
import { readFileSync, writeFileSync } from "node:fs";
import { parseYaml } from "@redocly/openapi-core";
import openapiTS, { astToString } from "openapi-typescript";

const document = parseYaml(readFileSync(new URL("../../api/openapi.yaml", import.meta.url), "utf8"));
document.paths = {}; // the calls are few and written by hand in api.ts
const text = `// Made by npm run types from api/openapi.yaml.\n\n${astToString(await openapiTS(document, { defaultNonNullable: false }))}`;
const held = new URL("src/schema.ts", import.meta.url);
if (!process.argv.includes("--check")) writeFileSync(held, text);
else if (readFileSync(held, "utf8") !== text) {
  console.error("src/schema.ts is not what api/openapi.yaml says; run npm run types");
  process.exit(1);
}
