import type { Viewer } from "@continuo/access";
import type { SubgraphContext } from "@continuo/subgraph";
import type DataLoader from "dataloader";
import type { Entries } from "./entry/entry.ts";
import type { Namespaces } from "./namespace/namespace.ts";
import type { Stream } from "./stream/stream.ts";
import type { SyncStatus } from "./sync-status/sync-status.ts";

/** What the resolvers of this subgraph use. */
export interface Context extends SubgraphContext {
  readonly namespaces: Namespaces;
  readonly entries: Entries;
  readonly stream: Stream;
  /** Gathers the devices of one request into one read. */
  readonly syncStatusOf: (viewer: Viewer) => DataLoader<string, SyncStatus | null>;
}
