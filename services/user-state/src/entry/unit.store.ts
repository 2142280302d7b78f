/** A unit in Postgres: a row, and for a TEXT its updates in rows beside it. */
import type { Json } from "@continuo/merge";
import { textStateOf } from "./unit.ts";

/** The updates of a text that are not in its stored state, in revision order; null when there are none. */
export function textUpdatesOf(userId: string, entry: string): string {
  return `(
    SELECT array_agg(stored.update ORDER BY stored.rev) FROM user_state.text_updates AS stored
    WHERE stored.user_id = ${userId} AND stored.namespace = ${entry}.namespace
      AND stored.key = ${entry}.key AND stored.field = ${entry}.field
  )`;
}

/** The state of a unit from its row and its `textUpdatesOf`. */
export function stateOf(row: { readonly state: Json; readonly updates: readonly string[] | null }): Json {
  if (row.updates === null) return row.state;
  const stored = textStateOf(row.state);
  return { ...stored, updates: [...stored.updates, ...row.updates] };
}
