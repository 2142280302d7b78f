import { requestContextOf } from "@continuo/access";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Answer, createDpopClient, type DpopClient } from "./fixtures/dpop-client.ts";
import { type House, type Person, startHouse } from "./fixtures/house.ts";
import { exchange } from "./fixtures/socket-client.ts";

const PUBLIC_URL = "https://api.example.com";
const QUERY = `{ viewer { user { id } } }`;
const RENAME = (id: string): string => `mutation { renameDevice(id: "${id}", name: "Mine") { name } }`;
const SIGN_IN = `mutation { signInWithPassword(input: { email: "ada@example.com", password: "wrong password" }) { grant } }`;

describe("a caller whose session is bound to a key", () => {
  let house: House;
  let ada: Person;
  let phone: DpopClient;
  let token: string;
  beforeAll(async () => {
    house = await startHouse({ env: { PUBLIC_URL } });
  });
  afterAll(() => house[Symbol.asyncDispose]());
  beforeEach(async () => {
    house.replayCache.isDown = false;
    ada = house.join();
    phone = await createDpopClient(house.url, PUBLIC_URL);
    token = await house.token(ada, { jkt: phone.jkt });
    house.state.calls.length = 0;
  });

  /** Asks once, so that it has a nonce. */
  const acquaint = async (): Promise<void> => void (await phone.graphql(QUERY, token));

  it("reads with a proof by that key, and the subgraphs hear which key it was", async () => {
    const { status, headers, data } = await phone.graphql(QUERY, token);
    expect([status, data]).toEqual([200, { viewer: { user: { id: ada.userId } } }]);
    expect(headers.get("dpop-nonce")).toMatch(/^[\w-]{43}$/);
    expect(house.state.calls.map(({ caller }) => requestContextOf(caller).jkt)).toEqual([phone.jkt]);
  });

  it("is asked for a nonce by its first mutation, which succeeds with it and does nothing without", async () => {
    const refused = await phone.graphql(RENAME(ada.deviceId), token);
    expect([refused.status, refused.extensions]).toMatchObject([
      401,
      { code: "UNAUTHENTICATED", reason: "DPOP_NONCE_REQUIRED" },
    ]);
    expect(refused.headers.get("www-authenticate")).toMatch(/^DPoP error="use_dpop_nonce"/);
    expect(refused.headers.get("dpop-nonce")).toBe(phone.nonce);
    expect(house.state.calls).toEqual([]);
    const { status, data } = await phone.graphql(RENAME(ada.deviceId), token);
    expect([status, data]).toEqual([200, { renameDevice: { name: "Mine" } }]);
  });

  describe("is not who holds the token alone:", () => {
    /** The error of a request that reached no subgraph. */
    const refusalOf = ({ status, headers, extensions }: Answer): object => ({
      status,
      challenge: /^DPoP error="(\w+)".*, algs="ES256 Ed25519 EdDSA"$/.exec(headers.get("www-authenticate") ?? "")?.[1],
      hasNonce: headers.get("dpop-nonce") !== null,
      ...extensions,
      calls: house.state.calls,
    });
    const refused = (challenge: string, why: object): unknown =>
      expect.objectContaining({ status: 401, code: "UNAUTHENTICATED", challenge, hasNonce: true, calls: [], ...why });

    it.each(["query", "mutation"])("a %s with the token as Bearer", async (kind) => {
      const operation = kind === "query" ? QUERY : RENAME(ada.deviceId);
      const answer = await phone.graphql(operation, undefined, { authorization: `Bearer ${token}` });
      expect(refusalOf(answer)).toEqual(refused("invalid_token", { reason: "DPOP_REQUIRED" }));
    });

    it.each(["query", "mutation"])("a %s with the token as Bearer, and a proof by its very key", async (kind) => {
      const operation = kind === "query" ? QUERY : RENAME(ada.deviceId);
      const dpop = await phone.prove("POST", "/graphql", token);
      const answer = await phone.graphql(operation, undefined, { authorization: `Bearer ${token}`, dpop });
      expect(refusalOf(answer)).toEqual(refused("invalid_token", { reason: "DPOP_REQUIRED" }));
    });

    it.each(["query", "mutation"])("a %s with the token and no proof", async (kind) => {
      const answer = await phone.graphql(kind === "query" ? QUERY : RENAME(ada.deviceId), token, {});
      expect(refusalOf(answer)).toEqual(refused("invalid_token", { reason: "DPOP_REQUIRED" }));
    });

    it.each(["query", "mutation"])("a %s with the token and a proof by the thief's key", async (kind) => {
      const thief = await createDpopClient(house.url, PUBLIC_URL);
      const answer = await thief.graphql(kind === "query" ? QUERY : RENAME(ada.deviceId), token);
      expect(refusalOf(answer)).toEqual(
        refused("invalid_dpop_proof", { reason: "DPOP_PROOF_INVALID", details: { check: "jkt" } }),
      );
    });

    it.each(["Bearer", "DPoP"])("a socket with the token as %s", async (scheme) => {
      const init = { type: "connection_init", payload: { authorization: `${scheme} ${token}` } };
      const { code, reason, received } = await exchange(house.socketUrl, [init]);
      expect([code, reason, received]).toEqual([4403, "TICKET_REQUIRED", []]);
    });

    it("a captured request sent again", async () => {
      const captured = { dpop: await phone.prove("POST", "/graphql", token) };
      expect((await phone.graphql(QUERY, token, captured)).status).toBe(200);
      house.state.calls.length = 0;
      const answer = await phone.graphql(QUERY, token, captured);
      expect(refusalOf(answer)).toEqual(
        refused("invalid_dpop_proof", { reason: "DPOP_PROOF_INVALID", details: { check: "jti" } }),
      );
    });

    it("a proof that was made for another address, whatever the Host header says", async () => {
      const elsewhere = await createDpopClient(house.url, house.url);
      const bound = await house.token(ada, { jkt: elsewhere.jkt });
      const answer = await elsewhere.graphql(QUERY, bound);
      expect(refusalOf(answer)).toEqual(refused("invalid_dpop_proof", { details: { check: "htu" } }));
    });

    it("two proofs at once", async () => {
      const [first, second] = [
        await phone.prove("POST", "/graphql", token),
        await phone.prove("POST", "/graphql", token),
      ];
      const answer = await phone.graphql(QUERY, token, { dpop: `${first}, ${second}` });
      expect(refusalOf(answer)).toEqual(refused("invalid_dpop_proof", { details: { check: "header" } }));
    });
  });

  describe("while nobody knows which proofs were used", () => {
    it("reads with a nonce, and is refused without", async () => {
      await acquaint();
      house.replayCache.isDown = true;
      expect((await phone.graphql(QUERY, token)).status).toBe(200);
      phone.nonce = undefined;
      const { status, extensions } = await phone.graphql(QUERY, token);
      expect([status, extensions]).toMatchObject([503, { code: "UNAVAILABLE", reason: "REPLAY_UNKNOWN" }]);
    });

    it("changes nothing", async () => {
      await acquaint();
      house.state.calls.length = 0;
      house.replayCache.isDown = true;
      const { status, extensions } = await phone.graphql(RENAME(ada.deviceId), token);
      expect([status, extensions]).toMatchObject([503, { code: "UNAVAILABLE", reason: "REPLAY_UNKNOWN" }]);
      expect(house.state.calls).toEqual([]);
    });
  });

  it("is told of its expired token in the words of its scheme", async () => {
    const expired = await house.token(ada, { jkt: phone.jkt, expiresIn: -1 });
    const { status, headers, extensions } = await phone.graphql(QUERY, expired);
    expect([status, extensions]).toMatchObject([401, { reason: "TOKEN_EXPIRED" }]);
    expect(headers.get("www-authenticate")).toMatch(/^DPoP error="invalid_token"/);
  });
});

