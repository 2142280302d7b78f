/**
 * How a user's devices and sessions change: every change first advances the user's head row, so that one user's changes
 * are serialised and revision order is commit order.
 * A statement that selects rows from its snapshot must not have waited for the head: the snapshot would predate the
 * change it waited for. So it advances the head only if the head is still as its snapshot saw it.
 */
import { inTransaction } from "@continuo/database";
import { AppError } from "@continuo/errors";
import type { Pool, QueryConfig } from "pg";

/** `moved` means that the head had advanced since the statement's snapshot, so nothing was changed. */
export interface UserChangeRow {
  readonly moved: boolean;
}

/** CTE `seen`: the user's head as this statement sees it. `user` is a parameter such as `$1`. */
export const seenHead = (user: string): string =>
  `seen AS MATERIALIZED (SELECT user_id, device_rev, sign_in_epoch FROM session.user_heads WHERE user_id = ${user}::uuid)`;

/**
 * CTEs `seen`, `locked` and `head`, for a statement about the users of `command (user_id, epoch, …)`: advances the head of
 * each user in `concerned` (a query of user ids) whose head is not locked and still as `seen`, and adds `command.epoch`
 * to the user's epoch.
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

/**
 * CTE `head`: advances the user's head if it is still as `seen` and `condition` holds; adds `epoch` to the user's
 * epoch.
 */
export const advancedHead = (condition: string, epoch = "0"): string =>
  `head AS (
    UPDATE session.user_heads AS h SET device_rev = h.device_rev + 1, epoch = h.epoch + ${epoch}
      FROM seen
     WHERE h.user_id = seen.user_id AND h.device_rev = seen.device_rev AND ${condition}
    RETURNING h.user_id, h.device_rev, h.epoch)`;

/**
 * CTEs `locked` and `head`, for a statement about many users: locks the heads of the users in the query `users`, in the
 * common order (user id), and advances them. `ifHeld`: whether to wait for heads that are locked, or skip them.
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
 * Runs a statement that uses `seen` and `head` and returns one row. If a concurrent change moved the user's head, runs
 * it again while holding the lock on the head, where it cannot lose the race.
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
 * Like `changeUser` for many commands, with a statement that returns one row per command, in order. A user's second
 * command runs in a later statement than the first, so that it sees its effect.
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
