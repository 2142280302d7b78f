/** Gateway and session log every refusal: which case, under the request id that the client got, and without secrets. */
import { sendLogsTo } from "@continuo/process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { request, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { startSessionBehindGateway, type SessionBehindGateway } from "./session-behind-gateway.ts";

const stack = new AsyncDisposableStack();
let door: SessionBehindGateway;
let file: string;
beforeAll(async () => {
  const folder = stack.adopt(await mkdtemp(join(tmpdir(), "continuo-refusals-")), (path) =>
    rm(path, { recursive: true }),
  );
  file = join(folder, "log");
  sendLogsTo(file);
  door = stack.use(await startSessionBehindGateway({ logLevel: "trace" }));
});
afterAll(() => stack.disposeAsync());

const START = "mutation ($input: StartSessionInput!) { startSession(input: $input) { accessToken refreshToken } }";
const REFRESH = "mutation ($token: String!) { refreshSession(refreshToken: $token) { accessToken refreshToken } }";
const SESSION = "{ viewer { session { id } } }";
const ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const PROTOCOL = "graphql-transport-ws";
const Tokens = z.object({ accessToken: z.string(), refreshToken: z.string() });
const Known = z.object({ data: z.object({ viewer: z.object({ session: z.object({ id: z.uuid() }) }) }) });
const Line = z.looseObject({ name: z.string(), msg: z.string() });

