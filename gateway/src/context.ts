import type { AccessTokenClaims, Caller } from "@continuo/access";
import type { Logger } from "@continuo/process";
import type { Proof } from "./dpop/proofs.ts";

/** What the activity report needs of a token beyond the viewer. */
interface TokenGrant {
  readonly grantId: string;
  readonly generation: number;
}

/** The context of one operation. */
export interface GatewayContext {
  readonly caller: Caller;
  /** The grant behind the caller's token; absent for anonymous callers. */
  readonly grant?: TokenGrant;
  /** The claims of the caller's token; absent for anonymous callers. */
  readonly session?: AccessTokenClaims;
  /** The sender's network; undefined for this machine. */
  readonly network?: string | undefined;
  /** Not caused by the user (a browser's prefetch), so it does not count as activity. */
  readonly isPassive?: boolean;
  /** The DPoP proof of this very request. */
  readonly proof?: Proof;
  readonly requestId: string;
  /**
   * The gateway's logger: a line about this operation includes its request id, because a child logger per operation
   * would be expensive.
   */
  readonly logger: Logger;
  /** Aborted when the client no longer waits for the answer. */
  readonly signal?: AbortSignal;
}
