import type { Caller, Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";

/** What every resolver of every subgraph gets; a service adds its own use cases to it. */
export interface SubgraphContext {
  readonly caller: Caller;
  readonly requestId: string;
  /** Logs the request id with every line. */
  readonly logger: Logger;
  /** Aborted when the caller leaves before it has the answer. */
  readonly signal?: AbortSignal;
  /** Resolves when the answer has been sent, or the caller has left. */
  readonly answered?: Promise<void>;
  /** When a stream reads because of a poke: the poke's number. An answer at least that recent is recent enough. */
  readonly heard?: number | undefined;
}

/** The signed-in caller. Throws UNAUTHENTICATED, SIGN_IN_REQUIRED. */
export function requireViewer(context: SubgraphContext): Viewer {
  if (context.caller.kind === "viewer") return context.caller.viewer;
  throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
}

/**
 * The application of the signed-in caller, or the one that a call on behalf of all its users names (`scope:
 * "APPLICATION"` of a live field). Throws UNAUTHENTICATED, SIGN_IN_REQUIRED.
 */
export function requireApplication(context: SubgraphContext): string {
  return context.caller.kind === "application" ? context.caller.applicationId : requireViewer(context).applicationId;
}

/** The name of the service that calls on its own behalf. Throws FORBIDDEN, SERVICE_ONLY. */
export function requireService(caller: Caller): string {
  if (caller.kind === "service") return caller.name;
  throw new AppError("FORBIDDEN", "SERVICE_ONLY", "Only services may ask this.");
}
