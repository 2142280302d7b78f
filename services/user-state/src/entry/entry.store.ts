/**
 * Entries in Postgres. A push of any size takes two statements: one reads what the push meets, the other writes if the
 * head row still has the version that was read. Every change of a user's state changes that row, so nothing else has
 * changed either. What this process wrote last need not be read again: then one statement is enough. A push that loses
 * the race, or would be refused, is settled again on fresh state, finally under the lock of the row. Concurrent pushes
 * of several users share both statements, and so their commit.
 */
import { gather, inTransaction } from "@continuo/database";
import { DatabaseError, type Pool } from "pg";
import { PassingFault, type EntryStore } from "./entry.ts";
import { buryExpired } from "./expiry.store.ts";
import type { Before, Push, Settlement } from "./push.ts";
import { writeSettlements, type Moved, type Settled } from "./settlement.store.ts";
import { createStandingMemory } from "./standing-memory.store.ts";
import { hasExpired, lookAtHead, readStandings, type Connection, type Standing } from "./standing.store.ts";

/**
 * Creates or locks the head row. No other push of this user passes until the commit, so revisions become visible in
 * order.
 */
const LOCK_HEAD = `
  INSERT INTO user_state.user_heads AS head (user_id, epoch, max_ms)
  VALUES ($1, $2, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)
  ON CONFLICT (user_id) DO UPDATE SET max_ms = greatest(head.max_ms, excluded.max_ms)`;

/** SQLSTATE: serialization failure, deadlock, lock not available in time, statement timeout. */
const PASSING = new Set(["40001", "40P01", "55P03", "57014"]);

type Request = Parameters<EntryStore["settle"]>[0];
type Decide = Parameters<EntryStore["settle"]>[1];

/** Runs work that takes a connection once one is free. */
type InTurn = <Result>(work: () => Promise<Result>) => Promise<Result>;

/** Entries in the `user_state` schema, through `pool`. Throws what `inTurn` throws; then nothing was settled. */
export function createEntryStore(
  pool: Pool,
  inTurn: InTurn = (work) => work(),
  memory = createStandingMemory(() => performance.now()),
): EntryStore {
  const read = gather((asked: readonly { userId: string; deviceId: string; push: Push }[]) =>
    inTurn(() => readStandings(pool, asked)),
  );
  const write = gather(
    (settled: readonly Settled[]) => writeTogether((some) => inTurn(() => writeSettlements(pool, some)), settled),
    { inHalves: true },
  );

  /**
   * Returns undefined when that state is no longer current or would refuse the push, as another process may have
   * written since.
   */
  async function settleUpon(
    standing: Standing | undefined,
    request: Request,
    decide: Decide,
  ): Promise<Settlement | undefined> {
    if (standing === undefined || hasExpired(standing)) return undefined;
    let settlement: Settlement;
    try {
      settlement = decide(standing.before);
    } catch {
      return undefined;
    }
    if (settlement.stop === "GAP") return undefined;
    if (!isNews(settlement, standing.before)) return settlement;
    const moved = await write({ ...request, met: standing, settlement });
    if (moved === undefined) return undefined;
    memory.keep(request, standing, settlement, moved);
    return settlement;
  }

  return {
    async settle(request, decide) {
      try {
        const known = memory.recall(request);
        return (
          (known && (await settleUpon(known, request, decide))) ??
          (await settleUpon(await read(request), request, decide)) ??
          (await inTurn(() => settleLocked(pool, request, decide)))
        );
      } catch (cause) {
        throw isPassing(cause) ? new PassingFault("the push was undone", { cause }) : cause;
      }
    },
    look: (request) => inTurn(() => lookAtHead(pool, request)),
  };
}

function isPassing(cause: unknown): boolean {
  return cause instanceof DatabaseError && cause.code !== undefined && PASSING.has(cause.code);
}

type Write = (settled: readonly Settled[]) => Promise<(Moved | undefined)[]>;

/**
 * Writes only the first push of each user: it moves the head, and the user's other pushes were settled on the head
 * before that.
 */
async function writeTogether(write: Write, settled: readonly Settled[]): Promise<(Moved | undefined | Error)[]> {
  const firsts = [...new Map(settled.toReversed().map((each) => [each.userId, each])).values()];
  const written = await writeEach(write, firsts);
  return settled.map((each) => written[firsts.indexOf(each)]);
}

/** A fault rolls all of them back without saying which one caused it, so each is then written, and fails, alone. */
async function writeEach(write: Write, settled: readonly Settled[]): Promise<(Moved | undefined | Error)[]> {
  try {
    return await write(settled);
  } catch (cause) {
    if (settled.length === 1 || !(cause instanceof DatabaseError)) throw cause;
    return Promise.all(
      settled.map((each) =>
        write([each]).then(
          ([moved]) => moved,
          (fault: Error) => fault,
        ),
      ),
    );
  }
}

async function settleLocked(pool: Pool, request: Request, decide: Decide): Promise<Settlement> {
  return inTransaction(pool, async (connection) => {
    const { userId, newEpoch } = request;
    await connection.query({ name: "entry_lock_head", text: LOCK_HEAD, values: [userId, newEpoch()] });
    let standing = await readOne(connection, request);
    // Expired units must not be met, nor count towards a quota.
    while (hasExpired(standing)) {
      await buryExpired(connection, request.userId);
      standing = await readOne(connection, request);
    }
    const settlement = decide(standing.before);
    if (!isNews(settlement, standing.before)) return settlement;
    const [moved] = await writeSettlements(connection, [{ ...request, met: standing, settlement }]);
    if (moved === undefined) throw new Error("a locked row was changed");
    return settlement;
  });
}

async function readOne(connection: Connection, request: Request): Promise<Standing> {
  const [standing] = await readStandings(connection, [request]);
  if (standing === undefined) throw new Error("a locked row is not there");
  return standing;
}

function isNews({ lastSeq }: Settlement, { client }: Before): boolean {
  return lastSeq !== (client?.lastSeq ?? 0);
}
