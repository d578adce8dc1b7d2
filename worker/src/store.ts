// A town's SQLite: its schema, and what operations ask it with. Everything is
// synchronous, so that an operation is one transaction that nobody sees half of.

/** Someone may wait for a change of these. */
export type Topic = "work" | "events" | "questions";

/** What operations need to know of their town. Times are milliseconds. */
/** The bounds of beads that agents make (R16). */
interface BeadCaps {
  depth: number; // that agents make one after the other, each on the one before
  perBead: number; // that the agents of one bead make, in all its attempts
  open: number; // that agents made and that have not ended, in the town
}

export interface TownConfig {
  townId: string; // known before the first operation
  lease: number; // how long an agent has a bead without a heartbeat
  heartbeatEvery: number; // of the container
  maxAgents: number; // polecats at once in all rigs
  beads: BeadCaps;
}

export const defaults = { lease: 300_000, heartbeatEvery: 30_000 };

/** Characters of a page after which it ends. */
const pageSize = 4_000_000;

type Row = Record<string, SqlStorageValue>;

/** One operation on the store, at one time. */
export class Tx {
  readonly told = new Set<Topic>();

  constructor(
    readonly sql: SqlStorage,
    readonly town: TownConfig,
    readonly now: number,
  ) {}

  exec(query: string, ...bindings: SqlStorageValue[]): void {
    this.sql.exec(query, ...bindings).toArray(); // a statement runs to its end only when its rows are read
  }

  /** Runs a statement and returns how many rows it changed. */
  changed(query: string, ...bindings: SqlStorageValue[]): number {
    this.exec(query, ...bindings);
    return this.sql.exec<{ n: number }>("SELECT changes() AS n").one().n;
  }

  all<T extends Row>(query: string, ...bindings: SqlStorageValue[]): T[] {
    return this.sql.exec<T>(query, ...bindings).toArray();
  }

  /** The first rows of a query, at most limit and some megabytes, and whether there are more: an object has 128 MB of memory. */
  page<T extends Row>(limit: number, query: string, ...bindings: SqlStorageValue[]): { rows: T[]; more: boolean } {
    const rows: T[] = [];
    let size = 0;
    for (const row of this.sql.exec<T>(query, ...bindings)) {
      if (rows.length === limit || size > pageSize) {
        return { rows, more: true };
      }
      rows.push(row);
      size += Object.values(row).reduce((sum: number, value) => sum + (typeof value === "string" ? value.length : 0), 0);
    }
    return { rows, more: false };
  }

  first<T extends Row>(query: string, ...bindings: SqlStorageValue[]): T | undefined {
    return this.all<T>(query, ...bindings)[0];
  }

  /** The one number that a query asks for. */
  count(query: string, ...bindings: SqlStorageValue[]): number {
    return this.first<{ n: number }>(query, ...bindings)?.n ?? 0;
  }

  /** Wakes who waits, once the operation is over. */
  tell(topic: Topic): void {
    this.told.add(topic);
  }

  get leaseEnd(): number {
    return this.now + this.town.lease;
  }

  setting(name: string): string {
    return this.first<{ value: string }>("SELECT value FROM settings WHERE name = ?", name)?.value ?? "";
  }

  /** Keeps a small value; "" forgets it. */
  setSetting(name: string, value: string): void {
    if (value === "") {
      this.exec("DELETE FROM settings WHERE name = ?", name);
    } else {
      this.exec("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value);
    }
    this.tell("work");
  }
}

/** Conditions of a query with their values. The text of each is constant. */
export class Where {
  private readonly conditions: string[] = [];
  readonly values: SqlStorageValue[] = [];

  and(condition: string, ...values: SqlStorageValue[]): this {
    this.conditions.push(condition);
    this.values.push(...values);
    return this;
  }

  /** Adds a condition unless value is "". */
  equal(column: string, value: string): this {
    return value === "" ? this : this.and(`${column} = ?`, value);
  }

  toString(): string {
    return this.conditions.length === 0 ? "" : ` WHERE ${this.conditions.join(" AND ")}`;
  }
}
