import { createClient } from "graphql-sse";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDpopClient } from "../fixtures/dpop-client.ts";
import { eventually } from "../fixtures/eventually.ts";
import { type House, startHouse } from "../fixtures/house.ts";

const STATE = `subscription { stateChanges { from to entries { key value } } }`;

let house: House;
beforeAll(async () => {
  house = await startHouse();
});
afterAll(() => house[Symbol.asyncDispose]());

interface Run {
  readonly results: unknown[];
  readonly isComplete: () => boolean;
  readonly failure: () => unknown;
  readonly stop: () => void;
}

/** The stock client, distinct connections, without retries. */
function run(token: string, query: string): Run {
  const client = createClient({
    url: `${house.url}/graphql/stream`,
    headers: { authorization: `Bearer ${token}` },
    retryAttempts: 0,
  });
  const results: unknown[] = [];
  let isComplete = false;
  let failure: unknown;
  const stop = client.subscribe(
    { query },
    {
      next: (result) => void results.push(result),
      error: (cause) => {
        failure = cause;
      },
      complete: () => {
        isComplete = true;
      },
    },
  );
  return { results, isComplete: () => isComplete, failure: () => failure, stop };
}

const get = (
  query: string,
  parameters: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Response> =>
  fetch(`${house.url}/graphql/stream?${new URLSearchParams({ query, ...parameters }).toString()}`, {
    headers: { accept: "text/event-stream", ...headers },
  });
async function ticketFor(token: string): Promise<string> {
  const response = await fetch(`${house.url}/graphql/ticket`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  return String(Object(await response.json())["ticket"]);
}

describe("the gateway over server-sent events", () => {
  it("streams to the stock client: all there is first, then each change", async () => {
    const ada = house.join();
    const live = run(await house.token(ada), STATE);
    await eventually(() => expect(live.results).toHaveLength(1));
    await house.write(ada, "theme", "dark");
    await eventually(() =>
      expect(live.results.at(-1)).toMatchObject({
        data: { stateChanges: { entries: [{ key: "theme", value: "dark" }] } },
      }),
    );
    live.stop();
  });

  it("answers queries and mutations as HTTP does", async () => {
    const ada = house.join();
    const token = await house.token(ada);
    const query = run(token, "{ me { id } }");
    const mutation = run(token, `mutation { renameDevice(id: "nobody's", name: "x") { id } }`);
    await eventually(() => expect([query.isComplete(), mutation.isComplete()]).toEqual([true, true]));
    expect(query.results).toEqual([{ data: { me: { id: ada.userId } } }]);
    expect(mutation.results).toMatchObject([
      { errors: [{ extensions: { code: "NOT_FOUND", reason: "DEVICE_NOT_FOUND", requestId: expect.any(String) } }] },
    ]);
  });

  it.each(["{ nothing }", "subscription { nothing }", "subscription { deviceChanged(since: 1) { to } }"])(
    "says under which request id %s is found to be at fault",
    async (query) => {
      const authorization = `Bearer ${await house.token(house.join())}`;
      const response = await get(query, {}, { authorization });
      expect(await response.text()).toContain(`"requestId":"${response.headers.get("x-request-id")}"`);
    },
  );

  it("ends a session's streams when it is revoked, the reason being the last word, and counts them", async () => {
    const [ada, alan] = [house.join(), house.join()];
    const [revoked, other] = [run(await house.token(ada), STATE), run(await house.token(alan), STATE)];
    await eventually(() => expect([revoked.results.length, other.results.length]).toEqual([1, 1]));
    await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY");
    await eventually(() => expect(revoked.isComplete()).toBe(true));
    expect(revoked.results.at(-1)).toMatchObject({
      errors: [
        {
          extensions: {
            code: "UNAUTHENTICATED",
            reason: "SESSION_ENDED",
            details: { endReason: "SIGNED_OUT_REMOTELY" },
          },
        },
      ],
    });
    await eventually(() => expect(house.state.acks.at(-1)).toMatchObject({ socketsClosed: 1 }));
    await house.write(ada, "after", 1);
    await house.write(alan, "after", 1);
    await eventually(() => expect(other.results).toHaveLength(2));
    expect(revoked.results).toHaveLength(2);
    other.stop();
  });

  it("ends with the token that it was opened by, and a stock client resumes with a fresh one", async () => {
    const ada = house.join();
    const lives = [2, 300];
    const client = createClient({
      url: `${house.url}/graphql/stream`,
      headers: async () => ({
        authorization: `Bearer ${await house.token(ada, { expiresIn: lives.shift() ?? 300 })}`,
      }),
      retry: async () => undefined,
    });
    const results: unknown[] = [];
    const failures: unknown[] = [];
    client.subscribe(
      { query: STATE },
      {
        next: (result) => void results.push(result),
        error: (cause) => failures.push(cause),
        complete: () => undefined,
      },
    );
    await eventually(() => expect(results).toHaveLength(2));
    await house.write(ada, "theme", "dark");
    await eventually(() => expect(results).toHaveLength(3));
    expect([lives, failures]).toEqual([[], []]);
    client.dispose();
  });

  it("lets go when the client leaves", async () => {
    // Once those of the tests before have gone: the feed's own, and the one for the signing keys.
    const idle = 2;
    await eventually(() => expect(house.pokes.listeners).toBe(idle));
    const live = run(await house.token(house.join()), STATE);
    await eventually(() => expect(live.results).toHaveLength(1));
    expect(house.pokes.listeners).toBe(idle + 1);
    live.stop();
    await eventually(() => expect(house.pokes.listeners).toBe(idle));
  });

  it("takes a ticket in the address, once, for whoever cannot send headers", async () => {
    const ada = house.join();
    const ticket = await ticketFor(await house.token(ada));
    const first = await get(`{ me { id } }`, { ticket });
    expect(first.status).toBe(200);
    expect(first.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(await first.text()).toContain(`data: {"data":{"me":{"id":"${ada.userId}"}}}`);
    const second = await get(`{ me { id } }`, { ticket });
    expect(second.status).toBe(401);
    expect(Object(await second.json())).toMatchObject({ errors: [{ extensions: { reason: "TICKET_USED" } }] });
  });

  it("changes nothing by a link", async () => {
    const ticket = await ticketFor(await house.token(house.join()));
    const response = await get(`mutation { renameDevice(id: "x", name: "y") { id } }`, { ticket });
    expect(response.status).toBe(405);
  });

  it.each([
    ["nobody", {}, 401, "SIGN_IN_REQUIRED"],
    ["a forged token", { authorization: "Bearer junk" }, 401, "TOKEN_INVALID"],
  ])("refuses %s", async (_case, headers, status, reason) => {
    const response = await get(`{ me { id } }`, {}, headers);
    expect(response.status).toBe(status);
    expect(Object(await response.json())).toMatchObject({ errors: [{ extensions: { reason } }] });
  });

  it("refuses who wants no event stream, and a document at fault in words that fit", async () => {
    const token = await house.token(house.join());
    const plain = await get(`{ me { id } }`, {}, { accept: "application/json", authorization: `Bearer ${token}` });
    expect(plain.status).toBe(400);
    const faulty = run(token, `subscription { nothing }`);
    await eventually(() => expect(faulty.isComplete()).toBe(true));
    expect(faulty.results).toMatchObject([{ errors: [{ extensions: { reason: "DOCUMENT_INVALID" } }] }]);
  });

  it("bounds the streams of a session, sockets and event streams together", async () => {
    const ada = house.join();
    const token = await house.token(ada);
    const many = Array.from({ length: 32 }, () => run(token, STATE));
    await eventually(() => expect(many.every(({ results }) => results.length === 1)).toBe(true));
    const response = await get(STATE, {}, { authorization: `Bearer ${token}` });
    expect(response.status).toBe(429);
    for (const live of many) live.stop();
  });

  it("takes a bound token with its proof, as HTTP does", async () => {
    const client = await createDpopClient(house.url, house.url);
    const ada = house.join();
    const token = await house.token(ada, { jkt: client.jkt });
    const dpop = await client.prove("GET", "/graphql/stream", token);
    const answer = await get(`{ me { id } }`, {}, { authorization: `DPoP ${token}`, dpop });
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain(ada.userId);
    expect((await get(`{ me { id } }`, {}, { authorization: `Bearer ${token}` })).status).toBe(401);
  });
});

describe("a gateway that is going away", () => {
  it("ends its event streams with a word that says so", async () => {
    const leaving = await startHouse();
    const response = await fetch(`${leaving.url}/graphql/stream?${new URLSearchParams({ query: STATE }).toString()}`, {
      headers: { accept: "text/event-stream", authorization: `Bearer ${await leaving.token(leaving.join())}` },
    });
    const text = response.text();
    await leaving[Symbol.asyncDispose]();
    expect(await text).toContain("GOING_AWAY");
  });
});
