/**
 * Stands in for the gateway in a subgraph's tests: it signs who is calling, and asks over HTTP as the gateway would.
 *
 *     const gateway = await createTestGateway();
 *     await using subgraph = await startApp(loadEnv({ PORT: "0", GATEWAY_PUBLIC_KEY: gateway.publicKey }));
 *     const { data } = await gateway.ask(subgraph, "{ invoices { id } }", { as: testViewer() });
 */
import { createIdentitySigner, generateKey, IDENTITY_HEADER, type Caller, type Viewer } from "@continuo/access";
import { randomUUID } from "node:crypto";
import { z } from "zod";

const Answer = z.object({
  data: z
    .record(z.string(), z.unknown())
    .nullish()
    .transform((data) => data ?? null),
  errors: z
    .array(
      z.object({
        message: z.string(),
        path: z.array(z.union([z.string(), z.number()])).optional(),
        extensions: z.looseObject({ code: z.string(), reason: z.string() }),
      }),
    )
    .default([]),
});

const ANONYMOUS: Caller = { kind: "anonymous" };

export interface TestAnswer extends z.output<typeof Answer> {
  /** The HTTP status. */
  readonly status: number;
  /** The raw body, to check what must not appear anywhere in it. */
  readonly text: string;
}

export interface TestGateway {
  /** `GATEWAY_PUBLIC_KEY` for a subgraph that is to trust this gateway. */
  readonly publicKey: string;
  /** Runs an operation as a caller (default: anonymous); `headers` are added to, or replace, the caller's statement. */
  ask(
    subgraph: { readonly url: string },
    query: string,
    options?: { as?: Caller; variables?: Record<string, unknown>; headers?: Record<string, string> },
  ): Promise<TestAnswer>;
  /** Resolves references, as when another subgraph's answer continues in this one; `selection` is on the first one's type. */
  entities(
    subgraph: { readonly url: string },
    references: readonly { readonly __typename: string; readonly [key: string]: unknown }[],
    selection: string,
    options?: { as?: Caller },
  ): Promise<TestAnswer>;
}

/** A test gateway with its own key. */
export async function createTestGateway(): Promise<TestGateway> {
  const { publicJwk, privateJwk } = await generateKey("Ed25519");
  const signer = createIdentitySigner(privateJwk);

  const ask: TestGateway["ask"] = async ({ url }, query, { as = ANONYMOUS, variables, headers } = {}) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", [IDENTITY_HEADER]: await signer.sign(as), ...headers },
      body: JSON.stringify({ query, variables }),
    });
    const text = await response.text();
    return { ...Answer.parse(JSON.parse(text)), status: response.status, text };
  };

  return {
    publicKey: JSON.stringify(publicJwk),
    ask,
    entities: (subgraph, references, selection, options) =>
      ask(
        subgraph,
        `query ($references: [_Any!]!) {
          _entities(representations: $references) { ... on ${references[0]?.__typename ?? "_Entity"} { ${selection} } }
        }`,
        { ...options, variables: { references } },
      ),
  };
}

/** A signed-in caller, a different one each time; `said` sets what the test needs to know. */
export function testViewer(said: Partial<Viewer> = {}): Caller & { readonly kind: "viewer" } {
  return {
    kind: "viewer",
    viewer: {
      userId: randomUUID(),
      sessionId: randomUUID(),
      deviceId: randomUUID(),
      applicationId: "continuo",
      acr: "aal1",
      amr: ["pwd"],
      authTime: Math.floor(Date.now() / 1_000),
      ...said,
    },
  };
}
