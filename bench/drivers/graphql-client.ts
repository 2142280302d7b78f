/** The lightest honest client: one keep-alive connection per worker, every answer read to its end and checked. */
import { Pool } from "undici";
import { z } from "zod";

/** A GraphQL request in its wire form, prepared before the measurement if it never changes. */
export const WireRequest = z.object({ body: z.string(), authorization: z.string().optional() });
export type WireRequest = z.infer<typeof WireRequest>;

export interface GraphQLClient extends AsyncDisposable {
  /** The answer's text. Rejects unless it is HTTP 200 without a GraphQL error. */
  post(request: WireRequest): Promise<string>;
}

/** `url` is the full endpoint. */
export function openGraphQLClient(url: string, connections: number): GraphQLClient {
  const { origin, pathname } = new URL(url);
  const pool = new Pool(origin, { connections, pipelining: 1 });
  return {
    async post({ body, authorization }) {
      const headers = { "content-type": "application/json", ...(authorization && { authorization }) };
      const response = await pool.request({ method: "POST", path: pathname, headers, body });
      const text = await response.body.text();
      if (response.statusCode !== 200 || text.includes('"errors":')) {
        throw new Error(`HTTP ${response.statusCode}: ${text.slice(0, 500)}`);
      }
      return text;
    },
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

/** The wire form of an operation; `name` lets a yardstick recognise it without a parser. */
export function wireRequest(
  operation: { name: string; query: string },
  variables: Readonly<Record<string, unknown>>,
  accessToken?: string,
): WireRequest {
  const body = JSON.stringify({ operationName: operation.name, query: operation.query, variables });
  return accessToken === undefined ? { body } : { body, authorization: `Bearer ${accessToken}` };
}
