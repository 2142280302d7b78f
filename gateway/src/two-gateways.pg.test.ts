import { createTestDatabase, type TestDatabase } from "@continuo/testkit";
import { Client } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createDpopClient } from "./fixtures/dpop-client.ts";
import { eventually } from "./fixtures/eventually.ts";
import { type House, socketUrlOf, startHouse } from "./fixtures/house.ts";
import { createTestClient } from "./fixtures/socket-client.ts";

const PUBLIC_URL = "https://api.example.com";
const STATE = `subscription { stateChanges { from to entries { key } } }`;

let database: TestDatabase;
let house: House;
let second: string;
beforeAll(async () => {
  database = await createTestDatabase();
  // So long that anything that arrives in time was caused by a poke.
  const waits = { readEveryMs: 60_000, recheckMs: 60_000 };
  house = await startHouse({ databaseUrl: database.url.gateway, env: { PUBLIC_URL }, waits });
  second = await house.startGateway("gateway-2");
});
afterAll(async () => {
  await house[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

it("a change made anywhere reaches subscribers of every gateway", async () => {
  const ada = house.join();
  await using phone = createTestClient(house.socketUrl, await house.token(ada));
  await using laptop = createTestClient(socketUrlOf(second), await house.token(ada));
  const live = [phone.run(STATE), laptop.run(STATE)];
  await eventually(() => expect(live.map(({ results }) => results.length)).toEqual([1, 1]));
  await house.write(ada, "note", "hello");
  await eventually(() => expect(live.map(({ results }) => results.length)).toEqual([2, 2]));
});

it("a sign-out closes the session's sockets on every gateway, and each confirms what it closed", async () => {
  const ada = house.join();
  const token = await house.token(ada);
  await using phone = createTestClient(house.socketUrl, token);
  await using tab = createTestClient(socketUrlOf(second), token);
  const live = [phone.run(STATE), phone.run(STATE), tab.run(STATE)];
  await eventually(() => expect(live.map(({ results }) => results.length)).toEqual([1, 1, 1]));
  await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY");
  const closed = [{ code: 4403, reason: "SESSION_ENDED: SIGNED_OUT_REMOTELY" }];
  await eventually(() => expect([phone.closes, tab.closes]).toEqual([closed, closed]));
  await eventually(() =>
    expect(house.state.acks.map(({ replica, socketsClosed }) => `${replica} ${socketsClosed}`).sort()).toEqual([
      "gateway-1 1",
      "gateway-2 1",
    ]),
  );
});

it("a change made while the bus was away arrives when it is back", async () => {
  const ada = house.join();
  await using phone = createTestClient(house.socketUrl, await house.token(ada));
  const live = phone.run(STATE);
  await eventually(() => expect(live.results).toHaveLength(1));
  const admin = new Client({ connectionString: database.adminUrl });
  await admin.connect();
  await admin.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  );
  await house.write(ada, "note", "in the gap");
  await admin.end();
  await eventually(() => expect(live.results.at(-1)?.data).toMatchObject({ stateChanges: { to: "s1" } }));
});

it("a captured proof is refused by every gateway, and the nonce of one is good at the other", async () => {
  const ada = house.join();
  const phone = await createDpopClient(house.url, PUBLIC_URL);
  const token = await house.token(ada, { jkt: phone.jkt });
  const rename = `mutation { renameDevice(id: "${ada.deviceId}", name: "Mine") { name } }`;
  expect((await phone.graphql(rename, token)).extensions).toMatchObject({ reason: "DPOP_NONCE_REQUIRED" });
  const captured = { authorization: `DPoP ${token}`, dpop: await phone.prove("POST", "/graphql", token) };
  const send = (url: string): Promise<Response> =>
    fetch(`${url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", ...captured },
      body: JSON.stringify({ query: rename }),
    });
  expect(await (await send(second)).json()).toEqual({ data: { renameDevice: { name: "Mine" } } });
  for (const url of [house.url, second]) {
    const answer = await send(url);
    expect([answer.status, await answer.json()]).toMatchObject([
      401,
      { errors: [{ extensions: { reason: "DPOP_PROOF_INVALID", details: { check: "jti" } } }] },
    ]);
  }
});
