import type { AccessTokenClaims, Caller } from "@continuo/access";
import type { Logger } from "@continuo/process";
import type { Proof } from "./dpop/proofs.ts";

/** Who acts, by a token: what the activity report needs beyond the viewer. */
interface TokenGrant {
  readonly grantId: string;
  readonly generation: number;
}

/** What the gateway knows of one operation. */
export interface GatewayContext {
  readonly caller: Caller;
  /** Where the caller's token came from; absent for the anonymous. */
  readonly grant?: TokenGrant;
  /** What the caller's token says; absent for the anonymous. */
  readonly session?: AccessTokenClaims;
  /** Where it comes from; absent for this machine. */
  readonly network?: string | undefined;
  /** Nobody is behind it (a browser's prefetch): it is not the person's activity. */
  readonly isPassive?: boolean;
  /** The proof of a key that came with this very request. */
  readonly proof?: Proof;
  readonly requestId: string;
  /** The gateway's: a line about this operation names its request id. One of its own for each would be dear. */
  readonly logger: Logger;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal?: AbortSignal;
}
