/** Operations over the socket that a gateway shares among all its callers. */
import {
  type Caller,
  createIdentitySigner,
  createIdentityVerifier,
  generateKey,
  IDENTITY_HEADER,
  REQUEST_ID_HEADER,
} from "@continuo/access";
import { openOperationSockets, type OperationSockets } from "@continuo/operation-socket";
import { createHealth, createLogger } from "@continuo/process";
import { parse } from "graphql";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { requireViewer, startSubgraph, type Subgraph, type SubgraphContext } from "./index.ts";
import { testViewer } from "./testing.ts";

const typeDefs = parse(`type Query { userId: ID! requestId: ID! } type Mutation { rename(to: String!): String! }`);
const resolvers = {
  Query: {
    userId: (_root: unknown, _args: unknown, context: SubgraphContext) => requireViewer(context).userId,
    requestId: (_root: unknown, _args: unknown, { requestId }: SubgraphContext) => requestId,
  },
  Mutation: { rename: (_root: unknown, { to }: { to: string }) => to },
};
const logger = createLogger({ name: "test", level: "silent" });
const keys = await generateKey("Ed25519");
const [ours, theirs] = [keys, await generateKey("Ed25519")].map(({ privateJwk }) => createIdentitySigner(privateJwk));
const GATEWAY: Caller = { kind: "service", name: "gateway" };
const WITHIN = { withinMs: 60_000 };
const soon = { timeout: 60_000, interval: 10 };

let subgraph: Subgraph;
let stack: AsyncDisposableStack;
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  subgraph = stack.use(
    await startSubgraph<SubgraphContext>({
      name: "sample",
      host: "127.0.0.1",
      port: 0,
      typeDefs,
      resolvers,
      identity: createIdentityVerifier(keys.publicJwk),
      health: createHealth(),
      logger,
      context: (base) => base,
    }),
  );
});
afterEach(() => stack.disposeAsync());

async function statementOf(caller: Caller, signer = ours): Promise<Record<string, string>> {
  return { [IDENTITY_HEADER]: (await signer?.sign(caller)) ?? "" };
}

function open(headers: () => Promise<Record<string, string>>): OperationSockets {
  return stack.use(openOperationSockets({ url: subgraph.url.replace(/graphql$/, ""), headers, logger }));
}

async function opened(): Promise<OperationSockets> {
  const sockets = open(() => statementOf(GATEWAY));
  await vi.waitUntil(() => sockets.ask({ query: "{ requestId }" }, {}, WITHIN), soon);
  return sockets;
}

describe("an operation", () => {
  test("runs as the caller whom it names, not as the gateway or the caller beside it", async () => {
    const sockets = await opened();
    const people = [testViewer(), testViewer()];
    const answers = people.map(async (person, index) =>
      sockets.ask(
        { query: "query { userId requestId }" },
        { ...(await statementOf(person)), [REQUEST_ID_HEADER]: `r${index}` },
        WITHIN,
      ),
    );
    expect(await Promise.all(answers)).toEqual(
      people.map(({ viewer }, index) => ({ data: { userId: viewer.userId, requestId: `r${index}` } })),
    );
    const change = { query: "mutation ($to: String!) { rename(to: $to) }", variables: { to: "Ada" } };
    expect(await sockets.ask(change, await statementOf(GATEWAY), WITHIN)).toEqual({ data: { rename: "Ada" } });
  });

  test.each<[string, () => Promise<Record<string, string>>]>([
    ["without a statement of its own", async () => ({})],
    ["with another's", () => statementOf(testViewer(), theirs)],
  ])("%s is refused, and harms no other", async (_case, headersOf) => {
    const sockets = await opened();
    expect(
      await sockets.ask({ query: "{ requestId }" }, { ...(await headersOf()), [REQUEST_ID_HEADER]: "r1" }, WITHIN),
    ).toEqual({
      errors: [
        {
          message: expect.any(String),
          extensions: { code: "UNAUTHENTICATED", reason: "INTERNAL_IDENTITY_REQUIRED", requestId: "r1" },
        },
      ],
    });
    const { viewer, ...person } = testViewer();
    expect(await sockets.ask({ query: "{ userId }" }, await statementOf({ ...person, viewer }), WITHIN)).toEqual({
      data: { userId: viewer.userId },
    });
  });

  test("that is not valid says so", async () => {
    const sockets = await opened();
    expect(await sockets.ask({ query: "{ absent }" }, await statementOf(GATEWAY), WITHIN)).toMatchObject({
      errors: [{ extensions: { code: "BAD_USER_INPUT", reason: "DOCUMENT_INVALID" } }],
    });
  });
});

test.each<[string, () => Promise<Record<string, string>>]>([
  ["nobody", async () => ({})],
  ["a person", () => statementOf(testViewer())],
  ["somebody else's gateway", () => statementOf(GATEWAY, theirs)],
])("%s opens no such socket", async (_case, headers) => {
  const asking = vi.fn<typeof headers>(headers);
  const sockets = open(asking);
  expect(sockets.ask({ query: "{ requestId }" }, {}, WITHIN)).toBeUndefined();
  await vi.waitFor(() => expect(asking).toHaveBeenCalledOnce(), soon);
  await expect(vi.waitUntil(() => sockets.ask({ query: "{ requestId }" }, {}, WITHIN), 200)).rejects.toThrow(
    "Timed out",
  );
});
