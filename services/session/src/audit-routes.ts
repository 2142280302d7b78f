/** A viewer's own security events as a file over HTTP. Only the gateway calls it and states who the caller is. */
import { Readable } from "node:stream";
import type { SubgraphOptions } from "@continuo/subgraph";
import { EXPORT_TYPE, type Export } from "./audit/export.ts";
import { createContext, type Context, type SessionService } from "./context.ts";
import type { Logger } from "@continuo/process";

type Routes = NonNullable<SubgraphOptions<Context>["routes"]>;

/** Wires GET /account/security-events. Throws as `Context.recentSession` does. */
export function createAuditRoutes(options: { exportOf: Export; service: SessionService; logger: Logger }): Routes {
  const { exportOf, service, logger } = options;
  return (http, callerOf) => {
    http.get("/account/security-events", async (request, reply) => {
      const base = { caller: await callerOf(request), requestId: request.id };
      const context = createContext({ ...base, logger: logger.child({ requestId: request.id }) }, service);
      const { userId } = await context.recentSession();
      return reply.type(EXPORT_TYPE).send(Readable.from(exportOf(userId)));
    });
  };
}
