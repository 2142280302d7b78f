/**
 * The standard endpoints for OAuth clients that know nothing of GraphQL: token (RFC 6749), revocation (RFC 7009) and
 * introspection (RFC 7662). They run the same use cases as the graph, with the same refusals.
 */
import { AppError } from "@continuo/errors";
import type { Logger } from "@continuo/process";
import { tokenNotYours } from "../application/application.ts";
import type { AuthenticatedClient } from "../application/client-authentication.ts";
import { DeviceInput } from "../device/device.ts";
import type { Revocations } from "../revocation/revocation.ts";
import { expiryOf } from "../session/session.ts";
import type { StartSessionRequest } from "../session/start-session.ts";
import type { Rotation, SessionTokens } from "../token/rotation.ts";
import { required, type Form } from "./client-request.ts";
import type { PresentedToken, PresentedTokens } from "./presented-token.ts";

/** A form from an authenticated client. */
export interface ClientRequest {
  readonly client: AuthenticatedClient;
  readonly form: Form;
  /** Thumbprint of the key whose DPoP proof came with it. */
  readonly jkt: string | undefined;
  /** The network prefix that the request came from. */
  readonly ipPrefix: string | undefined;
  readonly logger: Logger;
}

/** RFC 6749 section 5.1. */
export interface TokenResponse {
  readonly access_token: string;
  readonly token_type: "Bearer" | "DPoP";
  readonly expires_in: number;
  readonly refresh_token: string;
  readonly scope: string;
}

/** RFC 7662 section 2.2. */
export type Introspection =
  | { readonly active: false }
  | ({ readonly active: true } & Readonly<Record<string, unknown>>);

export interface OAuth {
  /**
   * `refresh_token`, and `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523) with the sign-in grant of identity, which
   * starts a session on `device_name`, `device_platform` and, where it is known, `device_id`. Throws
   * BAD_USER_INPUT: GRANT_TYPE_UNSUPPORTED, PARAMETER_MISSING, DEVICE_INVALID; UNAUTHENTICATED/TOKEN_NOT_YOURS; and as the
   * use cases do.
   */
  token(request: ClientRequest): Promise<TokenResponse>;
  /**
   * Ends the token's session; succeeds when there is nothing to do. Throws UNAUTHENTICATED/TOKEN_NOT_YOURS for another
   * client's.
   */
  revoke(request: ClientRequest): Promise<void>;
  /** Throws FORBIDDEN/CLIENT_UNAUTHORIZED for a client that may not introspect. */
  introspect(request: ClientRequest): Promise<Introspection>;
}

/** The grant types of the token endpoint. */
const GRANT_TYPES = ["refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"] as const;

/** Wires the endpoints. */
export function createOAuth(options: {
  rotation: Pick<Rotation, "refresh">;
  startSession: (request: StartSessionRequest) => Promise<SessionTokens>;
  revocations: Pick<Revocations, "endByClient" | "endPresented">;
  presentedTokens: PresentedTokens;
  issuer: string;
  audience: string;
}): OAuth {
  const { rotation, startSession, revocations, presentedTokens, issuer, audience } = options;

  function refresh({ client, form, jkt, logger }: ClientRequest): Promise<SessionTokens> {
    return rotation.refresh({ refreshToken: required(form, "refresh_token"), jkt, client }, logger);
  }

  function start({ client, form, jkt, ipPrefix }: ClientRequest): Promise<SessionTokens> {
    const grant = required(form, "assertion");
    const device = DeviceInput.safeParse({
      id: form.get("device_id"),
      name: required(form, "device_name"),
      platform: form.get("device_platform") ?? "OTHER",
    });
    if (device.success)
      return startSession({
        grant,
        applicationId: client.id,
        isAuthenticated: true,
        device: device.data,
        jkt,
        ipPrefix,
      });
    throw new AppError("BAD_USER_INPUT", "DEVICE_INVALID", "device_id, device_name or device_platform is not valid.");
  }

  function grantOf(request: ClientRequest): Promise<SessionTokens> {
    const grantType = required(request.form, "grant_type");
    if (grantType === GRANT_TYPES[0]) return refresh(request);
    if (grantType === GRANT_TYPES[1]) return start(request);
    throw new AppError("BAD_USER_INPUT", "GRANT_TYPE_UNSUPPORTED", "This grant type is not supported.");
  }

  return {
    async token(request) {
      const { accessToken, tokenType, expiresIn, refreshToken } = await grantOf(request);
      return {
        access_token: accessToken,
        token_type: tokenType,
        expires_in: expiresIn,
        refresh_token: refreshToken,
        scope: "account",
      };
    },

    async revoke({ client, form }) {
      const token = await presentedTokens.recognise(required(form, "token"));
      if (token === undefined) return;
      if (token.kind === "REFRESH") return revocations.endPresented(token.parts, client.id);
      const { sid, sub, client_id } = token.claims;
      if (client_id !== client.id) throw tokenNotYours();
      await revocations.endByClient({ id: sid, userId: sub });
    },

    async introspect({ client, form }) {
      if (!client.mayIntrospect)
        throw new AppError("FORBIDDEN", "CLIENT_UNAUTHORIZED", "This client may not introspect tokens.");
      const found = await presentedTokens.read(required(form, "token"));
      if (!found?.isActive) return { active: false };
      return { active: true, iss: issuer, aud: audience, ...claimsOf(found) };
    },
  };
}

/** The claims of an active token in an introspection response. */
function claimsOf(token: PresentedToken): Readonly<Record<string, unknown>> {
  if (token.kind === "ACCESS") {
    const { claims } = token;
    const { sub, client_id, sid, scope, jti, iat, exp, auth_time, acr, amr, cnf } = claims;
    const token_type = cnf ? "DPoP" : "Bearer";
    return { token_type, sub, client_id, sid, scope, jti, iat, exp, auth_time, acr, amr, ...(cnf && { cnf }) };
  }
  const { session, grant } = token;
  return {
    sub: session.userId,
    client_id: session.applicationId,
    sid: session.id,
    scope: "account",
    exp: Math.floor(expiryOf(session).at.getTime() / 1_000),
    auth_time: Math.floor(session.authTime.getTime() / 1_000),
    acr: session.acr,
    amr: session.amr,
    ...(grant.jkt !== null && !grant.isConfidential && { cnf: { jkt: grant.jkt } }),
  };
}
