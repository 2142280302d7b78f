/** The head row of a person's state, as SQL: whoever changes anything of theirs holds it until the commit. */

/** The server's clock, milliseconds since the epoch, of the table `head`: it never goes back. */
export const SERVER_NOW = "greatest(head.max_ms, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)";

/** Locks the row of user $1; one that is made has the epoch $2. */
export const lockHead = (returning: string): string => `
  INSERT INTO user_state.user_heads AS head (user_id, epoch) VALUES ($1, $2)
  ON CONFLICT (user_id) DO UPDATE SET max_ms = head.max_ms
  RETURNING ${returning}`;
