/** The owner's query that opens what was relayed: what a subscription without a cursor is made of. */
import { type OwnerQuery, toOwnerQuery } from "./owner-query.ts";
import type { RelaySource, RelaySources } from "./sources.ts";

/** How a subscription's events are opened; `variable` takes what came over the bus. */
export interface RelayReads extends OwnerQuery {
  readonly relay: RelaySource;
}

/** Rewrites the owner's subscription `operation`; undefined for one of which nothing is relayed. */
export function toRelayReads(operation: string, sources: RelaySources): RelayReads | undefined {
  const sourceOf = (field: string): RelaySource | undefined =>
    Object.hasOwn(sources, field) ? sources[field] : undefined;
  const query = toOwnerQuery(operation, "sealed", (name) => {
    const source = sourceOf(name);
    return source && { query: source.query, argument: "sealed", type: "[String!]!" };
  });
  const relay = query && sourceOf(query.field.name.value);
  return query && relay && { ...query, relay };
}
