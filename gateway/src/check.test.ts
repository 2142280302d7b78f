import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createDpopClient } from "./fixtures/dpop-client.ts";
import { eventually } from "./fixtures/eventually.ts";
import { type House, startHouse } from "./fixtures/house.ts";

const PUBLIC_URL = "https://api.example.com";

describe("a reverse proxy that asks who sends a request", () => {
  let house: House;
  beforeAll(async () => {
    house = await startHouse({ env: { PUBLIC_URL } });
  });
  afterAll(() => house[Symbol.asyncDispose]());
  beforeEach(() => {
    house.replayCache.isDown = false;
  });

  const check = (headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${house.url}/auth/check`, { headers });

  it("is told the user, session, device, application and assurance, without a body", async () => {
    const ada = house.join();
    const answer = await check({ authorization: `Bearer ${await house.token(ada)}` });
    expect([answer.status, await answer.text()]).toEqual([204, ""]);
    const told = ["user", "session", "device", "application", "acr"].map((name) =>
      answer.headers.get(`x-continuo-${name}`),
    );
    expect(told).toEqual([ada.userId, ada.sessionId, ada.deviceId, "continuo", "aal1"]);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(house.state.calls).toEqual([]);
  });

  it("is refused with a challenge that accuses no token when there is none", async () => {
    const answer = await check();
    expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([
      401,
      `Bearer, DPoP algs="ES256 Ed25519 EdDSA"`,
    ]);
    expect(await answer.json()).toMatchObject({ errors: [{ extensions: { reason: "SIGN_IN_REQUIRED" } }] });
  });

  it("is refused with a challenge for a bad token, and for an ended session", async () => {
    const bad = await check({ authorization: "Bearer letmein" });
    expect([bad.status, bad.headers.get("www-authenticate")]).toEqual([
      401,
      expect.stringMatching(/^Bearer error="invalid_token"/),
    ]);
    const ada = house.join();
    const authorization = `Bearer ${await house.token(ada)}`;
    await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY");
    await eventually(async () => expect((await check({ authorization })).status).toBe(401));
  });

  it("is told of a bound session only with a proof for this address by its key", async () => {
    const phone = await createDpopClient(house.url, PUBLIC_URL);
    const ada = house.join();
    const token = await house.token(ada, { jkt: phone.jkt });
    const answers = [
      await check({ authorization: `DPoP ${token}`, dpop: await phone.prove("GET", "/auth/check", token) }),
      await check({ authorization: `DPoP ${token}`, dpop: await phone.prove("GET", "/other", token) }),
      await check({ authorization: `DPoP ${token}` }),
      await check({ authorization: `Bearer ${token}` }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([204, 401, 401, 401]);
    expect(answers.map(({ headers }) => headers.get("x-continuo-user"))).toEqual([ada.userId, null, null, null]);
    house.replayCache.isDown = true;
    const proven = { authorization: `DPoP ${token}`, dpop: await phone.prove("GET", "/auth/check", token) };
    expect((await check(proven)).status).toBe(503);
  });
});
