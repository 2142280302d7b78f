/** The authorization server metadata that OAuth clients discover (RFC 8414). */
import { SIGNATURE_ALGORITHMS } from "@continuo/access";

/** The metadata's path: the issuer's path, if any, follows the well-known prefix (RFC 8414 section 3.1). */
export function metadataPathOf(issuer: string): string {
  return `/.well-known/oauth-authorization-server${new URL(issuer).pathname.replace(/\/$/, "")}`;
}

export const TOKEN_PATH = "/oauth/token";
export const REVOCATION_PATH = "/oauth/revoke";
export const INTROSPECTION_PATH = "/oauth/introspect";

/** Authentication methods of confidential clients: with their registered secret or keys. */
const CONFIDENTIAL = ["client_secret_basic", "client_secret_post", "private_key_jwt"];

/**
 * The metadata document. There is no authorization endpoint: sessions start with identity's sign-in grant (RFC 7523).
 */
export function metadataOf(options: { issuer: string; publicUrl: string; keysPath: string }): object {
  const { issuer, publicUrl, keysPath } = options;
  return {
    issuer,
    token_endpoint: publicUrl + TOKEN_PATH,
    jwks_uri: publicUrl + keysPath,
    revocation_endpoint: publicUrl + REVOCATION_PATH,
    introspection_endpoint: publicUrl + INTROSPECTION_PATH,
    response_types_supported: [],
    grant_types_supported: ["refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
    scopes_supported: ["account"],
    token_endpoint_auth_methods_supported: ["none", ...CONFIDENTIAL],
    token_endpoint_auth_signing_alg_values_supported: SIGNATURE_ALGORITHMS,
    revocation_endpoint_auth_methods_supported: ["none", ...CONFIDENTIAL],
    revocation_endpoint_auth_signing_alg_values_supported: SIGNATURE_ALGORITHMS,
    // OpenID Connect Back-Channel Logout 1.0 section 2.1; the parameters are registered for OAuth metadata too.
    backchannel_logout_supported: true,
    backchannel_logout_session_supported: true,
    introspection_endpoint_auth_methods_supported: CONFIDENTIAL,
    introspection_endpoint_auth_signing_alg_values_supported: SIGNATURE_ALGORITHMS,
    dpop_signing_alg_values_supported: SIGNATURE_ALGORITHMS,
  };
}
