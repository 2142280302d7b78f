import type { Viewer } from "@continuo/access";
import type { SubgraphContext } from "@continuo/subgraph";
import type { Activities } from "./activity/activity.ts";
import type { ResumeFor } from "./activity/resume.ts";
import type { TakeOvers } from "./activity/take-over.ts";
import type { Entries } from "./entry/entry.ts";
import type { ErasureReceipt } from "./erasure/erasure.ts";
import type { History } from "./history/history.ts";
import type { Namespaces } from "./namespace/namespace.ts";
import type { LongPoll } from "./stream/long-poll.ts";
import type { Relay } from "./relay/relay.ts";
import type { SyncStatusOf } from "./sync-status/sync-status.ts";

/** What the resolvers of this subgraph use. */
export interface Context extends SubgraphContext {
  readonly namespaces: Namespaces;
  readonly entries: Entries;
  readonly stream: Pick<LongPoll, "pull">;
  readonly history: History;
  readonly relay: Relay;
  readonly syncStatusOf: SyncStatusOf;
  readonly activities: Activities;
  readonly takeOvers: TakeOvers;
  readonly resumeFor: ResumeFor;
  readonly eraseState: (viewer: Viewer, namespaces: readonly string[] | undefined) => Promise<ErasureReceipt>;
}
