/** The owner's query that opens what was relayed: what a subscription without a cursor is made of. */
import { type OwnerQuery, toOwnerQuery } from "./owner-query.ts";
import type { Source, Sources } from "./sources.ts";

/** How a subscription's events are opened; `variable` takes what came over the bus. */
export interface RelayReads extends OwnerQuery {
  readonly relay: Source;
}

/** Rewrites the owner's subscription `operation`; undefined for one of which nothing is relayed. */
export function toRelayReads(operation: string, sources: Sources["relays"]): RelayReads | undefined {
  const query = toOwnerQuery(operation, "sealed", (name) => {
    const source = sources.get(name);
    return source && { query: source.query, argument: "sealed", type: "[String!]!" };
  });
  const relay = query && sources.get(query.field.name.value);
  return query && relay && { ...query, relay };
}
