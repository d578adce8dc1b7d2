// Reads bodies by the schemas of the contract: every wrong value is named, unknown
// fields are named and left out, null counts as absent.
import { byteLength, idRule, isID, maxBodyBytes, type Schemas } from "./contract";
import { badBody, badParam, type Issue, invalid, tooLarge } from "./errors";
import schemas from "./schemas.json";

type Name = keyof typeof schemas & keyof Schemas;

interface Schema {
  type?: string;
  format?: string;
  enum?: string[];
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  required?: string[];
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema;
}

const table: Record<string, Schema> = schemas;

/** How many wrong or unknown fields an answer names. */
const maxNamed = 100;

/** From so many on, maxLength is of bytes: a text, not a line. */
const textBytes = 65536;

/** Fields that are one line. */
const lines = new Set(
  "branch cause cli commit defaultBranch dedupeKey files from gitUrl hold labels model name options paused prUrl provider pullRequest source sparse startPoint status subject target title version".split(
    " ",
  ),
);

/** Fields that git is given as names. */
const refs = new Set(["branch", "commit", "startPoint", "target"]);

export async function readBody(request: Request): Promise<Uint8Array> {
  const coding = request.headers.get("Content-Encoding");
  if (coding && coding !== "identity") {
    throw badParam("Content-Encoding", `"${coding.slice(0, 40)}" is not taken; send the body as it is`);
  }
  return readAtMost(request.body, maxBodyBytes);
}

