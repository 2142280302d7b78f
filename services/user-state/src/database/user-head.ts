/** The head row of a person's state, as SQL. Every change to the person's state holds its lock until the commit. */

/** The server's clock in milliseconds since the epoch, for the table alias `head`; monotonic. */
export const SERVER_NOW = "greatest(head.max_ms, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)";

/** Locks the row of user $1, creating it with the epoch $2 if there is none. */
export const lockHead = (returning: string): string => `
  INSERT INTO user_state.user_heads AS head (user_id, epoch) VALUES ($1, $2)
  ON CONFLICT (user_id) DO UPDATE SET max_ms = head.max_ms
  RETURNING ${returning}`;