describe("a caller without a bound token", () => {
  let house: House;
  let phone: DpopClient;
  beforeAll(async () => {
    house = await startHouse({ env: { PUBLIC_URL } });
  });
  afterAll(() => house[Symbol.asyncDispose]());
  beforeEach(async () => {
    house.replayCache.isDown = false;
    phone = await createDpopClient(house.url, PUBLIC_URL);
    house.state.calls.length = 0;
  });

  it("shows a key by a proof with a nonce, as when it signs in or refreshes", async () => {
    expect((await phone.graphql(SIGN_IN)).extensions).toMatchObject({ reason: "DPOP_NONCE_REQUIRED" });
    expect(house.state.calls).toEqual([]);
    expect((await phone.graphql(SIGN_IN)).extensions).toMatchObject({ reason: "CREDENTIALS_INVALID" });
    expect(house.state.calls.map(({ caller }) => caller)).toEqual([{ kind: "anonymous", jkt: phone.jkt }]);
  });

  it("shows no key while nobody knows which proofs were used", async () => {
    await phone.graphql(SIGN_IN);
    house.replayCache.isDown = true;
    const { status, extensions } = await phone.graphql(SIGN_IN);
    expect([status, extensions]).toMatchObject([503, { reason: "REPLAY_UNKNOWN" }]);
    expect(house.state.calls).toEqual([]);
  });

  it("may not present a bearer token as bound", async () => {
    const token = await house.token(house.join());
    const { status, extensions } = await phone.graphql(QUERY, token);
    expect([status, extensions]).toMatchObject([401, { reason: "TOKEN_INVALID" }]);
  });

  it("needs neither nonce nor replay cache with a bearer token", async () => {
    house.replayCache.isDown = true;
    const ada = house.join();
    const { status, headers, body } = await house.graphql(RENAME(ada.deviceId), { token: await house.token(ada) });
    expect([status, body.data]).toEqual([200, { renameDevice: { name: "Mine" } }]);
    expect(headers.get("dpop-nonce")).toBeNull();
  });

  it("may show a key beside a bearer token, by a proof that must be valid", async () => {
    const token = await house.token(house.join());
    const ask = (dpop: string): Promise<Answer> =>
      phone.graphql(QUERY, undefined, { authorization: `Bearer ${token}`, dpop });
    expect((await ask("none")).extensions).toMatchObject({ reason: "DPOP_PROOF_INVALID" });
    expect(house.state.calls).toEqual([]);
    expect((await ask(await phone.prove("POST", "/graphql", token))).status).toBe(200);
    expect(house.state.calls.map(({ caller }) => requestContextOf(caller).jkt)).toEqual([phone.jkt]);
  });

  it("may read the nonce from a page of an allowed origin, which no cache keeps", async () => {
    const headers = { origin: "https://app.example.com", dpop: "none", "content-type": "application/json" };
    const answer = await fetch(`${house.url}/graphql`, { method: "POST", headers, body: "{}" });
    expect(answer.headers.get("access-control-expose-headers")).toMatch(/dpop-nonce/);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("dpop-nonce")).not.toBeNull();
    const preflight = { ...headers, "access-control-request-method": "POST", "access-control-request-headers": "dpop" };
    const allowed = await fetch(`${house.url}/graphql`, { method: "OPTIONS", headers: preflight });
    expect(allowed.headers.get("access-control-allow-headers")).toMatch(/dpop/);
  });
});