export async function readAtMost(body: ReadableStream<Uint8Array> | null, most: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.length;
    if (size > most) {
      throw tooLarge(`the body is larger than ${most} bytes`);
    }
    chunks.push(chunk);
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** Reads a body as the schema of that name, and names the fields that it does not know. */
export function decode<N extends Name>(name: N, data: Uint8Array): { value: Schemas[N]; ignored: string[] } {
  const decoder = new Decoder();
  const schema = table[name] ?? {};
  const value = decoder.value(parseJSON(data), schema, "");
  decoder.refuse();
  decoder.check(value, schema, "", "");
  decoder.refuse();
  if (!wasChecked<Schemas[N]>(value)) {
    throw badBody("body", "must be an object");
  }
  return { value, ignored: decoder.ignored.sort((a, b) => (a < b ? -1 : 1)).slice(0, maxNamed) };
}

/** The decoder has compared every field with the schema that the type is made from. */
function wasChecked<T>(value: unknown): value is T {
  return typeof value === "object" && value !== null;
}

function parseJSON(data: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw badBody("body", "is not UTF-8");
  }
  if (text.trim() === "") {
    throw badBody("body", "is empty; it must be a JSON object");
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badBody("body", `is not JSON: ${error instanceof Error ? error.message : ""}`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const join = (path: string, name: string) => (path === "" ? name : `${path}.${name}`);

class Decoder {
  readonly issues: Issue[] = [];
  readonly ignored: string[] = [];

  refuse(): void {
    if (this.issues.length > 0) {
      throw invalid(this.issues.slice(0, maxNamed));
    }
  }

  private wrong(path: string, message: string): undefined {
    this.issues.push({ path: path || "body", message });
  }

  /** Compares types, and returns what the schema knows of value. */
  value(value: unknown, schema: Schema, path: string): unknown {
    switch (schema.type) {
      case "object":
        if (!isObject(value)) {
          return this.wrong(path, `must be an object, not ${kindOf(value)}`);
        }
        return schema.properties || schema.additionalProperties ? this.object(value, schema, path) : value;
      case "array":
        if (!Array.isArray(value)) {
          return this.wrong(path, `must be an array, not ${kindOf(value)}`);
        }
        return value.map((item: unknown, i) => this.member(item, schema.items ?? {}, `${path}[${i}]`));
      case "string":
        return this.string(value, schema, path);
      case "integer":
        return Number.isSafeInteger(value) ? value : this.wrong(path, `must be a whole number, not ${kindOf(value)}`);
      case "number":
        return Number.isFinite(value) ? value : this.wrong(path, `must be a number, not ${kindOf(value)}`);
      case "boolean":
        return typeof value === "boolean" ? value : this.wrong(path, `must be true or false, not ${kindOf(value)}`);
      default:
        return value;
    }
  }

  private member(value: unknown, schema: Schema, path: string): unknown {
    return value === null && schema.type ? this.wrong(path, `must be a ${schema.type}, not null`) : this.value(value, schema, path);
  }

  private object(value: Record<string, unknown>, schema: Schema, path: string): Record<string, unknown> {
    const kept: Record<string, unknown> = {};
    for (const [name, member] of Object.entries(value)) {
      const property = schema.properties && Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
      if (property && member !== null) {
        kept[name] = this.value(member, property, join(path, name));
      } else if (!property && schema.additionalProperties) {
        Object.defineProperty(kept, name, { value: this.member(member, schema.additionalProperties, join(path, name)), enumerable: true });
      } else if (!property) {
        this.ignored.push(join(path, name));
      }
    }
    return kept;
  }

  private string(value: unknown, schema: Schema, path: string): unknown {
    if (typeof value !== "string") {
      return this.wrong(
        path,
        `must be ${schema.format === "date-time" ? "a time as 2026-01-02T15:04:05Z" : "a string"}, not ${kindOf(value)}`,
      );
    }
    if (!value.isWellFormed()) {
      return this.wrong(path, "holds half of a surrogate pair");
    }
    if (
      schema.format === "date-time" &&
      !(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(value) && Date.parse(value) >= 0)
    ) {
      return this.wrong(path, "must be a time as 2026-01-02T15:04:05Z");
    }
    return value;
  }

  /** Compares what has the right types with the bounds. name is that of the field, of lists too. */
  check(value: unknown, schema: Schema, path: string, name: string): void {
    if (typeof value === "string") {
      this.checkString(value, schema, path, name);
    } else if (typeof value === "number") {
      const { minimum = -Infinity, maximum = Infinity } = schema;
      if (value < minimum || value > maximum) {
        this.wrong(path, Number.isFinite(maximum) ? `must be ${minimum} to ${maximum}` : `must be ${minimum} or more`);
      }
    } else if (Array.isArray(value)) {
      const { minItems = 0, maxItems = Infinity } = schema;
      if (value.length < minItems || value.length > maxItems) {
        this.wrong(path, `are ${value.length}, must be ${minItems} to ${maxItems}`);
      } else if (schema.items) {
        for (const [i, item] of value.entries()) {
          this.check(item, schema.items, `${path}[${i}]`, name);
        }
      }
    } else if (isObject(value)) {
      for (const required of schema.required ?? []) {
        if (value[required] === undefined) {
          this.wrong(join(path, required), "is required");
        }
      }
      for (const [key, member] of Object.entries(value)) {
        this.check(member, schema.properties?.[key] ?? schema.additionalProperties ?? {}, join(path, key), key);
      }
    }
  }

  private checkString(value: string, schema: Schema, path: string, name: string): void {
    const { maxLength = Infinity } = schema;
    const length = maxLength >= textBytes ? byteLength(value) : [...value.slice(0, 2 * Math.min(maxLength, textBytes) + 2)].length;
    if (schema.enum && !schema.enum.includes(value)) {
      this.wrong(path, `must be one of ${schema.enum.map((word) => `"${word}"`).join(", ")}`);
    } else if (schema.minLength && value.trim() === "") {
      this.wrong(path, "is required");
    } else if (schema.pattern && !isID(value)) {
      this.wrong(path, value === "" ? "is required" : idRule);
    } else if (length > maxLength) {
      this.wrong(path, `is too long, the most is ${maxLength} ${maxLength >= textBytes ? "bytes" : "characters"}`);
    } else if (lines.has(name) && hasControl(value)) {
      this.wrong(path, "must not contain control characters");
    } else if (maxLength < 1 << 20 && value.includes("\0")) {
      this.wrong(path, "must not contain a NUL character");
    } else if (refs.has(name) && (value.startsWith("-") || /[ ~^:?*[\\]|\.\./.test(value))) {
      this.wrong(path, "is no name that git takes");
    }
  }
}

function hasControl(s: string): boolean {
  for (let i = 0; i < s.length; i++) {
    const code = s.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) {
      return true;
    }
  }
  return false;
}

function kindOf(value: unknown): string {
  if (value === null) {
    return "null";
  }
  if (Array.isArray(value)) {
    return "an array";
  }
  switch (typeof value) {
    case "object":
      return "an object";
    case "number":
      return String(value);
    default:
      return `a ${typeof value}`;
  }
}