/** Everything sent that must not be logged. */
const secrets = new Set<string>();
const secret = (text: string): string => {
  secrets.add(text);
  return text;
};
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${secret(token)}` });

const send = (path: string, init: RequestInit = {}): Promise<Response> => fetch(door.url + path, init);
const graphql = (query: string, variables: object = {}, headers: Record<string, string> = {}): Promise<Response> =>
  send("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ query, variables }),
  });
const form = (path: string, fields: Record<string, string>, headers: Record<string, string> = {}): Promise<Response> =>
  send(path, { method: "POST", body: new URLSearchParams(fields), headers });
const start = (grant: string): Promise<Response> =>
  graphql(START, { input: { grant, applicationId: "continuo", device: { name: "A phone", platform: "PHONE" } } });

async function signIn(): Promise<z.infer<typeof Tokens>> {
  const response = await start(secret(await door.grant()));
  const { data } = z.object({ data: z.object({ startSession: Tokens }) }).parse(await response.json());
  for (const token of Object.values(data.startSession)) secret(token);
  return data.startSession;
}

/** Requests a WebSocket like a client that reads the response headers. `stream` is open if the upgrade succeeded. */
async function upgrade(
  path: string,
  headers: Record<string, string>,
): Promise<{ status: number; requestId: string; stream?: Duplex }> {
  const handshake = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" };
  const key = { "sec-websocket-key": randomBytes(16).toString("base64"), "sec-websocket-protocol": PROTOCOL };
  const asked = request(door.url + path, { headers: { ...handshake, ...key, ...headers } }).end();
  const answered = Promise.withResolvers<{ status: number; requestId: string; stream?: Duplex }>();
  const said = ({ statusCode = 0, headers: got }: IncomingMessage): { status: number; requestId: string } => ({
    status: statusCode,
    requestId: String(got["x-request-id"]),
  });
  asked.once("response", (response) => answered.resolve(said(response.resume())));
  asked.once("upgrade", (response, stream) => answered.resolve({ ...said(response), stream }));
  asked.once("error", answered.reject);
  return answered.promise;
}

/** A text frame of a client (RFC 6455 section 5.2), masked with zeros; up to 125 bytes. */
const masked = (text: string): Buffer => Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0, ...Buffer.from(text)]);

/** What was logged as refused for a request id. */
const refusals = (requestId: string | null): unknown[] =>
  readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => Line.parse(JSON.parse(line)))
    .filter((line) => line["requestId"] === requestId && line["reason"] !== undefined)
    .map(({ name, code, reason }) => `${name}: ${String(code)} ${String(reason)}`);

const REFUSED: [string, () => Promise<Response>, string][] = [
  ["nobody", () => send("/auth/check"), "UNAUTHENTICATED SIGN_IN_REQUIRED"],
  ["junk for a token", () => graphql(SESSION, {}, bearer("junk-for-a-token")), "UNAUTHENTICATED TOKEN_INVALID"],
  [
    "a token that was tampered with",
    async () => graphql(SESSION, {}, bearer(`${(await signIn()).accessToken.slice(0, -8)}AAAAAAAA`)),
    "UNAUTHENTICATED TOKEN_INVALID",
  ],
  [
    "a session that has ended",
    async () => {
      const { accessToken } = await signIn();
      await graphql("mutation { signOut { receipt { seq } } }", {}, bearer(accessToken));
      return graphql(SESSION, {}, bearer(accessToken));
    },
    "UNAUTHENTICATED SESSION_ENDED",
  ],
  [
    "a device of nobody's",
    async () =>
      graphql(
        `mutation { signOutDevice(id: "${randomUUID()}") { receipt { seq } } }`,
        {},
        bearer((await signIn()).accessToken),
      ),
    "NOT_FOUND DEVICE_NOT_FOUND",
  ],
  ["a forged grant", () => start(secret("forged-grant")), "UNAUTHENTICATED GRANT_INVALID"],
  [
    "a grant that was used",
    async () => {
      const grant = secret(await door.grant());
      await start(grant);
      return start(grant);
    },
    "UNAUTHENTICATED GRANT_USED",
  ],
  [
    "a refresh token that was used",
    async () => {
      const first = (await signIn()).refreshToken;
      let token = first;
      for (let turn = 0; turn < 2; turn += 1) {
        const { data } = z
          .object({ data: z.object({ refreshSession: Tokens }) })
          .parse(await (await graphql(REFRESH, { token })).json());
        token = secret(data.refreshSession.refreshToken);
        secret(data.refreshSession.accessToken);
      }
      return graphql(REFRESH, { token: first });
    },
    "UNAUTHENTICATED REFRESH_TOKEN_REUSED",
  ],
  [
    "a proof that is none",
    () => graphql(SESSION, {}, { dpop: secret("proof-that-is-none") }),
    "UNAUTHENTICATED DPOP_PROOF_INVALID",
  ],
  ["a field that is not there", () => graphql("{ nothing }"), "BAD_USER_INPUT DOCUMENT_INVALID"],
  ["a path that is not there", () => send("/nothing"), "NOT_FOUND ROUTE_UNKNOWN"],
  [
    "a stream for nobody",
    () => send("/graphql/stream?query={me{id}}", { headers: { accept: "text/event-stream" } }),
    "UNAUTHENTICATED SIGN_IN_REQUIRED",
  ],
  [
    "a client that shows a wrong secret",
    () =>
      form("/oauth/token", {
        client_id: "bff",
        client_secret: secret("wrong-client-secret"),
        grant_type: "refresh_token",
      }),
    "UNAUTHENTICATED CLIENT_INVALID",
  ],
  [
    "a client that shows an assertion of nobody's",
    () => form("/oauth/token", { client_assertion: secret("assertion.of.nobody"), client_assertion_type: ASSERTION }),
    "UNAUTHENTICATED CLIENT_INVALID",
  ],
  [
    "junk for a refresh token",
    () =>
      form("/oauth/token", {
        client_id: "continuo",
        grant_type: "refresh_token",
        refresh_token: secret("junk-refresh"),
      }),
    "UNAUTHENTICATED REFRESH_TOKEN_INVALID",
  ],
  [
    "a proof that is none, of an OAuth client",
    () =>
      form("/oauth/token", { client_id: "continuo", grant_type: "refresh_token" }, { dpop: secret("no-oauth-proof") }),
    "UNAUTHENTICATED DPOP_PROOF_INVALID",
  ],
];

describe("a refusal", () => {
  it.each(REFUSED)(
    "leaves a line with its code, its reason and its request id, and no token: %s",
    async (_what, attempt, refusal) => {
      const response = await attempt();
      const lines = refusals(response.headers.get("x-request-id"));
      expect(lines).toEqual(
        expect.arrayContaining([expect.stringMatching(new RegExp(`^(gateway|session): ${refusal}$`))]),
      );
      expect(lines.filter((line) => !String(line).endsWith(refusal))).toEqual([]);
      const log = readFileSync(file, "utf8");
      expect([...secrets].filter((text) => log.includes(text))).toEqual([]);
    },
  );

  it.each([
    ["a page of elsewhere", "/graphql", { origin: "https://evil.example.com" }, 403, "FORBIDDEN ORIGIN_NOT_ALLOWED"],
    ["a path that has no socket", "/elsewhere", {}, 404, "NOT_FOUND ROUTE_UNKNOWN"],
  ])(
    "of a socket leaves one too, under the id that its client gave or got: %s",
    async (_what, path, more, status, why) => {
      const requestId = randomUUID();
      const answers = [await upgrade(path, more), await upgrade(path, { ...more, "x-request-id": requestId })];
      expect(answers).toMatchObject([
        { status, requestId: expect.stringMatching(/^[\w-]{36}$/) },
        { status, requestId },
      ]);
      for (const answer of answers) expect(refusals(answer.requestId)).toEqual([`gateway: ${why}`]);
    },
  );

  it("of a token on an open socket leaves one, under the id of the request that opened it", async () => {
    const requestId = randomUUID();
    const answer = await upgrade("/graphql", { "x-request-id": requestId });
    expect(answer).toMatchObject({ status: 101, requestId });
    const payload = { authorization: `Bearer ${secret("junk-on-a-socket")}` };
    answer.stream?.write(masked(JSON.stringify({ type: "connection_init", payload })));
    // The close frame.
    if (answer.stream) await once(answer.stream, "data");
    answer.stream?.destroy();
    expect(refusals(requestId)).toEqual(["gateway: UNAUTHENTICATED TOKEN_INVALID"]);
    expect(readFileSync(file, "utf8")).not.toContain("junk-on-a-socket");
  });

  it("of a client says to us what it does not say to the client", async () => {
    const response = await form("/oauth/token", { client_id: "continuo", client_secret: secret("needless") });
    expect(await response.text()).not.toContain("shows one");
    const requestId = response.headers.get("x-request-id");
    const lines = readFileSync(file, "utf8").trim().split("\n");
    const found = lines.map((line) => Line.parse(JSON.parse(line))).filter((line) => line["requestId"] === requestId);
    expect(found).toContainEqual(expect.objectContaining({ name: "session", why: "it has no secret, and shows one" }));
  });

  it("of somebody who is signed in leads to the session", async () => {
    const token = (await signIn()).accessToken;
    const response = await graphql('mutation { undoSignOut(seq: "999") { devices { id } } }', {}, bearer(token));
    const requestId = response.headers.get("x-request-id");
    const lines = readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => Line.parse(JSON.parse(line)));
    const known = Known.parse(await (await graphql(SESSION, {}, bearer(token))).json());
    expect(lines).toContainEqual(
      expect.objectContaining({ name: "gateway", requestId, msg: "refused", sessionId: known.data.viewer.session.id }),
    );
  });
});
