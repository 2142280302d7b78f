/** A viewer's own state as a file over HTTP, for the gateway, which states who is asking. */
import { Readable } from "node:stream";
import type { Logger } from "@continuo/process";
import { requireViewer, type SubgraphOptions } from "@continuo/subgraph";
import { archiveOf, ARCHIVE_TYPE, type ArchiveStore } from "./archive/archive.ts";
import type { Bulkhead } from "./bulkhead.ts";
import type { Context } from "./context.ts";
import { assertRecentSignIn } from "./recent-sign-in.ts";

type Routes = NonNullable<SubgraphOptions<Context>["routes"]>;

/**
 * Wires GET /account/state. Throws UNAUTHENTICATED: SIGN_IN_REQUIRED; STEP_UP_REQUIRED: AUTHENTICATION_TOO_OLD;
 * RATE_LIMITED: OVERLOADED, as each export holds a connection.
 */
export function createArchiveRoutes(options: {
  logger: Logger;
  store: ArchiveStore;
  exports: Pick<Bulkhead, "enter">;
  now: () => Date;
}): Routes {
  const { store, exports, now, logger } = options;
  return (http, callerOf) => {
    http.get("/account/state", async (request, reply) => {
      const viewer = requireViewer({ caller: await callerOf(request), requestId: request.id, logger });
      assertRecentSignIn(viewer, now());
      const leave = await exports.enter();
      const lines = Readable.from(archiveOf(store, viewer.userId), { highWaterMark: 1 });
      lines.once("close", leave);
      return reply.type(ARCHIVE_TYPE).send(lines);
    });
  };
}
