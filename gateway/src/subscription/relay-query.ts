/** The owner's query behind a `@relayed` subscription, which has no cursor: it opens relayed texts. */
import { type OwnerQuery, toOwnerQuery } from "./owner-query.ts";
import type { Source, Sources } from "./sources.ts";

/** How the events of a relayed subscription are opened; `variable` takes the sealed texts from the relay. */
export interface RelayReads extends OwnerQuery {
  readonly relay: Source;
}

/** Rewrites the owner's subscription `operation`; undefined if it is not relayed. */
export function toRelayReads(operation: string, sources: Sources["relays"]): RelayReads | undefined {
  const query = toOwnerQuery(operation, "sealed", (name) => {
    const source = sources.get(name);
    return source && { query: source.query, argument: "sealed", type: "[String!]!" };
  });
  const relay = query && sources.get(query.field.name.value);
  return query && relay && { ...query, relay };
}
