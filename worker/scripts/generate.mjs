// Writes src/wire.ts, the types of the contract, and src/schemas.json, what request
// bodies may hold, from ../api/openapi.yaml. With --check it writes nothing and
// fails when they are not up to date.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import { parse } from "yaml";

const here = new URL("..", import.meta.url);
const source = new URL("../api/openapi.yaml", here);
const note = "made from api/openapi.yaml by npm run generate";

// Words of these lists may be newer than this program: they are kept as they are.
const open = new Set(["Role", "Status", "Reason"]);

const requests = [
  "AckRequest",
  "AgentEventBatch",
  "AgentHeartbeatRequest",
  "AnswerRequest",
  "AskRequest",
  "BeadPatch",
  "BeadRequest",
  "ChangesRequest",
  "CheckpointRequest",
  "CloseRequest",
  "Completion",
  "ConvoyBeadRequest",
  "ConvoyRequest",
  "DoneRequest",
  "EscalationAnswer",
  "EscalationRequest",
  "Heartbeat",
  "MailRequest",
  "MergeOutcome",
  "NoteRequest",
  "NudgeRequest",
  "ReasonRequest",
  "RigSettings",
  "SayRequest",
  "TownSettings",
];

const document = parse(await readFile(source, "utf8"));

function inline(schema) {
  const ref = schema.$ref?.replace("#/components/schemas/", "");
  if (ref) {
    const { enum: words, ...rest } = inline(document.components.schemas[ref]);
    return words && !open.has(ref) ? { ...rest, enum: words } : rest;
  }
  const kept = {};
  for (const key of [
    "type",
    "enum",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "required",
  ]) {
    if (schema[key] !== undefined) kept[key] = schema[key];
  }
  if (schema.items) kept.items = inline(schema.items);
  if (schema.additionalProperties) kept.additionalProperties = inline(schema.additionalProperties);
  if (schema.properties) {
    kept.properties = Object.fromEntries(Object.entries(schema.properties).map(([name, property]) => [name, inline(property)]));
  }
  return kept;
}

const schemas = Object.fromEntries(requests.map((name) => [name, inline({ $ref: `#/components/schemas/${name}` })]));
const types = astToString(await openapiTS(source, { alphabetize: true, defaultNonNullable: false, silent: true }));
const files = {
  "src/wire.ts": `// ${note}\n\n${types}`,
  "src/schemas.json": `${JSON.stringify(schemas)}\n`,
};
for (const [name, text] of Object.entries(files)) {
  const file = new URL(name, here);
  if (!process.argv.includes("--check")) {
    await writeFile(file, text);
  } else if ((await readFile(file, "utf8").catch(() => "")) !== text) {
    console.error(`worker/${name} is not up to date: npm run generate`);
    process.exitCode = 1;
  }
}
