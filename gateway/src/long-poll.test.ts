/** Pulls that wait for a change, through the gateway. */
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "./fixtures/eventually.ts";
import { startHouse, type House } from "./fixtures/house.ts";
import { createTestClient } from "./fixtures/socket-client.ts";
import { compileWait } from "./plan/wait.ts";

describe("how long a fetch asks its owner to wait", () => {
  it.each([
    [`query ($w: Int!) { pullState(waitMs: $w) { to } }`, { w: 20_000 }, 20_000],
    [`{ a: pullState(waitMs: 100) { to } b: pullState(waitMs: 300) { to } me { id } }`, {}, 300],
    [`query ($w: Int) { pullState(waitMs: $w) { to } }`, {}, 0],
    [`{ waitMs: pullState { to } }`, {}, 0],
    [`{ pullState { to(waitMs: 300) } }`, {}, 0],
    [`{ pullState { to } }`, {}, 0],
  ])("is told by its text and variables: %s", (query, variables, waitMs) => {
    expect(compileWait(query)(variables)).toBe(waitMs);
  });
});

describe("a pull that waits", () => {
  const WAIT = `query ($waitMs: Int! = 0) { pullState(since: "s0", waitMs: $waitMs) { to } }`;
  let house: House;
  let token: string;
  async function open(answerWithinMs: number): Promise<void> {
    house = await startHouse({ waits: { answerWithinMs } });
    token = await house.token(house.join());
  }
  afterEach(() => house[Symbol.asyncDispose]());

  function wait(signal: AbortSignal): Promise<Response> {
    return fetch(`${house.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify({ query: WAIT, variables: { waitMs: 25_000 } }),
      signal,
    });
  }

  it("may wait longer than others have for an answer", async () => {
    await open(3_000);
    const { body } = await house.graphql(WAIT, { token, variables: { waitMs: 4_000 } });
    expect(body).toEqual({ data: { pullState: { to: "s0" } } });
  });

  it("is told nothing once its session has ended", async () => {
    await open(3_000);
    const ada = house.join();
    const waiting = house.graphql(WAIT, { token: await house.token(ada), variables: { waitMs: 2_000 } });
    await eventually(() => expect(house.state.pulls).toHaveLength(1));
    await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY");
    const { body } = await waiting;
    expect(body).toMatchObject({ errors: [{ extensions: { reason: "SESSION_ENDED" } }] });
    expect(body.data ?? null).toBeNull();
  });

  it("ends when its client leaves, at the owner too", async () => {
    await open(10_000);
    const leaving = new AbortController();
    const waiting = wait(leaving.signal);
    await eventually(() => expect(house.state.pulls).toHaveLength(1));
    leaving.abort();
    await expect(waiting).rejects.toThrow("aborted");
    await eventually(() => expect(house.state.left).toBe(1));
  });

  it("ends when its client leaves it, or its socket", async () => {
    await open(10_000);
    await using client = createTestClient(house.socketUrl, token);
    const [left, lost] = [client.run(WAIT, { waitMs: 25_000 }), client.run(WAIT, { waitMs: 25_000 })];
    await eventually(() => expect(house.state.pulls).toHaveLength(2));
    left.stop();
    await eventually(() => expect(house.state.left).toBe(1));
    client.client.terminate();
    await eventually(() => expect(house.state.left).toBe(2));
    expect(lost.results).toEqual([]);
  });

  it("keeps no connection from the others, however many wait", async () => {
    await open(10_000);
    const leaving = new AbortController();
    let answered = 0;
    const waiting = Array.from({ length: 80 }, async () => {
      await wait(leaving.signal).catch(() => undefined);
      answered += 1;
    });
    await eventually(() => expect(house.state.pulls).toHaveLength(80));
    const { body } = await house.graphql(WAIT, { token });
    expect(body).toEqual({ data: { pullState: { to: "s0" } } });
    expect(answered).toBe(0);
    leaving.abort();
    await Promise.all(waiting);
  });
});
