/** The statements alone over plain `pg`, like pgbench: no HTTP, no parsing, one session or replica per worker. */
import { Pool } from "pg";
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { nextChanges, Replica } from "../replica.ts";
import { pull, push, rotate } from "../yardsticks/statements.ts";

const Options = z.discriminatedUnion("statement", [
  z.object({
    statement: z.literal("rotate"),
    databaseUrl: z.string(),
    grants: z.array(z.object({ id: z.string(), generation: z.number() })),
  }),
  z.object({
    statement: z.literal("push"),
    databaseUrl: z.string(),
    replicas: z.array(Replica),
    opsPerPush: z.number(),
  }),
  z.object({
    statement: z.literal("pull"),
    databaseUrl: z.string(),
    reads: z.array(z.object({ userId: z.string(), afterRev: z.number(), entries: z.number() })),
  }),
]);
type Options = z.infer<typeof Options>;

/** As many as one of our services has. */
const CONNECTIONS = 10;

export async function openDriver(options: unknown): Promise<Driver> {
  const parsed = Options.parse(options);
  const pool = new Pool({ connectionString: parsed.databaseUrl, max: CONNECTIONS, application_name: "bench-raw" });
  // A lost connection makes the next statement fail, which reports it.
  pool.on("error", () => undefined);
  return { operate: operationOf(parsed, pool), [Symbol.asyncDispose]: () => pool.end() };
}

function operationOf(options: Options, pool: Pool): (worker: number) => Promise<void> {
  switch (options.statement) {
    case "rotate":
      return async (worker) => {
        const grant = own(options.grants, worker);
        const { rowCount } = await pool.query(rotate(grant.id, grant.generation));
        if (rowCount !== 1) throw new Error("nothing was rotated");
        grant.generation += 1;
      };
    case "push":
      return async (worker) => {
        const replica = own(options.replicas, worker);
        const changes = nextChanges(replica.lastSeq, options.opsPerPush, Date.now());
        const { rows } = await pool.query<{ written: number }>(push(replica.userId, replica.clientId, changes));
        if (rows[0]?.written !== changes.length) throw new Error("not every change was written");
        replica.lastSeq += changes.length;
      };
    case "pull":
      return async (worker) => {
        const read = own(options.reads, worker);
        const { rowCount } = await pool.query(pull(read.userId, read.afterRev));
        if (rowCount !== read.entries) throw new Error(`read ${rowCount} entries of ${read.entries}`);
      };
  }
}

function own<Item>(items: readonly Item[], worker: number): Item {
  const item = items[worker];
  if (item === undefined) throw new RangeError("each worker needs rows of its own");
  return item;
}
