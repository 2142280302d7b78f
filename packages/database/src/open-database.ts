/**
 * One process's access to its database: a Prisma client and hand-written SQL on the same pool.
 * It knows no schema: the caller brings the client generated from its own schema file.
 */
import { createGauge, type Logger } from "@continuo/process";
import { PrismaPg } from "@prisma/adapter-pg";
import { Pool } from "pg";

/** What we need of a generated client: it takes an adapter, and can disconnect. */
interface PrismaClientClass<Client> {
  new (options: { adapter: PrismaPg }): Client;
}

export interface DatabaseOptions<Client> {
  /** Connects as the process's own role. */
  readonly url: string;
  readonly PrismaClient: PrismaClientClass<Client>;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** Maximum number of connections. */
  readonly poolSize: number;
  readonly log: Logger;
  /** How long a statement waits for a lock before it fails. Milliseconds; default: until the statement times out. */
  readonly lockTimeoutMs?: number;
  /**
   * `ONCE` (the default): Postgres plans a named statement once per connection, for any values. `EACH_TIME` is for
   * statements with optional conditions, whose best plan depends on which are given.
   */
  readonly planning?: "ONCE" | "EACH_TIME";
}

export interface Database<Client> extends AsyncDisposable {
  readonly prisma: Client;
  /**
   * For statements that Prisma cannot express or that are hot; give those a `name` and Postgres plans them once per connection.
   */
  readonly pool: Pool;
}

/**
 * Planning the long statements costs more than running them, and they are written so that one plan suits all values. A
 * plan made while a table is small must not keep scanning the whole table after it has grown.
 */
const PLANNING = {
  ONCE: "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off",
  EACH_TIME: "-c plan_cache_mode=force_custom_plan",
};

const connections = createGauge(
  "continuo_database_connections",
  "Connections to Postgres, by pool and state: `used`, `idle`; `pending` are requests that wait for one.",
  ["pool", "state"],
);

/**
 * Opens the pool lazily (nothing connects yet). Lost connections are replaced when the server is back; closing waits
 * for those in use.
 */
export function openDatabase<Client extends { $disconnect(): Promise<void> }>(
  options: DatabaseOptions<Client>,
): Database<Client> {
  const { url, PrismaClient, applicationName, poolSize, log, lockTimeoutMs, planning = "ONCE" } = options;
  const pool = new Pool({
    connectionString: url,
    application_name: applicationName,
    max: poolSize,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    options: PLANNING[planning],
    // A hanging process must not hold its row locks against others.
    statement_timeout: 30_000,
    ...(lockTimeoutMs !== undefined && { lock_timeout: lockTimeoutMs }),
    idle_in_transaction_session_timeout: 30_000,
  });
  // Without both listeners, a lost connection (idle or in a transaction) would end the process.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => {
    client.on("error", (cause) => log.warn({ err: cause }, "a database connection was lost"));
  });
  const watching = connections.watch(() => [
    [{ pool: applicationName, state: "used" }, pool.totalCount - pool.idleCount],
    [{ pool: applicationName, state: "idle" }, pool.idleCount],
    [{ pool: applicationName, state: "pending" }, pool.waitingCount],
  ]);
  const prisma = new PrismaClient({ adapter: new PrismaPg(pool, { statementNameGenerator: createStatementNames() }) });
  return {
    prisma,
    pool,
    async [Symbol.asyncDispose]() {
      watching[Symbol.dispose]();
      await prisma.$disconnect();
      await pool.end();
    },
  };
}

/** Statements beyond this many stay unnamed, so that `IN` lists of every length do not fill the server's memory. */
const NAMED_STATEMENTS_LIMIT = 500;

/** Names each distinct statement, so that a connection parses and plans it once. */
export function createStatementNames(limit = NAMED_STATEMENTS_LIMIT): (query: { sql: string }) => string {
  const names = new Map<string, string>();
  return ({ sql }) => {
    const known = names.get(sql);
    if (known !== undefined || names.size >= limit) return known ?? "";
    const name = `prisma_${names.size}`;
    names.set(sql, name);
    return name;
  };
}
