/** What the real graph demands, over HTTP, sockets and event streams: refused alike, and before any subgraph is asked. */
import fc from "fast-check";
import { createClient } from "graphql-sse";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { arbitraryOperations } from "../fixtures/arbitrary-operations.ts";
import { createDpopClient } from "../fixtures/dpop-client.ts";
import { eventually } from "../fixtures/eventually.ts";
import { type House, type Person, startHouse } from "../fixtures/house.ts";
import { createTestClient } from "../fixtures/socket-client.ts";
import { createPlanner } from "../graph/planner.ts";
import { loadSupergraph } from "../graph/supergraph-file.ts";
import { compileDemand } from "./compile-demand.ts";

const DEVICES = "{ deviceChanges { to } }";
const ERASE = "mutation { eraseState { rev } }";
const CHANGES = "subscription { deviceChanged { to } }";
const RELAYED = "subscription { relayedChanges { key } }";

let house: House;
let ada: Person;
beforeAll(async () => {
  house = await startHouse();
  ada = house.join();
});
afterAll(() => house[Symbol.asyncDispose]());
beforeEach(() => {
  house.state.calls.length = 0;
});

/** What the first error says, over a transport. */
type Ask = (token: string, query: string) => Promise<unknown>;
const first = (errors: unknown): unknown => Object(Object(Array.isArray(errors) ? errors[0] : undefined)["extensions"]);

const overHttp: Ask = async (token, query) => first((await house.graphql(query, { token })).body.errors);
const overSocket: Ask = async (token, query) => {
  await using client = createTestClient(house.socketUrl, token);
  const { failure, results } = client.run(query);
  await eventually(() => expect(failure() ?? results[0]).toBeDefined());
  return first(failure() ?? results[0]?.errors);
};
const overEvents: Ask = async (token, query) => {
  const client = createClient({
    url: `${house.url}/graphql/stream`,
    headers: { authorization: `Bearer ${token}` },
    retryAttempts: 0,
  });
  for await (const { errors } of client.iterate({ query })) return first(errors);
  return undefined;
};

describe.each<[string, Ask, string[]]>([
  ["HTTP", overHttp, [DEVICES]],
  ["a socket", overSocket, [DEVICES, CHANGES, RELAYED]],
  ["an event stream", overEvents, [DEVICES, CHANGES, RELAYED]],
])("over %s", (_transport, ask, texts) => {
  it("a token without the scope is refused before any subgraph is asked", async () => {
    const token = await house.token(ada, { scope: "profile" });
    for (const text of texts)
      expect([text, await ask(token, text)]).toMatchObject([
        text,
        {
          code: "FORBIDDEN",
          reason: "INSUFFICIENT_SCOPE",
          details: { scope: "account" },
          requestId: expect.any(String),
        },
      ]);
    expect(house.state.calls).toEqual([]);
  });

  it("an old sign-in is refused before any subgraph is asked, and a fresh one is not", async () => {
    expect(await ask(await house.token(ada, { age: 301 }), ERASE)).toMatchObject({
      code: "STEP_UP_REQUIRED",
      reason: "AUTHENTICATION_TOO_OLD",
      details: { maxAge: 300, acrValues: ["aal1"] },
    });
    expect(house.state.calls).toEqual([]);
    await ask(await house.token(ada, { age: 290 }), ERASE);
    expect(house.state.calls).toMatchObject([{ subgraph: "user-state" }]);
  });
});

it("no subgraph hears of what a token may not ask for, whatever is asked", async () => {
  const { schema, declarations } = createPlanner(loadSupergraph());
  const demanding = arbitraryOperations(schema).filter(
    ({ document }) => compileDemand({ schema, declarations }, document, undefined) !== undefined,
  );
  const token = await house.token(ada, { scope: "" });
  let lacking = 0;
  await fc.assert(
    fc.asyncProperty(demanding, async ({ text, variables }) => {
      const { status, body } = await house.graphql(text, { token, variables });
      expect(status).toBeGreaterThanOrEqual(400);
      expect(body.data).toBeUndefined();
      // Other operations exceed a limit or cannot be planned.
      if (body.errors?.[0]?.extensions["reason"] === "INSUFFICIENT_SCOPE") lacking += 1;
      expect(house.state.calls).toEqual([]);
    }),
    { numRuns: 60 },
  );
  expect(lacking).toBeGreaterThan(30);
});

describe("over HTTP, RFC 6750 and RFC 9470 name the header", () => {
  it("with the scheme of the token, where that is bound to a key", async () => {
    const client = await createDpopClient(house.url, house.url);
    const { status, headers } = await client.graphql(ERASE, await house.token(ada, { jkt: client.jkt, age: 301 }));
    expect([status, headers.get("www-authenticate")]).toEqual([
      401,
      expect.stringMatching(/^DPoP error="insufficient_user_authentication", .*max_age="300", algs="/),
    ]);
  });

  it.each(["/account/state", "/account/security-events"])(
    "for %s likewise, and its owner is not asked",
    async (path) => {
      const get = async (claims: { age?: number; scope?: string }): Promise<unknown> => {
        const authorization = `Bearer ${await house.token(ada, claims)}`;
        const { status, headers } = await fetch(house.url + path, { headers: { authorization } });
        return [status, headers.get("www-authenticate")];
      };
      expect(await get({ scope: "" })).toEqual([403, expect.stringMatching(/insufficient_scope.*scope="account"/)]);
      expect(await get({ age: 301 })).toEqual([401, expect.stringMatching(/max_age="300"/)]);
      // The house's subgraphs lack this route, so an error from it shows that the subgraph was called.
      expect(await get({})).toEqual([500, null]);
    },
  );

  it.each<
    [what: string, text: string, token: { age?: number; scope?: string } | undefined, status: number, header: string]
  >([
    ["nobody", DEVICES, undefined, 401, 'Bearer, DPoP algs="ES256 Ed25519 EdDSA"'],
    [
      "a token without the scope",
      DEVICES,
      { scope: "" },
      403,
      'Bearer error="insufficient_scope", error_description="The token does not have the required scope.", scope="account"',
    ],
    [
      "an old sign-in",
      ERASE,
      { age: 301 },
      401,
      'Bearer error="insufficient_user_authentication", error_description="Sign in again to do this.", ' +
        'acr_values="aal1", max_age="300"',
    ],
  ])("for %s", async (_what, text, claims, status, header) => {
    const answer = await house.graphql(text, claims && { token: await house.token(ada, claims) });
    expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([status, header]);
  });
});
