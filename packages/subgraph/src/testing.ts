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
  /** Of HTTP. */
  readonly status: number;
  /** As it came, for what must not be anywhere in it. */
  readonly text: string;
}

export interface TestGateway {
  /** `GATEWAY_PUBLIC_KEY` of a subgraph that is to believe it. */
  readonly publicKey: string;
  /** Runs an operation as somebody, else as nobody who is signed in; `headers` come beside, or in place of, who it is. */
  ask(
    subgraph: { readonly url: string },
    query: string,
    options?: { as?: Caller; variables?: Record<string, unknown>; headers?: Record<string, string> },
  ): Promise<TestAnswer>;
  /** Has references resolved, as when another subgraph's answer goes on in this one; `selection` of the first one's type. */
  entities(
    subgraph: { readonly url: string },
    references: readonly { readonly __typename: string; readonly [key: string]: unknown }[],
    selection: string,
    options?: { as?: Caller },
  ): Promise<TestAnswer>;
}

/** A gateway with a key of its own. */
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

/** Somebody who is signed in, each time somebody else; `said` is what the test needs to know of them. */
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
