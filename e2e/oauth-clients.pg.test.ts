/** Stock OAuth clients from other projects, at the public endpoints: gateway and session in this process, over loopback. */
import { createHash, randomUUID } from "node:crypto";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type SessionBehindGateway, startSessionBehindGateway } from "./session-behind-gateway.ts";

const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const RESOURCE_SECRET = "cnt_cs_resource";
/** The secret of a confidential application that may not introspect. */
const OTHER_SECRET = "cnt_cs_other+%&:";
const loopback = { [oauth.allowInsecureRequests]: true };

const stack = new AsyncDisposableStack();
let url: string;
let as: oauth.AuthorizationServer;
let newGrant: SessionBehindGateway["grant"];
let admin: SessionBehindGateway["admin"];

/** A public application, such as a browser or phone app. */
const app: oauth.Client = { client_id: "continuo" };
/** A confidential application that authenticates by signed assertions (private_key_jwt), and may introspect. */
const keyed: oauth.Client = { client_id: "keyed" };
let key: oauth.PrivateKey;
/** A resource server that may introspect. */
const resource: oauth.Client = { client_id: "resource" };

beforeAll(async () => {
  const door = stack.use(await startSessionBehindGateway());
  ({ url, admin } = door);
  newGrant = (claims) => door.grant(claims);
  await admin.query(
    `INSERT INTO session.applications (id, name, created_at, secret_hash, may_introspect)
     VALUES ('resource', 'Resource', now(), $1, true), ('other', 'Other', now(), $2, false)`,
    [RESOURCE_SECRET, OTHER_SECRET].map((secret) => createHash("sha256").update(secret).digest()),
  );
  const pair = await oauth.generateKeyPair("ES256");
  key = { key: pair.privateKey, kid: "of-today" };
  const jwk = { ...(await crypto.subtle.exportKey("jwk", pair.publicKey)), kid: "of-today" };
  await admin.query(
    `INSERT INTO session.applications (id, name, created_at, jwks, may_introspect)
     VALUES ('keyed', 'Keyed', now(), $1, true)`,
    [{ keys: [jwk] }],
  );
  await admin.query(
    `INSERT INTO session.policies
     SELECT (jsonb_populate_record(p, '{"application_id": "keyed"}')).*
       FROM session.policies AS p WHERE application_id = 'continuo'`,
  );
  const issuer = new URL(url);
  as = await oauth.processDiscoveryResponse(
    issuer,
    await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...loopback }),
  );
});
afterAll(() => stack.disposeAsync());

/** Retries once when the server demands its nonce in the proof, as clients do. */
async function withNonce<Result>(attempt: () => Promise<Result>): Promise<Result> {
  try {
    return await attempt();
  } catch (cause) {
    if (!oauth.isDPoPNonceError(cause)) throw cause;
    return attempt();
  }
}

async function start(DPoP?: oauth.DPoPHandle): Promise<oauth.TokenEndpointResponse> {
  const parameters = { assertion: await newGrant(), device_name: "A terminal", device_platform: "DESKTOP" };
  return withNonce(async () => {
    const options = { ...(DPoP && { DPoP }), ...loopback };
    const response = await oauth.genericTokenEndpointRequest(as, app, oauth.None(), JWT_BEARER, parameters, options);
    return oauth.processGenericTokenEndpointResponse(as, app, response);
  });
}

async function refresh(refreshToken: string, DPoP?: oauth.DPoPHandle): Promise<oauth.TokenEndpointResponse> {
  return withNonce(async () => {
    const options = { ...(DPoP && { DPoP }), ...loopback };
    const response = await oauth.refreshTokenGrantRequest(as, app, oauth.None(), refreshToken, options);
    expect(response.headers.get("cache-control")).toBe("no-store");
    return oauth.processRefreshTokenResponse(as, app, response);
  });
}

async function introspect(token: string): Promise<oauth.IntrospectionResponse> {
  const authentication = oauth.ClientSecretBasic(RESOURCE_SECRET);
  const response = await oauth.introspectionRequest(as, resource, authentication, token, loopback);
  return oauth.processIntrospectionResponse(as, resource, response);
}

async function revoke(token: string): Promise<void> {
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, app, oauth.None(), token, loopback));
}

