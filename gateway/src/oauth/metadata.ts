/** What an OAuth client finds out about this installation by itself (RFC 8414). */
import { DPOP_ALGORITHMS } from "@continuo/access";

/** Where clients look (RFC 8414 section 3). */
export const METADATA_PATH = "/.well-known/oauth-authorization-server";

export const TOKEN_PATH = "/oauth/token";
export const REVOCATION_PATH = "/oauth/revoke";
export const INTROSPECTION_PATH = "/oauth/introspect";

const SECRET_METHODS = ["client_secret_basic", "client_secret_post"];

/** The document. There is no authorization endpoint: sessions start with identity's sign-in grant (RFC 7523). */
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
    token_endpoint_auth_methods_supported: ["none", ...SECRET_METHODS],
    revocation_endpoint_auth_methods_supported: ["none", ...SECRET_METHODS],
    introspection_endpoint_auth_methods_supported: SECRET_METHODS,
    dpop_signing_alg_values_supported: DPOP_ALGORITHMS,
  };
}
