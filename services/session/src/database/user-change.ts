/**
 * How a user's devices and sessions change: whoever changes them first advances the user's head row, so that one
 * user's changes happen one after the other and the order of revisions is the order of commits.
 * A statement that chooses rows by what it sees must not have waited for that row: it would choose from before the
 * change it waited for. So it advances the head only if the head still is what it saw.
 */
import { inTransaction } from "@continuo/database";
import { AppError } from "@continuo/errors";
import type { Pool, QueryConfig } from "pg";

/** What a statement for `changeUser` returns in `moved`: the head went on meanwhile, nothing was changed. */
export interface UserChangeRow {
  readonly moved: boolean;
}

/** CTE `seen`: the user's head as this statement sees it. `user` is a parameter such as `$1`. */
export const seenHead = (user: string): string =>
  `seen AS MATERIALIZED (SELECT user_id, device_rev, sign_in_epoch FROM session.user_heads WHERE user_id = ${user}::uuid)`;

/**
 * CTEs `seen`, `locked` and `head`, for a statement about the users of `command (user_id, epoch, …)`: advances the head of
 * each whom `concerned` (a query of user ids) names, if nobody holds it and it still is as `seen`; `epoch` is what is added to that.
 */
export const advancedHeads = (concerned: string): string =>
  `seen AS MATERIALIZED (
    SELECT h.user_id, h.device_rev, command.epoch FROM session.user_heads AS h JOIN command ON command.user_id = h.user_id),
  locked AS MATERIALIZED (
    SELECT h.user_id FROM session.user_heads AS h JOIN seen ON seen.user_id = h.user_id
     WHERE h.device_rev = seen.device_rev AND h.user_id IN (${concerned})
     ORDER BY h.user_id FOR UPDATE OF h SKIP LOCKED),
  head AS (
    UPDATE session.user_heads AS h SET device_rev = h.device_rev + 1, epoch = h.epoch + seen.epoch
      FROM locked JOIN seen ON seen.user_id = locked.user_id WHERE h.user_id = locked.user_id
    RETURNING h.user_id, h.device_rev)`;

/** CTE `head`: advances the user's head, if it still is as `seen` and `condition` holds; `epoch` is what is added to that. */
export const advancedHead = (condition: string, epoch = "0"): string =>
  `head AS (
    UPDATE session.user_heads AS h SET device_rev = h.device_rev + 1, epoch = h.epoch + ${epoch}
      FROM seen
     WHERE h.user_id = seen.user_id AND h.device_rev = seen.device_rev AND ${condition}
    RETURNING h.user_id, h.device_rev, h.epoch)`;

/**
 * CTEs `locked` and `head`, for a statement about many users: locks the heads of those whom the query `users` names, by
 * user id, as everybody does, and advances them. `ifHeld`: whether it waits for those that somebody holds, or leaves them.
 */
export const lockedHeads = (users: string, ifHeld: "WAIT" | "LEAVE" = "WAIT"): string =>
  `locked AS MATERIALIZED (
    SELECT h.user_id FROM session.user_heads AS h
     WHERE h.user_id IN (${users}) ORDER BY h.user_id FOR UPDATE${ifHeld === "LEAVE" ? " SKIP LOCKED" : ""}),
  head AS (
    UPDATE session.user_heads AS h SET device_rev = h.device_rev + 1
      FROM locked WHERE h.user_id = locked.user_id
    RETURNING h.user_id, h.device_rev)`;

/**
 * Runs a statement of one row that uses `seen` and `head`. Nearly always that is all; when somebody else changed the
 * same user at the same moment, it runs again behind the lock of the head, where it cannot lose.
 */
export async function changeUser<Row extends UserChangeRow>(
  pool: Pool,
  userId: string,
  statement: QueryConfig<unknown[]>,
): Promise<Row> {
  const [row] = rowsOf(1, await pool.query<Row>(statement));
  return row.moved ? changeBehindLock(pool, userId, statement) : row;
}

/**
 * As `changeUser` for many at once, with a statement that returns a row for each command in their order. A user's second
 * command goes in a statement after the first: it is to see what that did.
 */
export async function changeUsers<Command extends { readonly userId: string }, Row extends UserChangeRow>(
  pool: Pool,
  commands: readonly Command[],
  statement: (commands: readonly Command[]) => QueryConfig<unknown[]>,
): Promise<Row[]> {
  const done = new Map<Command, Row>();
  const ofUsers = [...Map.groupBy(commands, ({ userId }) => userId).values()];
  for (let turn = 0; done.size < commands.length; turn += 1) {
    const now = ofUsers.flatMap((ofUser) => ofUser.slice(turn, turn + 1));
    const rows = rowsOf(now.length, await pool.query<Row>(statement(now)));
    for (const [index, command] of now.entries()) {
      const row = rows[index];
      done.set(
        command,
        row?.moved === false ? row : await changeBehindLock(pool, command.userId, statement([command])),
      );
    }
  }
  return commands.flatMap((command) => done.get(command) ?? []);
}

async function changeBehindLock<Row extends UserChangeRow>(
  pool: Pool,
  userId: string,
  statement: QueryConfig<unknown[]>,
): Promise<Row> {
  return inTransaction(pool, async (client) => {
    await client.query({
      name: "lock-user-head",
      text: "SELECT FROM session.user_heads WHERE user_id = $1 FOR UPDATE",
      values: [userId],
    });
    const [row] = rowsOf(1, await client.query<Row>(statement));
    if (row.moved) throw new AppError("CONFLICT", "USER_CHANGED", "Somebody changed the same devices: try again.");
    return row;
  });
}

function rowsOf<Row>(count: number, { rows }: { rows: Row[] }): [Row, ...Row[]] {
  const [first, ...others] = rows;
  if (first === undefined || rows.length !== count)
    throw new Error(`a statement of ${count} rows returned ${rows.length}`);
  return [first, ...others];
}
