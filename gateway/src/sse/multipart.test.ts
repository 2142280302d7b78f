import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDpopClient } from "../fixtures/dpop-client.ts";
import { eventually } from "../fixtures/eventually.ts";
import { type House, startHouse } from "../fixtures/house.ts";
import { framingOf } from "./framing.ts";

const STATE = `subscription { stateChanges { from to } }`;
/** As Apollo Client sends it. */
const ACCEPT =
  "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9";

let house: House;
beforeAll(async () => {
  house = await startHouse({ waits: { pingEveryMs: 200 } });
});
afterAll(() => house[Symbol.asyncDispose]());

interface Answer {
  readonly response: Response;
  readonly text: () => string;
  readonly isOver: () => boolean;
  /** What the parts hold, without the heartbeats. */
  readonly parts: () => unknown[];
  leave(): void;
}

async function ask(query: string, headers: Record<string, string>): Promise<Answer> {
  const leaving = new AbortController();
  const response = await fetch(`${house.url}/graphql`, {
    method: "POST",
    headers: { accept: ACCEPT, "content-type": "application/json", ...headers },
    body: JSON.stringify({ query }),
    signal: leaving.signal,
  });
  let text = "";
  let isOver = false;
  void (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true });
  })()
    .catch(() => undefined)
    .finally(() => {
      isOver = true;
    });
  return {
    response,
    text: () => text,
    isOver: () => isOver,
    parts: () =>
      text
        .split("\r\n--graphql")
        .flatMap((part) => part.split("\r\n\r\n")[1] ?? [])
        .filter((content) => content !== "{}")
        .map((content) => JSON.parse(content)),
    leave: () => leaving.abort(),
  };
}

describe("a multipart answer", () => {
  it("is a part for each event, between heartbeats, each ended by the next boundary", async () => {
    const ada = house.join();
    const live = await ask(STATE, { authorization: `Bearer ${await house.token(ada)}` });
    expect([live.response.status, live.response.headers.get("content-type")]).toEqual([
      200,
      'multipart/mixed;boundary="graphql";subscriptionSpec="1.0"',
    ]);
    await eventually(() => expect(live.parts()).toHaveLength(1));
    const heartbeat = "\r\ncontent-type: application/json\r\n\r\n{}\r\n--graphql";
    expect(live.text().startsWith(`\r\n--graphql${heartbeat}`)).toBe(true);
    await eventually(() => expect(live.text().split(heartbeat).length).toBeGreaterThan(2));
    await house.write(ada, "a", 1);
    await eventually(() =>
      expect(live.parts()).toEqual([
        { payload: { data: { stateChanges: { from: null, to: "s0" } } } },
        { payload: { data: { stateChanges: { from: "s0", to: "s1" } } } },
      ]),
    );
    expect(live.text().endsWith("\r\n--graphql")).toBe(true);
    const before = house.pokes.listeners;
    live.leave();
    await eventually(() => expect(house.pokes.listeners).toBe(before - 1));
  });

  it("ends with the last boundary, after what is wrong where something is", async () => {
    const authorization = `Bearer ${await house.token(house.join())}`;
    const [query, faulty, refused] = [
      await ask("{ me { email } }", { authorization }),
      await ask("subscription { nothing }", { authorization }),
      await ask(`subscription { stateChanges(since: "forged") { to } }`, { authorization }),
    ];
    await eventually(() => expect([query, faulty, refused].every(({ isOver }) => isOver())).toBe(true));
    for (const { text } of [query, faulty, refused]) expect(text().endsWith("\r\n--graphql--\r\n")).toBe(true);
    expect(query.parts()).toMatchObject([{ payload: { data: { me: { email: expect.any(String) } } } }]);
    expect(faulty.parts()).toMatchObject([{ payload: { errors: [{ extensions: { reason: "DOCUMENT_INVALID" } }] } }]);
    expect(refused.parts()).toMatchObject([{ payload: { errors: [{ extensions: { reason: "CURSOR_INVALID" } }] } }]);
  });

  it("tells why its session ended as a fault of the stream", async () => {
    const ada = house.join();
    const live = await ask(STATE, { authorization: `Bearer ${await house.token(ada)}` });
    await eventually(() => expect(live.parts()).toHaveLength(1));
    await house.revoke(ada.sessionId, "EVICTED");
    await eventually(() => expect(live.isOver()).toBe(true));
    expect(live.parts()[1]).toMatchObject({
      payload: null,
      errors: [{ extensions: { reason: "SESSION_ENDED", details: { endReason: "EVICTED" } } }],
    });
    expect(live.text().endsWith("\r\n--graphql--\r\n")).toBe(true);
  });

  it("is cut short when its token expires, so that clients come back", async () => {
    const live = await ask(STATE, { authorization: `Bearer ${await house.token(house.join(), { expiresIn: 4 })}` });
    await eventually(() => expect(live.isOver()).toBe(true));
    expect(live.parts()).toHaveLength(1);
    expect(live.text()).not.toContain("--graphql--");
  });

  it("takes the proof of a key for the address that was asked", async () => {
    const phone = await createDpopClient(house.url, house.url);
    const ada = house.join();
    const token = await house.token(ada, { jkt: phone.jkt });
    const prove = async (path: string): Promise<Record<string, string>> => ({
      authorization: `DPoP ${token}`,
      dpop: await phone.prove("POST", path, token),
    });
    const live = await ask("{ me { id } }", await prove("/graphql"));
    await eventually(() => expect(live.parts()).toEqual([{ payload: { data: { me: { id: ada.userId } } } }]));
    expect((await ask("{ me { id } }", await prove("/graphql/stream"))).response.status).toBe(401);
  });

  it("is for who asks for it: all others are told where subscriptions run", async () => {
    const token = await house.token(house.join());
    const { status, body } = await house.graphql(STATE, { token });
    expect([status, body.errors?.[0]?.extensions["reason"]]).toEqual([400, "SUBSCRIPTION_OVER_HTTP"]);
  });
});

it.each([
  ["Apollo Client", ACCEPT, "multipart/mixed"],
  ["the docs of Apollo's protocol", 'multipart/mixed; subscriptionSpec="1.0", application/json', "multipart/mixed"],
  ["graphql-sse, EventSource", "text/event-stream", "text/event-stream"],
  ["urql, of a subscription", "text/event-stream, multipart/mixed", "text/event-stream"],
  [
    "urql, of a query",
    "application/graphql-response+json, application/json, text/event-stream, multipart/mixed",
    undefined,
  ],
  ["Apollo Client, of a query", "application/graphql-response+json,application/json;q=0.9", undefined],
  ["a client of @defer", "multipart/mixed;deferSpec=20220824,application/json", undefined],
  ["a quoted comma", 'multipart/mixed;boundary="a,b";subscriptionSpec=1.0', "multipart/mixed"],
  ["another protocol", "multipart/mixed;subscriptionSpec=2.0", undefined],
  ["nobody in particular", undefined, undefined],
])("what %s accepts is answered in kind", (_who, accept, type) => {
  expect(framingOf(accept)?.contentType.split(";")[0]).toBe(type);
});
