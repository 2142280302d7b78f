/** One session per worker, each refresh token exchanged for its successor. */
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { dataOf, REFRESH } from "../operations.ts";
import { openGraphQLClient, wireRequest } from "./graphql-client.ts";

const Options = z.object({ url: z.string(), refreshTokens: z.array(z.string()) });

export async function openDriver(options: unknown, workers: number): Promise<Driver> {
  const { url, refreshTokens } = Options.parse(options);
  if (refreshTokens.length < workers) throw new RangeError("each worker needs a session of its own");
  const client = openGraphQLClient(url, workers);
  return {
    async operate(worker) {
      const refreshToken = refreshTokens[worker];
      const { refreshSession } = dataOf(REFRESH, await client.post(wireRequest(REFRESH, { refreshToken })));
      if (refreshSession.refreshToken === refreshToken) throw new Error("the refresh token did not change");
      refreshTokens[worker] = refreshSession.refreshToken;
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}
