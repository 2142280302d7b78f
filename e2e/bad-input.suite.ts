import { createGrantSigner, createIdentitySigner, generateKey, IDENTITY_HEADER } from "@continuo/access";
import { createSecretKey, randomUUID } from "node:crypto";
import { decodeJwt, decodeProtectedHeader, importJWK, SignJWT, UnsecuredJWT } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { createDevice, type Device, type Person, signUp } from "./device.ts";
import { ask, eventually, refusal } from "./graph-client.ts";
import { ME, PULL, PUSH, REFRESH, SIGN_IN, SIGN_OUT_DEVICE, START_SESSION, STATE_CHANGES } from "./operations.ts";
import type { System } from "./system.ts";

const Refusal = z.object({
  errors: z
    .array(
      z.object({
        message: z.string(),
        extensions: z.object({ code: z.string(), reason: z.string(), requestId: z.string() }),
      }),
    )
    .min(1),
});

/** Sends what no client would; returns the response as `status code reason`, after checking that it holds nothing else. */
async function send(url: string, body: string, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
  const text = await response.text();
  expect(text).not.toMatch(/\bat \S+ \(|node_modules|\.[jt]s:\d|stacktrace|SELECT|prisma/i);
  const [error] = Refusal.parse(JSON.parse(text)).errors;
  return `${response.status} ${error?.extensions.code} ${error?.extensions.reason}`;
}

const graphql = (query: string, variables: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({ query, variables });
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

/** Registers the tests for a system that is running by the time they run. */
export function describeBadInput(running: () => System): void {
  let system: System;
  let gateway: string;
  let person: Person;
  let phone: Device;
  let stranger: Device;

  beforeAll(async () => {
    system = running();
    gateway = system.urls[0];
    person = await signUp(gateway);
    phone = createDevice({ gateway, name: "Phone", platform: "PHONE" });
    await phone.signIn(person);
    await phone.pull();
    stranger = createDevice({ gateway, name: "Stranger", platform: "OTHER" });
    await stranger.signIn(await signUp(gateway));
    await stranger.pull();
  });

  describe("a request that does not parse", () => {
    test.each([
      ["a body that is not JSON", "{", "400 BAD_USER_INPUT REQUEST_INVALID"],
      ["a document that is not GraphQL", graphql("{ me"), "400 BAD_USER_INPUT DOCUMENT_INVALID"],
      ["a field that does not exist", graphql("{ me { shoeSize } }"), "400 BAD_USER_INPUT DOCUMENT_INVALID"],
      [
        "an argument that does not exist",
        graphql("{ pullState(upTo: 3) { to } }"),
        "400 BAD_USER_INPUT DOCUMENT_INVALID",
      ],
      [
        "an operation that is not there",
        JSON.stringify({ query: "query A { me { id } }", operationName: "B" }),
        "400 BAD_USER_INPUT OPERATION_UNKNOWN",
      ],
      [
        "a variable of the wrong type",
        graphql("mutation ($token: String!) { refreshSession(refreshToken: $token) { expiresIn } }", { token: 1 }),
        "400 BAD_USER_INPUT VARIABLES_INVALID",
      ],
      [
        "a body of 2 MiB",
        graphql("{ me { id } }", { filler: "x".repeat(2 * 1024 * 1024) }),
        "413 BAD_USER_INPUT BODY_TOO_LARGE",
      ],
    ])("%s", async (_what, body, expected) => {
      expect(await send(`${gateway}/graphql`, body)).toBe(expected);
    });

    test("a subscription over HTTP, an introspection in production and an unknown path", async () => {
      expect(await send(`${gateway}/graphql`, graphql("{ __schema { types { name } } }"))).toMatch(
        /^400 BAD_USER_INPUT/,
      );
      expect(
        await send(`${gateway}/graphql`, graphql("subscription { stateChanges { to } }"), bearer(phone.accessToken)),
      ).toMatch(/BAD_USER_INPUT/);
      expect(await send(`${gateway}/admin`, "{}")).toBe("404 NOT_FOUND ROUTE_UNKNOWN");
    });
  });

  describe("input that parses and is not allowed", () => {
    const refused = async (question: Promise<unknown>): Promise<string> => {
      const { code, reason } = await refusal(question);
      return `${code} ${reason}`;
    };

    test("more than a push may hold", async () => {
      const op = {
        seq: 1,
        namespace: "notes",
        key: "k",
        field: "body",
        payload: { type: "SET", value: 1 },
        baseRev: 0,
        stamp: { ms: 0, counter: 0 },
      };
      const input = {
        clientId: randomUUID(),
        epoch: randomUUID(),
        clientNow: 0,
        baseRev: 0,
        ops: Array.from({ length: 101 }, () => op),
      };
      expect(await refused(phone.ask(PUSH, { input }))).toMatch(/^BAD_USER_INPUT/);
    });

    test("a forged cursor, and one of somebody else", async () => {
      expect(await refused(phone.ask(PULL, { since: "forged" }))).toBe("BAD_USER_INPUT CURSOR_INVALID");
      expect(await refused(phone.ask(PULL, { since: stranger.cursor }))).toBe("BAD_USER_INPUT CURSOR_INVALID");
    });

    test("somebody else's device does not exist, like one that never was", async () => {
      expect(await refused(phone.ask(SIGN_OUT_DEVICE, { id: stranger.id }))).toBe("NOT_FOUND DEVICE_NOT_FOUND");
      expect(await refused(phone.ask(SIGN_OUT_DEVICE, { id: randomUUID() }))).toBe("NOT_FOUND DEVICE_NOT_FOUND");
    });

    test("a wrong password and an unknown address get the same answer", async () => {
      expect(await refused(ask(gateway, SIGN_IN, { input: { ...person, password: "not the right password" } }))).toBe(
        "UNAUTHENTICATED CREDENTIALS_INVALID",
      );
      expect(await refused(ask(gateway, SIGN_IN, { input: { ...person, email: "nobody@example.com" } }))).toBe(
        "UNAUTHENTICATED CREDENTIALS_INVALID",
      );
    });

    test("a grant that was used, one that is forged, and an application that does not exist", async () => {
      const device = { name: "Thief", platform: "OTHER" };
      const { signInWithPassword } = await ask(gateway, SIGN_IN, { input: person });
      const start = (grant: string, applicationId = "continuo"): Promise<unknown> =>
        ask(gateway, START_SESSION, { input: { grant, applicationId, device } });
      expect(await refused(start(signInWithPassword.grant, "nothing"))).toBe("NOT_FOUND APPLICATION_NOT_FOUND");
      await start(signInWithPassword.grant);
      expect(await refused(start(signInWithPassword.grant))).toBe("UNAUTHENTICATED GRANT_USED");
      const { privateJwk } = await generateKey("Ed25519");
      const claims = { jti: randomUUID(), sub: randomUUID(), acr: "aal1", amr: ["pwd"], auth_time: 0 };
      const forged = await createGrantSigner({ ...privateJwk, kid: system.keys.grant.publicJwk.kid }).sign(
        claims,
        new Date(),
      );
      expect(await refused(start(forged))).toBe("UNAUTHENTICATED GRANT_INVALID");
      expect(await refused(start("junk"))).toBe("UNAUTHENTICATED GRANT_INVALID");
    });

    test("a refresh token that is junk, cut short, or an access token", async () => {
      for (const token of ["junk", phone.refreshToken.slice(0, -3)])
        expect(await refused(ask(gateway, REFRESH, { token }))).toBe("UNAUTHENTICATED REFRESH_TOKEN_INVALID");
      expect(await refused(ask(gateway, REFRESH, { token: phone.accessToken }))).toMatch(/_INVALID$/);
    });
  });

  describe("an access token that is not good", () => {
    const present = (token: string): Promise<string> =>
      send(`${gateway}/graphql`, graphql("{ me { id } }"), bearer(token));

    test("is told apart from none at all", async () => {
      expect((await ask(gateway, ME)).me).toBeNull();
      expect(await present("junk")).toBe("401 UNAUTHENTICATED TOKEN_INVALID");
      expect(await send(`${gateway}/graphql`, graphql("{ me { id } }"), { authorization: "Basic YTpi" })).toBe(
        "401 UNAUTHENTICATED TOKEN_INVALID",
      );
    });

    test("says so in the header that RFC 6750 names", async () => {
      const response = await fetch(`${gateway}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", ...bearer("junk") },
        body: graphql("{ me { id } }"),
      });
      expect(response.headers.get("www-authenticate")).toMatch(/^Bearer .*error="invalid_token"/);
    });

    test("forged: signed by another key under the real key's name, with the public key as a secret, or not at all", async () => {
      const claims = decodeJwt(phone.accessToken);
      const header = decodeProtectedHeader(phone.accessToken);
      const { privateJwk, publicJwk } = await generateKey("ES256");
      const otherKey = await new SignJWT(claims)
        .setProtectedHeader({ ...header, alg: "ES256" })
        .sign(await importJWK(privateJwk, "ES256"));
      const publicAsSecret = await new SignJWT(claims)
        .setProtectedHeader({ ...header, alg: "HS256" })
        .sign(createSecretKey(Buffer.from(JSON.stringify(publicJwk))));
      const [head = "", body = "", signature = ""] = phone.accessToken.split(".");
      const promoted = Buffer.from(JSON.stringify({ ...claims, sub: randomUUID() })).toString("base64url");
      for (const token of [
        otherKey,
        publicAsSecret,
        new UnsecuredJWT(claims).encode(),
        `${head}.${promoted}.${signature}`,
        `${head}.${body}.`,
      ])
        expect(await present(token)).toBe("401 UNAUTHENTICATED TOKEN_INVALID");
    });

    test("foreign: a sign-in grant, the gateway's own statement, a refresh token", async () => {
      const { signInWithPassword } = await ask(gateway, SIGN_IN, { input: person });
      const statement = await createIdentitySigner(system.keys.gateway.privateJwk).sign({ kind: "anonymous" });
      for (const token of [signInWithPassword.grant, statement, phone.refreshToken])
        expect(await present(token)).toBe("401 UNAUTHENTICATED TOKEN_INVALID");
    });

    test("expired: the strict application's tokens live for seconds", async () => {
      const bank = createDevice({ gateway, name: "Phone", platform: "PHONE" });
      await bank.signIn(person, "bank");
      const answer = await eventually(
        "expiry",
        () =>
          bank.ask(ME).then(
            () => "answered",
            ({ reason, status }) => `${status} ${reason}`,
          ),
        (text) => text !== "answered",
      );
      expect(["401 TOKEN_EXPIRED", "401 SESSION_ENDED"]).toContain(answer);
    });

    test("revoked: the device was signed out, over HTTP and on a new socket", async () => {
      const lost = createDevice({ gateway, name: "Lost", platform: "PHONE" });
      await lost.signIn(person);
      await phone.ask(SIGN_OUT_DEVICE, { id: lost.id });
      await eventually(
        "refusal",
        () => present(lost.accessToken).catch(() => "answered"),
        (text) => text === "401 UNAUTHENTICATED SESSION_ENDED",
      );
      await using live = lost.goLive();
      live.watch(STATE_CHANGES);
      expect(await live.closed).toMatchObject({ code: 4403, reason: "SESSION_ENDED: SIGNED_OUT_REMOTELY" });
    });
  });

  describe("a subgraph called past the gateway", () => {
    const everySubgraph = (): string[] =>
      Object.values(system.subgraphs).flatMap((processes) => processes.map(({ url }) => url));
    const question = graphql("{ __typename }");

    test("refuses whoever has no statement of the gateway, a public token, or a forged statement", async () => {
      const { privateJwk } = await generateKey("Ed25519");
      const forged = await createIdentitySigner({ ...privateJwk, kid: system.keys.gateway.publicJwk.kid }).sign({
        kind: "anonymous",
      });
      for (const url of everySubgraph())
        for (const headers of [
          {},
          bearer(phone.accessToken),
          { [IDENTITY_HEADER]: phone.accessToken },
          { [IDENTITY_HEADER]: forged },
        ])
          expect(await send(`${url}/graphql`, question, headers)).toBe(
            "401 UNAUTHENTICATED INTERNAL_IDENTITY_REQUIRED",
          );
    });

    test("keeps its internal routes for the gateway itself: no person may use them", async () => {
      const { sub, sid, did } = z
        .looseObject({ sub: z.string(), sid: z.string(), did: z.string() })
        .parse(decodeJwt(phone.accessToken));
      const viewer = {
        userId: sub,
        sessionId: sid,
        deviceId: did,
        applicationId: "continuo",
        acr: "aal1",
        amr: ["pwd"],
        authTime: 0,
      };
      const statement = await createIdentitySigner(system.keys.gateway.privateJwk).sign({ kind: "viewer", viewer });
      for (const { url } of system.subgraphs.session)
        for (const path of ["revocations", "activity"]) {
          expect(await send(`${url}/internal/${path}`, "{}")).toBe("401 UNAUTHENTICATED INTERNAL_IDENTITY_REQUIRED");
          expect(await send(`${url}/internal/${path}`, "{}", { [IDENTITY_HEADER]: statement })).toMatch(
            /^403 FORBIDDEN/,
          );
        }
    });
  });

  test("an operation at fault on a socket leaves the others on it alone", async () => {
    await using live = phone.goLive();
    const good = live.watch(STATE_CHANGES);
    await good.until("the first batch", () => true);
    const bad = live.watch({ text: "subscription { stateChanges { shoeSize } }", data: z.unknown() });
    await expect(bad.until("a refusal", () => true)).rejects.toThrow("DOCUMENT_INVALID");
    await phone.pull();
    phone.change("notes/alive/body", "yes");
    await phone.push();
    await good.until("the change", ({ stateChanges }) => stateChanges.entries.some(({ key }) => key === "alive"));
  });
}
