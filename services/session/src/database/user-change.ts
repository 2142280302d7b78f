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
  `seen AS MATERIALIZED (SELECT user_id, device_rev FROM session.user_heads WHERE user_id = ${user}::uuid)`;

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
  const first = oneRow(await pool.query<Row>(statement));
  if (!first.moved) return first;
  return inTransaction(pool, async (client) => {
    await client.query({
      name: "lock-user-head",
      text: "SELECT FROM session.user_heads WHERE user_id = $1 FOR UPDATE",
      values: [userId],
    });
    const second = oneRow(await client.query<Row>(statement));
    if (second.moved) throw new AppError("CONFLICT", "USER_CHANGED", "Somebody changed the same devices: try again.");
    return second;
  });
}

function oneRow<Row>(result: { rows: Row[] }): Row {
  const [row] = result.rows;
  if (row === undefined) throw new Error("a statement of one row returned none");
  return row;
}
