/** HTTP routes beside GraphQL: the public signing keys, and the gateways' feed and activity reports. */
import { AppError } from "@continuo/errors";
import { parseInput, requireService, type SubgraphOptions } from "@continuo/subgraph";
import { ActivityReport } from "./activity/activity.ts";
import type { Context } from "./context.ts";
import { type Feed, FeedRequest, Leave } from "./revocation/feed.ts";
import { KEYS_MAX_AGE_SECONDS } from "./signing-key/key-rotation.ts";
import type { SigningKeyStore } from "./signing-key/signing-key.ts";

type Routes = NonNullable<SubgraphOptions<Context>["routes"]>;

const GATEWAY = "gateway";

/** Wires the routes; all except the keys accept only the gateway itself as the caller. */
export function createRoutes(options: {
  keys: SigningKeyStore;
  feed: Feed;
  activity: (report: ActivityReport) => Promise<void>;
}): Routes {
  const { keys, feed, activity } = options;

  return (http, callerOf) => {
    const requireGateway = async (request: Parameters<typeof callerOf>[0]): Promise<void> => {
      if (requireService(await callerOf(request)) === GATEWAY) return;
      throw new AppError("FORBIDDEN", "SERVICE_ONLY", "Only the gateway may ask this.");
    };

    http.get("/.well-known/jwks.json", async (_request, reply) =>
      reply.header("cache-control", `public, max-age=${KEYS_MAX_AGE_SECONDS}`).send({ keys: await keys.published() }),
    );

    http.post("/internal/revocations", async (request) => {
      await requireGateway(request);
      return feed.page(parseInput(FeedRequest, request.body));
    });

    http.post("/internal/revocations/leave", async (request, reply) => {
      await requireGateway(request);
      await feed.leave(parseInput(Leave, request.body));
      return reply.code(204).send();
    });

    http.post("/internal/activity", async (request, reply) => {
      await requireGateway(request);
      await activity(parseInput(ActivityReport, request.body));
      return reply.code(204).send();
    });
  };
}