/** The response to a plain form, without a client library. */
async function post(
  path: string,
  form: Record<string, string> | string,
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: Headers; body: unknown }> {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
    body: typeof form === "string" ? form : new URLSearchParams(form),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === "" ? undefined : JSON.parse(text) };
}
const Tokens = z.object({ access_token: z.string(), refresh_token: z.string() });
const SteppedUp = z.object({ data: z.object({ stepUp: z.object({ accessToken: z.string() }) }) });
const basic = (id: string, secret: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString("base64")}`,
});
const refused = (error: string, reason: string): object => ({
  error,
  error_description: expect.stringMatching(new RegExp(`^${reason}: `)),
});

describe("oauth4webapi", () => {
  it("finds an issuer with a path where RFC 8414 has it, and takes its tokens", async () => {
    await using door = await startSessionBehindGateway({ issuerPath: "/tenant/one" });
    const issuer = new URL(`${door.url}/tenant/one`);
    const found = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...loopback });
    const server = await oauth.processDiscoveryResponse(issuer, found);
    expect(server.token_endpoint).toBe(`${door.url}/oauth/token`);
    const parameters = { assertion: await door.grant(), device_name: "A terminal", device_platform: "DESKTOP" };
    const started = await oauth.genericTokenEndpointRequest(
      server,
      app,
      oauth.None(),
      JWT_BEARER,
      parameters,
      loopback,
    );
    const { access_token } = await oauth.processGenericTokenEndpointResponse(server, app, started);
    const request = new Request("https://resource.example/", { headers: { authorization: `Bearer ${access_token}` } });
    expect(await oauth.validateJwtAccessToken(server, request, "continuo", loopback)).toMatchObject({
      iss: issuer.href,
    });
    expect((await fetch(`${door.url}/.well-known/oauth-authorization-server`)).status).toBe(404);
  });

  it("finds out where everything is, and what can be done there", () => {
    const confidential = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
    const algorithms = ["ES256", "Ed25519", "EdDSA"];
    expect(as).toMatchObject({
      issuer: url,
      token_endpoint: `${url}/oauth/token`,
      jwks_uri: `${url}/.well-known/jwks.json`,
      revocation_endpoint: `${url}/oauth/revoke`,
      introspection_endpoint: `${url}/oauth/introspect`,
      grant_types_supported: ["refresh_token", JWT_BEARER],
      response_types_supported: [],
      scopes_supported: ["account"],
      token_endpoint_auth_methods_supported: ["none", ...confidential],
      token_endpoint_auth_signing_alg_values_supported: algorithms,
      revocation_endpoint_auth_methods_supported: ["none", ...confidential],
      revocation_endpoint_auth_signing_alg_values_supported: algorithms,
      introspection_endpoint_auth_methods_supported: confidential,
      introspection_endpoint_auth_signing_alg_values_supported: algorithms,
      dpop_signing_alg_values_supported: algorithms,
      backchannel_logout_supported: true,
      backchannel_logout_session_supported: true,
    });
  });

  it("starts a session bound to its key, refreshes it with proofs and our nonces, uses it, and ends it", async () => {
    const DPoP = oauth.DPoP(app, await oauth.generateKeyPair("ES256"));
    const started = await start(DPoP);
    expect(started).toMatchObject({ token_type: "dpop", scope: "account", expires_in: expect.any(Number) });
    const fresh = await refresh(String(started.refresh_token), DPoP);
    expect(fresh.token_type).toBe("dpop");
    expect(fresh.refresh_token).not.toBe(started.refresh_token);

    const answer = await withNonce(() =>
      oauth.protectedResourceRequest(
        fresh.access_token,
        "POST",
        new URL("/graphql", url),
        new Headers({ "content-type": "application/json" }),
        JSON.stringify({ query: "{ viewer { session { state } device { name platform } } }" }),
        { DPoP, ...loopback },
      ),
    );
    expect(await answer.json()).toEqual({
      data: { viewer: { session: { state: "ACTIVE" }, device: { name: "A terminal", platform: "DESKTOP" } } },
    });

    const jkt = await DPoP.calculateThumbprint();
    const about = await introspect(fresh.access_token);
    expect(about).toMatchObject({ active: true, token_type: "DPoP", client_id: "continuo", iss: url, cnf: { jkt } });
    expect(await introspect(String(fresh.refresh_token))).toMatchObject({
      active: true,
      sid: about["sid"],
      cnf: { jkt },
    });

    await revoke(String(fresh.refresh_token));
    expect(await introspect(fresh.access_token)).toEqual({ active: false });
    expect(await introspect(String(fresh.refresh_token))).toEqual({ active: false });
    await expect(refresh(String(fresh.refresh_token), DPoP)).rejects.toMatchObject({
      error: "invalid_grant",
      error_description: expect.stringMatching(/^SESSION_ENDED: /),
    });
  });

  it("is refused a refresh without the key, and by another key, and its session lives on", async () => {
    const keyPair = await oauth.generateKeyPair("ES256");
    const started = await start(oauth.DPoP(app, keyPair));
    const token = String(started.refresh_token);
    await expect(refresh(token)).rejects.toMatchObject({ error: "invalid_dpop_proof" });
    const thief = oauth.DPoP(app, await oauth.generateKeyPair("ES256"));
    await expect(refresh(token, thief)).rejects.toMatchObject({ error: "invalid_grant" });
    expect((await refresh(token, oauth.DPoP(app, keyPair))).token_type).toBe("dpop");
  });

  it("signs what it says of itself, to start, to refresh, to ask and to revoke", async () => {
    const [form, signed] = [{ assertion: await newGrant(), device_name: "A server" }, oauth.PrivateKeyJwt(key)];
    const began = await oauth.genericTokenEndpointRequest(as, keyed, signed, JWT_BEARER, form, loopback);
    const started = await oauth.processGenericTokenEndpointResponse(as, keyed, began);
    const again = oauth.refreshTokenGrantRequest(as, keyed, signed, String(started.refresh_token), loopback);
    const { access_token } = await oauth.processRefreshTokenResponse(as, keyed, await again);
    const about = async (): Promise<oauth.IntrospectionResponse> => {
      const response = await oauth.introspectionRequest(as, keyed, signed, access_token, loopback);
      return oauth.processIntrospectionResponse(as, keyed, response);
    };
    expect(await about()).toMatchObject({ active: true, client_id: "keyed" });
    const revoking = oauth.revocationRequest(as, keyed, signed, access_token, loopback);
    await oauth.processRevocationResponse(await revoking);
    expect(await about()).toEqual({ active: false });
  });

  it("goes on with another key than the session began with, since it authenticates; with none, it does not", async () => {
    const signed = oauth.PrivateKeyJwt(key);
    const newKey = async (): Promise<oauth.DPoPHandle> => oauth.DPoP(keyed, await oauth.generateKeyPair("ES256"));
    const [before, after] = [await newKey(), await newKey()];
    const renew = (token: unknown, DPoP?: oauth.DPoPHandle): Promise<oauth.TokenEndpointResponse> =>
      withNonce(async () => {
        const options = { ...(DPoP && { DPoP }), ...loopback };
        const response = await oauth.refreshTokenGrantRequest(as, keyed, signed, String(token), options);
        return oauth.processRefreshTokenResponse(as, keyed, response);
      });
    const form = { assertion: await newGrant(), device_name: "A server" };
    const started = await withNonce(async () => {
      const options = { DPoP: before, ...loopback };
      const response = await oauth.genericTokenEndpointRequest(as, keyed, signed, JWT_BEARER, form, options);
      return oauth.processGenericTokenEndpointResponse(as, keyed, response);
    });
    await expect(renew(started.refresh_token)).rejects.toMatchObject({ error: "invalid_dpop_proof" });
    const renewed = await renew(started.refresh_token, after);
    expect(renewed.token_type).toBe("dpop");

    const jkt = await after.calculateThumbprint();
    expect(await introspect(renewed.access_token)).toMatchObject({ active: true, token_type: "DPoP", cnf: { jkt } });
    const about = await introspect(String(renewed.refresh_token));
    expect(about).toMatchObject({ active: true, client_id: "keyed" });
    expect(about).not.toHaveProperty("cnf");
    const read = (DPoP: oauth.DPoPHandle): Promise<Response> => {
      const headers = new Headers({ "content-type": "application/json" });
      const body = JSON.stringify({ query: "{ viewer { session { state } } }" });
      const at = new URL("/graphql", url);
      return oauth.protectedResourceRequest(renewed.access_token, "POST", at, headers, body, { DPoP, ...loopback });
    };
    expect(await (await read(after)).json()).toEqual({ data: { viewer: { session: { state: "ACTIVE" } } } });
    await expect(read(before)).rejects.toMatchObject({ status: 401 });
  });

  it("is refused when its signature is another's, or for another server", async () => {
    const { privateKey } = await oauth.generateKeyPair("ES256");
    const foreign = oauth.PrivateKeyJwt({ key: privateKey, kid: "of-today" });
    const elsewhere = oauth.PrivateKeyJwt(key, {
      [oauth.modifyAssertion]: (_header, payload) => void (payload["aud"] = as.token_endpoint),
    });
    for (const bad of [foreign, elsewhere]) {
      const response = await oauth.introspectionRequest(as, keyed, bad, "junk", loopback);
      expect([response.status, await response.json()]).toEqual([401, refused("invalid_client", "CLIENT_INVALID")]);
    }
  });

  it("as a resource server, verifies an access token by our published keys alone", async () => {
    const { access_token } = await start();
    const request = new Request(`${url}/anything`, { headers: { authorization: `Bearer ${access_token}` } });
    const claims = await oauth.validateJwtAccessToken(as, request, "continuo", loopback);
    expect(claims).toMatchObject({ iss: url, client_id: "continuo", scope: "account" });
  });

  it("ends a session by its access token too, and may do so again", async () => {
    const { access_token, refresh_token } = await start();
    await revoke(access_token);
    await revoke(access_token);
    await expect(refresh(String(refresh_token))).rejects.toMatchObject({ error: "invalid_grant" });
    expect(await introspect(access_token)).toEqual({ active: false });
  });
});

describe("openid-client", () => {
  it("refreshes, introspects and revokes by what it discovers", async () => {
    const options = { algorithm: "oauth2" as const, execute: [openid.allowInsecureRequests] };
    const client = await openid.discovery(new URL(url), "continuo", undefined, openid.None(), options);
    const rs = await openid.discovery(
      new URL(url),
      "resource",
      undefined,
      openid.ClientSecretPost(RESOURCE_SECRET),
      options,
    );
    const started = await openid.genericGrantRequest(client, JWT_BEARER, {
      assertion: await newGrant(),
      device_name: "A terminal",
    });
    const fresh = await openid.refreshTokenGrant(client, String(started.refresh_token));
    expect(await openid.tokenIntrospection(rs, fresh.access_token)).toMatchObject({
      active: true,
      token_type: "Bearer",
    });
    await openid.tokenRevocation(client, fresh.access_token);
    expect(await openid.tokenIntrospection(rs, fresh.access_token)).toEqual({ active: false });
  });

  it("signs what it says of itself", async () => {
    const options = { algorithm: "oauth2" as const, execute: [openid.allowInsecureRequests] };
    const client = await openid.discovery(new URL(url), "keyed", undefined, openid.PrivateKeyJwt(key), options);
    const form = { assertion: await newGrant(), device_name: "A server" };
    const { access_token } = await openid.genericGrantRequest(client, JWT_BEARER, form);
    expect(await openid.tokenIntrospection(client, access_token)).toMatchObject({ active: true, client_id: "keyed" });
  });
});

describe("the token endpoint", () => {
  it.each([
    ["no grant type", { client_id: "continuo" }, 400, "invalid_request", "PARAMETER_MISSING"],
    [
      "a grant type it does not know",
      { client_id: "continuo", grant_type: "password" },
      400,
      "unsupported_grant_type",
      "GRANT_TYPE_UNSUPPORTED",
    ],
    ["no client", { grant_type: "refresh_token" }, 400, "invalid_client", "CLIENT_INVALID"],
    [
      "an unknown client",
      { grant_type: "refresh_token", client_id: "nobody" },
      400,
      "invalid_client",
      "CLIENT_INVALID",
    ],
    [
      "a confidential client without its secret",
      { grant_type: "refresh_token", client_id: "other" },
      400,
      "invalid_client",
      "CLIENT_INVALID",
    ],
    [
      "nothing signed by a client that has keys",
      { grant_type: "refresh_token", client_id: "keyed" },
      400,
      "invalid_client",
      "CLIENT_INVALID",
    ],
    [
      "two kinds of authentication",
      { client_id: "keyed", client_secret: "x", client_assertion: "a", client_assertion_type: ASSERTION_TYPE },
      400,
      "invalid_request",
      "CLIENT_AUTHENTICATION_AMBIGUOUS",
    ],
    [
      "a secret from a client that has none",
      { grant_type: "refresh_token", client_id: "continuo", client_secret: "x" },
      400,
      "invalid_client",
      "CLIENT_INVALID",
    ],
    [
      "no refresh token",
      { grant_type: "refresh_token", client_id: "continuo" },
      400,
      "invalid_request",
      "PARAMETER_MISSING",
    ],
    [
      "junk for a refresh token",
      { grant_type: "refresh_token", client_id: "continuo", refresh_token: "junk" },
      400,
      "invalid_grant",
      "REFRESH_TOKEN_INVALID",
    ],
    [
      "junk for an assertion",
      { grant_type: JWT_BEARER, client_id: "continuo", assertion: "junk", device_name: "x" },
      400,
      "invalid_grant",
      "GRANT_INVALID",
    ],
    [
      "a parameter twice",
      "client_id=continuo&client_id=continuo&grant_type=refresh_token",
      400,
      "invalid_request",
      "PARAMETER_REPEATED",
    ],
    ["nothing", "", 400, "invalid_client", "CLIENT_INVALID"],
    ["more than it reads", `a=${"b".repeat(20_000)}`, 400, "invalid_request", "REQUEST_INVALID"],
  ])("given %s, says so as RFC 6749 section 5.2 has it", async (_what, form, status, error, reason) => {
    const answer = await post("/oauth/token", form);
    expect(answer).toMatchObject({ status, body: refused(error, reason) });
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("content-type")).toMatch(/^application\/json/);
  });

  it("challenges a client that tried Basic authentication in vain, and no other", async () => {
    const answer = await post("/oauth/token", { grant_type: "refresh_token" }, basic("other", "wrong"));
    expect(answer).toMatchObject({ status: 401, body: refused("invalid_client", "CLIENT_INVALID") });
    expect(answer.headers.get("www-authenticate")).toBe('Basic realm="oauth"');
    const without = await post("/oauth/token", {
      grant_type: "refresh_token",
      client_id: "other",
      client_secret: "wrong",
    });
    expect(without.headers.get("www-authenticate")).toBeNull();
  });

  it("takes an empty secret for none: right for a public client, and wrong for another", async () => {
    const form = { grant_type: "refresh_token", refresh_token: "junk" };
    expect(await post("/oauth/token", form, basic("continuo", ""))).toMatchObject({
      body: refused("invalid_grant", "REFRESH_TOKEN_INVALID"),
    });
    expect(await post("/oauth/token", form, basic("other", ""))).toMatchObject({
      status: 401,
      body: refused("invalid_client", "CLIENT_INVALID"),
    });
  });

  it("takes no token that was given to another client, and leaves it as it is", async () => {
    const { refresh_token } = await start();
    const form = { grant_type: "refresh_token", refresh_token: String(refresh_token) };
    expect(await post("/oauth/token", form, basic("other", OTHER_SECRET))).toMatchObject({
      status: 400,
      body: refused("invalid_grant", "TOKEN_NOT_YOURS"),
    });
    expect((await refresh(String(refresh_token))).access_token).toBeTypeOf("string");
  });

  it("asks for its nonce with status 400, and refuses a proof that is none", async () => {
    const form = { grant_type: "refresh_token", client_id: "continuo", refresh_token: "junk" };
    const answer = await post("/oauth/token", form, { dpop: "junk" });
    expect(answer).toMatchObject({ status: 400, body: refused("invalid_dpop_proof", "DPOP_PROOF_INVALID") });
    expect(answer.headers.get("dpop-nonce")).toBeTypeOf("string");
    const options = { DPoP: oauth.DPoP(app, await oauth.generateKeyPair("ES256")), ...loopback };
    const response = await oauth.refreshTokenGrantRequest(as, app, oauth.None(), "junk", options);
    expect([response.status, await response.json()]).toEqual([400, refused("use_dpop_nonce", "DPOP_NONCE_REQUIRED")]);
  });

  it("reads forms alone, and lets browsers of allowed origins ask", async () => {
    expect(await post("/oauth/token", "{}", { "content-type": "application/json" })).toMatchObject({
      status: 400,
      body: refused("invalid_request", "REQUEST_INVALID"),
    });
    const origin = "https://app.example.com";
    const preflight = await fetch(`${url}/oauth/token`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "dpop" },
    });
    expect(preflight.headers.get("access-control-allow-origin")).toBe(origin);
    expect(preflight.headers.get("access-control-allow-headers")).toContain("dpop");
  });
});

it("what the endpoints ask of session is nobody's to ask by GraphQL", async () => {
  const query = `mutation { answerOAuth(endpoint: TOKEN, form: "client_id=continuo") { status } }`;
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query }),
  });
  expect(await response.json()).toMatchObject({ errors: [{ extensions: { reason: "DOCUMENT_INVALID" } }] });
});

it("a confidential client gets nothing by GraphQL, where none authenticates, and its session lives on", async () => {
  const signed = oauth.PrivateKeyJwt(key);
  const graphql = async (query: string, variables: object): Promise<unknown> => {
    const response = await fetch(`${url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ query, variables }),
    });
    return response.json();
  };
  const refusal = { errors: [{ extensions: { code: "UNAUTHENTICATED", reason: "CLIENT_INVALID" } }] };
  const grant = await newGrant();
  const input = { grant, applicationId: "keyed", device: { name: "A thief's", platform: "OTHER" } };
  const START = "mutation ($input: StartSessionInput!) { startSession(input: $input) { accessToken } }";
  expect(await graphql(START, { input })).toMatchObject(refusal);

  const form = { assertion: grant, device_name: "A server" };
  const began = await oauth.genericTokenEndpointRequest(as, keyed, signed, JWT_BEARER, form, loopback);
  const first = String((await oauth.processGenericTokenEndpointResponse(as, keyed, began)).refresh_token);
  const renew = async (token: string): Promise<string> => {
    const response = await oauth.refreshTokenGrantRequest(as, keyed, signed, token, loopback);
    return String((await oauth.processRefreshTokenResponse(as, keyed, response)).refresh_token);
  };
  const REFRESH = "mutation ($token: String!) { refreshSession(refreshToken: $token) { accessToken } }";
  expect(await graphql(REFRESH, { token: first })).toMatchObject(refusal);
  const second = await renew(first);
  const third = await renew(second);
  // Superseded twice: replaying a copy of it without the client's key cannot end the session either.
  expect(await graphql(REFRESH, { token: first })).toMatchObject(refusal);
  expect(await renew(third)).toBeTypeOf("string");
});

