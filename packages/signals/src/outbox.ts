/**
 * The outbox: an event is written in the business transaction, and handed to its queue after the commit.
 * A row is enqueued under its own id, so handing it over again (the process died before it marked the row) is the same
 * job. The queue knows an id while the job exists and for an hour after it completed; after that, or when the second
 * hand-over merges different rows, the handler must be idempotent. Order is not guaranteed. A row with `due_at` waits
 * here until then, so that a much later retry burdens no queue, and survives the loss of one.
 */
import { createHash, randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "@continuo/process";
import type { Pool } from "pg";
import { ZodError, z } from "zod";
import type { JobDefinition, Jobs } from "./jobs.ts";
import type { Pokes } from "./pokes.ts";

/** A row of `<schema>.outbox` that is yet to be written. */
export interface OutboxRow {
  readonly id: string;
  readonly topic: string;
  readonly payload: unknown;
}

/** The row for one job; write it in the business transaction. Throws ZodError for a payload that does not parse. */
export function outboxRow<Payload>(
  definition: JobDefinition<Payload>,
  payload: Payload,
  id: string = randomUUID(),
): OutboxRow {
  return { id, topic: definition.name, payload: definition.schema.parse(payload) };
}

/**
 * The topic to poke (with any number) after a commit that wrote to the outbox of `schema`. Without a poke, the sweep
 * finds the row.
 */
export function outboxTopic(schema: string): string {
  return `outbox:${schema}`;
}

export interface OutboxRelayOptions {
  /** The owner's pool, for reading and marking its own outbox. */
  readonly pool: Pool;
  /** The owner's Postgres schema. */
  readonly schema: string;
  readonly jobs: Jobs;
  /** The jobs that this relay hands over; rows of other topics wait for a relay that knows them. */
  readonly definitions: readonly JobDefinition<unknown>[];
  readonly pokes: Pokes;
  readonly logger: Logger;
  /** How often the relay looks without a poke. Milliseconds. */
  readonly sweepMs?: number;
  /** How long a row stays after its hand-over. Milliseconds. */
  readonly retentionMs?: number;
}

const BATCH = 100;
/**
 * Pause between waking and reading, so that a burst goes together. It grows with the rows of the previous round,
 * because few large rounds cost less than many small ones. Milliseconds.
 */
const LINGER_MS = { least: 25, perRow: 50, most: 1_000 };
const PURGE_EVERY_MS = 10 * 60_000;
const PURGE_BATCH = 2_000;
const Row = z.object({ id: z.string(), topic: z.string(), payload: z.unknown() });

/** A row that this relay hands over. */
interface Waiting {
  readonly id: string;
  readonly definition: JobDefinition<unknown>;
  readonly payload: unknown;
}

/**
 * The same rows give the same job id, a different set another: a row must not count as handed over because a merged job
 * without it was.
 */
function jobIdOf(ids: readonly string[]): string {
  const [first, ...others] = ids.toSorted();
  if (first !== undefined && others.length === 0) return first;
  return `merged-${createHash("sha256").update(ids.toSorted().join()).digest("hex")}`;
}

const ignore = (): void => undefined;

/** Hands rows over until disposed; any number of relays may run on one outbox. */
export async function startOutboxRelay(options: OutboxRelayOptions): Promise<AsyncDisposable> {
  const { pool, schema, jobs, pokes, sweepMs = 5_000, retentionMs = 24 * 3_600_000 } = options;
  if (!/^[a-z_][a-z0-9_]*$/.test(schema)) throw new RangeError(`not a schema name: ${schema}`);
  const logger = options.logger.child({ component: "outbox", schema });
  const definitions = new Map(
    options.definitions.flatMap((definition) =>
      [definition.name, ...(definition.formerly ?? [])].map((topic) => [topic, definition] as const),
    ),
  );
  const unreadable = new Set<string>();
  const stopping = new AbortController();
  let awake = Promise.withResolvers<void>();
  let purgedAt = 0;

  function parse(row: Waiting): unknown {
    try {
      return row.definition.schema.parse(row.payload);
    } catch (cause) {
      if (!(cause instanceof ZodError)) throw cause;
      // It would fail in every round and hold up the others: leave it where it can be seen, until the next start.
      unreadable.add(row.id);
      logger.error({ err: cause, id: row.id, topic: row.definition.name }, "an outbox row does not parse and stays");
      return undefined;
    }
  }

  /** Resolves to the ids of the rows that have been enqueued. */
  async function handOver(rows: readonly Waiting[]): Promise<PromiseSettledResult<string[]>[]> {
    const readable = rows
      .map((row) => ({ ...row, payload: parse(row) }))
      .filter(({ payload }) => payload !== undefined);
    const ofTopics = Map.groupBy(readable, ({ definition }) => definition);
    const jobsOf = [...ofTopics].flatMap(([definition, ofTopic]) =>
      definition.merge ? [ofTopic] : ofTopic.map((row) => [row]),
    );
    return Promise.allSettled(
      jobsOf.map(async (together) => {
        const [first, ...others] = together;
        const ids = together.map(({ id }) => id);
        if (first === undefined) return ids;
        const { definition, payload } = first;
        const merged = others.length > 0 ? definition.merge?.(together.map((row) => row.payload)) : payload;
        await jobs.enqueue(definition, merged, { jobId: jobIdOf(ids) });
        return ids;
      }),
    );
  }

  /** Returns how many rows it found. */
  async function relayBatch(): Promise<number> {
    const client = await pool.connect();
    // A pool handles errors of idle clients only: one that dies between two queries would end the process.
    client.on("error", ignore);
    let fault: unknown;
    try {
      await client.query("BEGIN");
      const { rows } = await client.query<Record<string, unknown>>({
        name: "outbox-waiting",
        text: `
          SELECT id, topic, payload FROM ${schema}.outbox
           WHERE enqueued_at IS NULL AND (due_at IS NULL OR due_at <= now())
             AND topic = ANY($1::text[]) AND id <> ALL($2::uuid[])
           ORDER BY created_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED`,
        values: [[...definitions.keys()], [...unreadable]],
      });
      const waiting = z
        .array(Row)
        .parse(rows)
        .flatMap((row): Waiting[] => {
          const definition = definitions.get(row.topic);
          return definition ? [{ id: row.id, definition, payload: row.payload }] : [];
        });
      const results = await handOver(waiting);
      const handed = results.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
      if (handed.length > 0)
        await client.query({
          name: "outbox-enqueued",
          text: `UPDATE ${schema}.outbox SET enqueued_at = now() WHERE id = ANY($1::uuid[])`,
          values: [handed],
        });
      await client.query("COMMIT");
      const failed = results.find((result) => result.status === "rejected");
      if (failed !== undefined) throw failed.reason;
      return rows.length;
    } catch (cause) {
      fault = cause;
      throw cause;
    } finally {
      // A connection in an unknown state is discarded, which rolls its transaction back.
      client.off("error", ignore);
      client.release(fault !== undefined);
    }
  }

  /** Deletes a batch of expired rows, if a purge is due. Returns whether there may be more. */
  async function purge(): Promise<boolean> {
    if (Date.now() - purgedAt < PURGE_EVERY_MS) return false;
    const { rowCount } = await pool.query(
      // An array, because in a nested-loop join Postgres would evaluate IN (...) again for each row, and delete without
      // a limit.
      `DELETE FROM ${schema}.outbox WHERE id = ANY (ARRAY(
         SELECT id FROM ${schema}.outbox WHERE enqueued_at < now() - $1 * interval '1 millisecond'
          LIMIT ${PURGE_BATCH} FOR UPDATE SKIP LOCKED))`,
      [retentionMs],
    );
    if (rowCount === PURGE_BATCH) return true;
    purgedAt = Date.now();
    return false;
  }

  async function relay(): Promise<void> {
    while (!stopping.signal.aborted) {
      awake = Promise.withResolvers();
      let rows = 0;
      try {
        for (let found = BATCH; found === BATCH && !stopping.signal.aborted; rows += found) found = await relayBatch();
        // Handing over takes precedence, between any two purge batches too.
        if (await purge()) continue;
      } catch (cause) {
        logger.warn({ err: cause }, "the outbox was not relayed: trying again");
        await pause(sweepMs / 5, undefined, { signal: stopping.signal }).catch(() => undefined);
        continue;
      }
      await sleep(Math.min(Math.max(LINGER_MS.least, rows * LINGER_MS.perRow), LINGER_MS.most));
    }
  }

  async function sleep(lingerMs: number): Promise<void> {
    const rest = new AbortController();
    const swept = pause(sweepMs, undefined, { signal: AbortSignal.any([rest.signal, stopping.signal]) }).catch(
      () => undefined,
    );
    await Promise.race([awake.promise, swept]);
    rest.abort();
    await pause(lingerMs, undefined, { signal: stopping.signal }).catch(() => undefined);
  }

  const wake = (): void => awake.resolve();
  const subscription = await pokes.subscribe(outboxTopic(schema), { onPoke: wake, onGap: wake });
  const relaying = relay();
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await subscription[Symbol.asyncDispose]();
      await relaying;
    },
  };
}
