// Writes src/schema.ts: the types of the contract's schemas, from api/openapi.yaml.
import { readFileSync, writeFileSync } from "node:fs";
import { parseYaml } from "@redocly/openapi-core";
import openapiTS, { astToString } from "openapi-typescript";

const document = parseYaml(readFileSync(new URL("../../api/openapi.yaml", import.meta.url), "utf8"));
document.paths = {}; // the calls are few and written by hand in api.ts
const text = `// Made by npm run types from api/openapi.yaml.\n\n${astToString(await openapiTS(document, { defaultNonNullable: false }))}`;
writeFileSync(process.argv[2] ?? new URL("src/schema.ts", import.meta.url), text);