it("a fault of ours is told as one, under a request id, and nothing of what it was", async () => {
  const { access_token } = await start();
  await admin.query(`
    CREATE FUNCTION refuse_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a cause'; END $$;
    CREATE TRIGGER refuse_event BEFORE INSERT ON session.auth_events FOR EACH ROW EXECUTE FUNCTION refuse_event()`);
  const revoked = await post("/oauth/revoke", { client_id: "continuo", token: access_token });
  await admin.query("DROP FUNCTION refuse_event CASCADE");
  expect(revoked).toMatchObject({
    status: 500,
    body: { error: "server_error", error_description: "UNEXPECTED: Something went wrong on our side." },
  });
  expect(revoked.headers.get("x-request-id")).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(await introspect(access_token)).toMatchObject({ active: true });
});

describe("revocation", () => {
  it("answers 200 to what it does not know (RFC 7009 section 2.2), and to a wrong hint", async () => {
    expect(await post("/oauth/revoke", { client_id: "continuo", token: "junk" })).toMatchObject({
      status: 200,
      body: undefined,
    });
    const { access_token } = await start();
    const form = { client_id: "continuo", token: access_token, token_type_hint: "refresh_token" };
    expect((await post("/oauth/revoke", form)).status).toBe(200);
    expect(await introspect(access_token)).toEqual({ active: false });
  });

  it("is refused without a token, to an unknown client, and to one whose token it is not", async () => {
    const { access_token, refresh_token } = await start();
    expect((await post("/oauth/revoke", { client_id: "continuo" })).body).toMatchObject({ error: "invalid_request" });
    expect((await post("/oauth/revoke", { client_id: "nobody", token: access_token })).body).toMatchObject({
      error: "invalid_client",
    });
    for (const token of [access_token, String(refresh_token)])
      expect(await post("/oauth/revoke", { token }, basic("other", OTHER_SECRET))).toMatchObject({
        status: 400,
        body: refused("invalid_grant", "TOKEN_NOT_YOURS"),
      });
    expect(await introspect(access_token)).toMatchObject({ active: true });
  });

  it("ends nothing for a refresh token whose grant has another salt, though its HMAC is right", async () => {
    const { access_token, refresh_token } = await start();
    const { sid } = await introspect(access_token);
    await admin.query("UPDATE session.grants SET salt = $2 WHERE session_id = $1", [sid, Buffer.alloc(16)]);
    await revoke(String(refresh_token));
    expect(await introspect(access_token)).toMatchObject({ active: true });
  });
});

