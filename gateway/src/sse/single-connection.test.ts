import { createClient } from "graphql-sse";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDpopClient } from "../fixtures/dpop-client.ts";
import { eventually } from "../fixtures/eventually.ts";
import { type House, type Person, startHouse } from "../fixtures/house.ts";

const STATE = `subscription { stateChanges { from to } }`;
const DEVICES = `subscription { deviceChanged { devices { name } } }`;
/** A gateway listens for revocations and for changes of the signing keys. */
const IDLE_LISTENERS = 2;

let house: House;
beforeAll(async () => {
  house = await startHouse({ waits: { pingEveryMs: 200 } });
});
afterAll(() => house[Symbol.asyncDispose]());

const bearer = async (person: Person): Promise<Record<string, string>> => ({
  authorization: `Bearer ${await house.token(person)}`,
});

/** What the protocol's requests are, one by one. */
interface Stream {
  readonly token: string;
  /** All that it has said. */
  readonly said: () => string;
  readonly isOver: () => boolean;
  post(operationId: unknown, query: string, headers?: Record<string, string>): Promise<Response>;
  delete(operationId: string): Promise<Response>;
  leave(): void;
}

const request = (method: string, query: string, headers: Record<string, string>, body?: object): Promise<Response> =>
  fetch(`${house.url}/graphql/stream${query}`, {
    method,
    headers: { ...headers, ...(body && { "content-type": "application/json" }) },
    ...(body && { body: JSON.stringify(body) }),
  });

async function reserve(headers: Record<string, string>): Promise<string> {
  const reserved = await request("PUT", "", headers);
  expect([reserved.status, reserved.headers.get("content-type")]).toEqual([201, "text/plain; charset=utf-8"]);
  return reserved.text();
}

async function open(headers: Record<string, string>): Promise<Stream> {
  const token = await reserve(headers);
  const named = { ...headers, "x-graphql-event-stream-token": token };
  const leaving = new AbortController();
  const response = await fetch(`${house.url}/graphql/stream?token=${token}`, { signal: leaving.signal });
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream; charset=utf-8"]);
  let said = "";
  let isOver = false;
  void (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) said += decoder.decode(chunk, { stream: true });
  })()
    .catch(() => undefined)
    .finally(() => {
      isOver = true;
    });
  return {
    token,
    said: () => said,
    isOver: () => isOver,
    post: (operationId, query, own = named) => request("POST", "", own, { query, extensions: { operationId } }),
    delete: (operationId) => request("DELETE", `?operationId=${operationId}`, named),
    leave: () => leaving.abort(),
  };
}

const events = ({ said }: Stream): { event: string; data: unknown }[] =>
  [...said().matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].map(([, event = "", data = ""]) => ({
    event,
    data: JSON.parse(data),
  }));
const reasonOf = async (response: Response): Promise<unknown> =>
  Object(await response.json())["errors"]?.[0]?.extensions?.reason;

