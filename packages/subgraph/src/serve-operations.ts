/**
 * Operations of many callers over one socket, for the gateway only: each carries the gateway's signed statement about
 * its caller.
 */
import type { IdentityVerifier } from "@continuo/access";
import { isAppError } from "@continuo/errors";
import { acceptOperations } from "@continuo/operation-socket";
import type { Logger } from "@continuo/process";
import type { Answer } from "./answer.ts";
import { requireService } from "./context.ts";
import { callerOf, requestIdOf } from "./gateway-headers.ts";
import type { SocketRoute } from "./socket-routes.ts";

/** The route for these sockets. */
export function serveOperations(options: { answer: Answer; identity: IdentityVerifier; logger: Logger }): SocketRoute {
  const { answer, identity, logger } = options;
  return acceptOperations({
    admit: async (headers) => requireService(await callerOf(identity, headers)),
    async answer({ headers, signal, answered, ...request }) {
      const requestId = requestIdOf(headers);
      try {
        return await answer(request, { caller: await callerOf(identity, headers), requestId, signal, answered });
      } catch (cause) {
        if (!isAppError(cause)) throw cause;
        const { code, reason, message } = cause;
        logger.info({ code, reason, requestId }, "refused");
        return { errors: [{ message, extensions: { code, reason, requestId } }] };
      }
    },
    logger,
  });
}
