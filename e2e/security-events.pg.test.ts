/** A person exports their security events through the public endpoint; gateway and session over loopback. */
import { runOperator } from "@continuo/session/operator";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import * as oauth from "oauth4webapi";
import type { Pool } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { startSessionBehindGateway } from "./session-behind-gateway.ts";

const stack = new AsyncDisposableStack();
const userId = randomUUID();
let url: string;
let admin: Pool;
let folder: string;
/** A grant as identity would sign it for a user who signed in that many seconds ago. */
let grantOf: (secondsAgo: number) => Promise<string>;

beforeAll(async () => {
  folder = stack.adopt(await mkdtemp(join(tmpdir(), "continuo-export-")), (path) => rm(path, { recursive: true }));
  const door = stack.use(await startSessionBehindGateway());
  ({ url, admin } = door);
  grantOf = (secondsAgo) => door.grant({ sub: userId, auth_time: Math.floor(Date.now() / 1_000) - secondsAgo });
});
afterAll(() => stack.disposeAsync());

const Started = z.object({ data: z.object({ startSession: z.object({ accessToken: z.string() }) }) });

async function signIn(secondsAgo = 0): Promise<string> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      query: "mutation ($input: StartSessionInput!) { startSession(input: $input) { accessToken } }",
      variables: {
        input: {
          grant: await grantOf(secondsAgo),
          applicationId: "continuo",
          device: { name: "A terminal", platform: "DESKTOP" },
        },
      },
    }),
  });
  return Started.parse(await response.json()).data.startSession.accessToken;
}

const download = (token?: string): Promise<Response> =>
  fetch(`${url}/account/security-events`, { headers: token === undefined ? {} : { authorization: `Bearer ${token}` } });

/** `audit verify --file … --jwks …`, run without access to the database. */
async function verify(file: string): Promise<{ code: number; value: unknown }> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const argv = ["audit", "verify", "--file", file, "--jwks", `${url}/.well-known/jwks.json`, "--json"];
  const code = await runOperator(argv, { source: async () => ({}), streams: { stdin, stdout, stderr } });
  stdout.end();
  return { code, value: JSON.parse(await text(stdout)) };
}

it("a person's record of security events comes whole, however long it is, and proves itself offline", async () => {
  const token = await signIn();
  // 16 MB: more than any response held in memory may have.
  await admin.query(
    `INSERT INTO session.auth_events (user_id, at, type, detail)
     SELECT $1, now(), 'DEVICE_RENAMED', jsonb_build_object('name', repeat('a', 8000)) FROM generate_series(1, 2000)`,
    [userId],
  );
  const response = await download(token);
  expect([response.status, response.headers.get("content-type"), response.headers.get("content-disposition")]).toEqual([
    200,
    "application/x-ndjson",
    'attachment; filename="security-events.ndjson"',
  ]);
  const body = await response.text();
  const file = join(folder, "events.ndjson");
  await writeFile(file, body);
  expect(await verify(file)).toMatchObject({ code: 0, value: { userId, events: 2_001, intact: true } });
  await writeFile(file, body.replace("aaa", "aab"));
  expect(await verify(file)).toMatchObject({ code: 1, value: { intact: false, firstProblem: { seq: 2 } } });
});

it("whoever has not signed in is asked to, and whoever did so long ago is asked again", async () => {
  const stranger = await download();
  expect([stranger.status, await stranger.json()]).toEqual([
    401,
    { errors: [expect.objectContaining({ extensions: expect.objectContaining({ reason: "SIGN_IN_REQUIRED" }) })] },
  ]);
  const early = await download(await signIn(3_600));
  expect([early.status, early.headers.get("www-authenticate")]).toEqual([
    401,
    `Bearer error="insufficient_user_authentication", error_description="Sign in again to do this.", acr_values="aal1", max_age="300"`,
  ]);
  expect(await early.json()).toMatchObject({
    errors: [{ extensions: { code: "STEP_UP_REQUIRED", reason: "AUTHENTICATION_TOO_OLD", details: { maxAge: 300 } } }],
  });
});

it("the record of a session that is bound to a key is for whoever holds the key, and nobody else", async () => {
  const loopback = { [oauth.allowInsecureRequests]: true };
  const as = await oauth.processDiscoveryResponse(
    new URL(url),
    await oauth.discoveryRequest(new URL(url), { algorithm: "oauth2", ...loopback }),
  );
  const client: oauth.Client = { client_id: "continuo" };
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
  const start = async (): Promise<oauth.TokenEndpointResponse> => {
    const type = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    const form = { assertion: await grantOf(0), device_name: "A terminal" };
    const options = { DPoP, ...loopback };
    const response = await oauth.genericTokenEndpointRequest(as, client, oauth.None(), type, form, options);
    return oauth.processGenericTokenEndpointResponse(as, client, response);
  };
  const { access_token } = await start().catch((cause: unknown) => {
    if (oauth.isDPoPNonceError(cause)) return start();
    throw cause;
  });
  const address = new URL("/account/security-events", url);
  const take = (proofs: oauth.DPoPHandle): Promise<Response> =>
    oauth.protectedResourceRequest(access_token, "GET", address, undefined, undefined, { DPoP: proofs, ...loopback });

  const taken = await take(DPoP);
  expect([taken.status, taken.headers.get("content-type")]).toEqual([200, "application/x-ndjson"]);
  expect(await taken.text()).toContain("DEVICE_KEY_BOUND");
  const bearer = await download(access_token);
  expect([bearer.status, await bearer.json()]).toMatchObject([
    401,
    { errors: [{ extensions: { reason: "DPOP_REQUIRED" } }] },
  ]);
  const thief = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
  await expect(take(thief)).rejects.toMatchObject({ status: 401 });
});