describe("several operations on one event stream", () => {
  it("run for the stock client, each by itself, and end by themselves", async () => {
    const ada = house.join();
    const methods: string[] = [];
    const client = createClient({
      url: `${house.url}/graphql/stream`,
      singleConnection: true,
      retryAttempts: 0,
      headers: () => bearer(ada),
      fetchFn: (url: string, init: RequestInit) => {
        methods.push(String(init.method));
        return fetch(url, init);
      },
    });
    const run = (query: string): { results: unknown[]; isComplete: boolean; failure: unknown; stop: () => void } => {
      const running = { results: [] as unknown[], isComplete: false, failure: undefined as unknown, stop: () => {} };
      running.stop = client.subscribe(
        { query },
        {
          next: (result) => void running.results.push(result),
          error: (cause) => {
            running.failure = cause;
          },
          complete: () => {
            running.isComplete = true;
          },
        },
      );
      return running;
    };
    const [state, devices, me] = [run(STATE), run(DEVICES), run("{ me { id } }")];
    const faulty = run("subscription { nothing }");
    await eventually(() => expect([me.isComplete, faulty.isComplete]).toEqual([true, true]));
    expect(me.results).toEqual([{ data: { me: { id: ada.userId } } }]);
    expect(faulty.results).toMatchObject([{ errors: [{ extensions: { reason: "DOCUMENT_INVALID" } }] }]);
    await eventually(() => expect([state.results.length, devices.results.length]).toEqual([1, 1]));

    state.stop();
    await eventually(() => expect(methods).toContain("DELETE"));
    await house.write(ada, "a", 1);
    await house.rename(ada, "renamed");
    await eventually(() => expect(devices.results).toHaveLength(2));
    expect([state.results.length, state.failure, devices.failure]).toEqual([1, undefined, undefined]);
    expect(methods.filter((method) => method === "PUT" || method === "GET")).toEqual(["PUT", "GET"]);
    devices.stop();
    await eventually(() => expect(house.pokes.listeners).toBe(IDLE_LISTENERS));
  });

  it("name themselves in what they say, and whoever stops one stops that one", async () => {
    const ada = house.join();
    const stream = await open(await bearer(ada));
    for (const id of ["one", "two"]) expect((await stream.post(id, STATE)).status).toBe(202);
    await eventually(() => expect(events(stream)).toHaveLength(2));
    expect((await stream.delete("one")).status).toBe(200);
    expect((await stream.delete("never was")).status).toBe(200);
    await house.write(ada, "a", 1);
    await eventually(() => expect(events(stream)).toHaveLength(3));
    expect(events(stream).at(-1)).toEqual({
      event: "next",
      data: { id: "two", payload: { data: { stateChanges: { from: "s0", to: "s1" } } } },
    });
    expect((await stream.post("one", "{ me { id } }")).status).toBe(202);
    await eventually(() => expect(events(stream).at(-1)).toEqual({ event: "complete", data: { id: "one" } }));
    // Its id is free again.
    expect((await stream.post("one", STATE)).status).toBe(202);
    stream.leave();
  });

  it("are refused for themselves, in a status, where the request is at fault", async () => {
    const stream = await open(await bearer(house.join()));
    const { token } = stream;
    expect((await stream.post("one", STATE)).status).toBe(202);
    const again = await stream.post("one", STATE);
    expect([again.status, await reasonOf(again)]).toEqual([409, "OPERATION_EXISTS"]);
    expect((await stream.post(undefined, STATE)).status).toBe(400);
    expect((await stream.delete("")).status).toBe(400);
    const taken = await request("GET", `?token=${token}`, {});
    expect([taken.status, await reasonOf(taken)]).toEqual([409, "STREAM_TAKEN"]);
    for (let index = 2; index <= 50; index += 1) expect((await stream.post(`${index}`, STATE)).status).toBe(202);
    const tooMany = await stream.post("51", STATE);
    expect([tooMany.status, await reasonOf(tooMany)]).toEqual([429, "TOO_MANY_OPERATIONS"]);
    stream.leave();
  });

  it("take their sender's word for nothing: a stream's token is no credential", async () => {
    const [ada, mallory] = [house.join(), house.join()];
    const stream = await open(await bearer(ada));
    const token = { "x-graphql-event-stream-token": stream.token };
    expect((await stream.post("one", STATE, token)).status).toBe(401);
    expect((await request("DELETE", "?operationId=one", token)).status).toBe(401);
    expect((await request("PUT", "", {})).status).toBe(401);
    const foreign = { ...token, ...(await bearer(mallory)) };
    for (const answer of [
      await stream.post("one", STATE, foreign),
      await request("DELETE", "?operationId=one", foreign),
      await request("GET", "", foreign),
      await stream.post("one", STATE, { ...(await bearer(ada)), "x-graphql-event-stream-token": "never was" }),
      await request("GET", "?token=never%20was", {}),
    ])
      expect([answer.status, await reasonOf(answer)]).toEqual([404, "STREAM_UNKNOWN"]);
    stream.leave();
  });

  it("change nothing for a session that is bound to a key without a proof of their own", async () => {
    const phone = await createDpopClient(house.url, house.url);
    const ada = house.join();
    const token = await house.token(ada, { jkt: phone.jkt });
    await phone.ticket(token);
    const proven = async (method: string): Promise<Record<string, string>> => ({
      authorization: `DPoP ${token}`,
      dpop: await phone.prove(method, "/graphql/stream", token),
    });
    const stream = await open(await proven("PUT"));
    const named = { "x-graphql-event-stream-token": stream.token };
    const rename = `mutation { renameDevice(id: "${ada.deviceId}", name: "Mine") { name } }`;
    expect((await stream.post("one", rename, { ...named, authorization: `DPoP ${token}` })).status).toBe(401);
    expect((await stream.post("one", rename, { ...named, ...(await proven("POST")) })).status).toBe(202);
    await eventually(() => expect(events(stream)).toHaveLength(2));
    expect(events(stream)[0]?.data).toEqual({ id: "one", payload: { data: { renameDevice: { name: "Mine" } } } });
    stream.leave();
  });

  it("hear why their session ended, each, before the stream does, which counts as one", async () => {
    const ada = house.join();
    const stream = await open(await bearer(ada));
    for (const id of ["one", "two"]) await stream.post(id, STATE);
    await eventually(() => expect(events(stream)).toHaveLength(2));
    await house.revoke(ada.sessionId, "SIGNED_OUT_REMOTELY");
    await eventually(() => expect(stream.isOver()).toBe(true));
    const ended = { errors: [{ extensions: { reason: "SESSION_ENDED" } }] };
    expect(events(stream).slice(2)).toMatchObject([
      { event: "next", data: { id: "one", payload: ended } },
      { event: "complete", data: { id: "one" } },
      { event: "next", data: { id: "two", payload: ended } },
      { event: "complete", data: { id: "two" } },
    ]);
    await eventually(() => expect(house.state.acks.at(-1)).toMatchObject({ socketsClosed: 1 }));
    await eventually(() => expect(house.pokes.listeners).toBe(IDLE_LISTENERS));
  });

  it("go with their stream when its reader leaves", async () => {
    const ada = house.join();
    const stream = await open(await bearer(ada));
    await stream.post("one", STATE);
    await eventually(() => expect(house.pokes.listeners).toBe(IDLE_LISTENERS + 1));
    stream.leave();
    await eventually(() => expect(house.pokes.listeners).toBe(IDLE_LISTENERS));
    expect((await stream.post("two", STATE)).status).toBe(404);
  });

  it("come back on another stream when the token expires, with the stock client", async () => {
    const ada = house.join();
    const lives = [2, 300];
    const client = createClient({
      url: `${house.url}/graphql/stream`,
      singleConnection: true,
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
    await eventually(() => expect(lives).toEqual([]));
    await house.write(ada, "theme", "dark");
    await eventually(() => expect(results.at(-1)).toMatchObject({ data: { stateChanges: { to: "s1" } } }));
    expect(failures).toEqual([]);
    client.dispose();
  });
});

it("pages of allowed origins may reserve, and stop operations", async () => {
  const { headers } = await fetch(`${house.url}/graphql/stream`, {
    method: "OPTIONS",
    headers: { origin: "https://app.example.com", "access-control-request-method": "PUT" },
  });
  expect(headers.get("access-control-allow-methods")).toMatch(/PUT.*DELETE/);
  expect(headers.get("access-control-allow-headers")).toContain("x-graphql-event-stream-token");
});

describe("a reservation that nobody fetches", () => {
  it("ends with its session", async () => {
    const ada = house.join();
    const headers = await bearer(ada);
    const token = await reserve(headers);
    await house.revoke(ada.sessionId, "SIGNED_OUT");
    const seq = house.state.revocations.at(-1)?.seq;
    await eventually(() => expect(house.state.acks).toContainEqual({ replica: "gateway-1", seq, socketsClosed: 1 }));
    expect((await request("GET", `?token=${token}`, {})).status).toBe(404);
  });
});