describe("introspection", () => {
  it("is refused to a public client, and to one that may not ask", async () => {
    const { access_token: token } = await start();
    expect((await post("/oauth/introspect", { client_id: "continuo", token })).body).toMatchObject({
      error: "unauthorized_client",
    });
    expect((await post("/oauth/introspect", { token }, basic("other", OTHER_SECRET))).body).toMatchObject({
      error: "unauthorized_client",
    });
  });

  it("is refused with status 401 to whoever does not authenticate, in whichever way (RFC 7662 section 2.3)", async () => {
    const wrong = { client_id: "resource", client_secret: "wrong", token: "junk" };
    for (const answer of [
      await post("/oauth/introspect", { token: "junk" }, basic("resource", "wrong")),
      await post("/oauth/introspect", wrong),
      await post("/oauth/introspect", { token: "junk" }),
    ]) {
      expect(answer).toMatchObject({ status: 401, body: refused("invalid_client", "CLIENT_INVALID") });
      expect(answer.headers.get("www-authenticate")).toBe('Basic realm="oauth"');
    }
  });

  it("says of an access token from before a step-up that it is not active, as the gateway does", async () => {
    const sub = randomUUID();
    const assertion = await newGrant({ sub });
    const form = { client_id: "continuo", grant_type: JWT_BEARER, assertion, device_name: "A terminal" };
    const started = Tokens.parse((await post("/oauth/token", form)).body);
    const query = "mutation ($input: StepUpInput!) { stepUp(input: $input) { accessToken } }";
    const input = {
      grant: await newGrant({ sub, acr: "aal2", amr: ["pwd", "otp"] }),
      refreshToken: started.refresh_token,
    };
    const response = await fetch(`${url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ query, variables: { input } }),
    });
    const { data } = SteppedUp.parse(await response.json());
    expect(await introspect(started.access_token)).toEqual({ active: false });
    expect(await introspect(data.stepUp.accessToken)).toMatchObject({ active: true, acr: "aal2" });
  });

  it("says of tokens of a session whose time is over that they are not active, though no worker has said so", async () => {
    const { access_token, refresh_token } = await start();
    const tokens = [access_token, String(refresh_token)];
    const { sid } = await introspect(access_token);
    const { rows } = await admin.query(
      "SELECT floor(extract(epoch FROM least(idle_deadline, absolute_deadline)))::int AS exp FROM session.sessions WHERE id = $1",
      [sid],
    );
    expect(await introspect(String(refresh_token))).toMatchObject({ exp: rows[0]?.exp });
    await admin.query("UPDATE session.sessions SET idle_deadline = now() WHERE id = $1", [sid]);
    for (const token of tokens) expect(await introspect(token)).toEqual({ active: false });
  });

  it("says of what is not good that it is not active, and nothing more (RFC 7662 section 2.2)", async () => {
    const { access_token, refresh_token } = await start();
    const used = String(refresh_token);
    const next = await refresh(used);
    // A used token may be sent again until its successor is used, in case the response was lost.
    expect(await introspect(used)).toMatchObject({ active: true });
    await refresh(String(next.refresh_token));
    const tampered = `${access_token.slice(0, -8)}AAAAAAAA`;
    for (const token of ["junk", tampered, used]) expect(await introspect(token)).toEqual({ active: false });
    // Introspecting a used token does not count as using it again.
    expect(await introspect(access_token)).toMatchObject({ active: true });
  });
});
