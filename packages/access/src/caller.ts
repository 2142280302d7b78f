/** A signed-in caller, as the gateway verified it. Times are seconds since the epoch (RFC 7519 NumericDate). */
export interface Viewer {
  readonly userId: string;
  readonly sessionId: string;
  readonly deviceId: string;
  /** client_id of the application the session belongs to. */
  readonly applicationId: string;
  readonly acr: string;
  readonly amr: readonly string[];
  readonly authTime: number;
  /**
   * Maximum age of the sign-in for sensitive operations, as the session's policy says; tokens from earlier versions lack it.
   */
  readonly stepUpSeconds?: number;
}

/** What came with a request besides its token. */
interface RequestContext {
  /** RFC 7638 thumbprint of the key that signed the request's DPoP proof (RFC 9449); absent without a valid proof. */
  readonly jkt?: string;
  /** Coarse network address of the client: `192.0.2.0/24` or `2001:db8:1::/48`; absent if unknown. */
  readonly ipPrefix?: string;
}

/**
 * Who calls a subgraph: a signed-in person, an anonymous caller, an application on behalf of all its users (to read
 * what they share), or one of our own services on its own behalf.
 */
export type Caller =
  | ({ readonly kind: "viewer"; readonly viewer: Viewer } & RequestContext)
  | ({ readonly kind: "anonymous" } & RequestContext)
  | { readonly kind: "application"; readonly applicationId: string }
  | { readonly kind: "service"; readonly name: string };

/** What came with the request besides the token; empty for application and service callers. */
export function requestContextOf(caller: Caller): RequestContext {
  if (caller.kind !== "viewer" && caller.kind !== "anonymous") return {};
  const { jkt, ipPrefix } = caller;
  return { ...(jkt !== undefined && { jkt }), ...(ipPrefix !== undefined && { ipPrefix }) };
}

/** The claims that name a viewer, as access tokens and internal identities carry them. */
export interface ViewerClaims {
  readonly sub: string;
  readonly sid: string;
  readonly did: string;
  readonly client_id: string;
  readonly acr: string;
  readonly amr: readonly string[];
  readonly auth_time: number;
  readonly step_up?: number | undefined;
}

/** The viewer that verified claims name. */
export function viewerOf(claims: ViewerClaims): Viewer {
  return {
    userId: claims.sub,
    sessionId: claims.sid,
    deviceId: claims.did,
    applicationId: claims.client_id,
    acr: claims.acr,
    amr: claims.amr,
    authTime: claims.auth_time,
    ...(claims.step_up !== undefined && { stepUpSeconds: claims.step_up }),
  };
}
