/** RFC 6749 section 6 over the wire: one session per worker, each refresh token exchanged for its successor. */
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { openHttpClient } from "./http-client.ts";

const Options = z.object({
  origin: z.string(),
  path: z.string(),
  clientId: z.string(),
  refreshTokens: z.array(z.string()),
});
const Answer = z.object({ access_token: z.string(), refresh_token: z.string() });

export async function openDriver(options: unknown, workers: number): Promise<Driver> {
  const { origin, path, clientId, refreshTokens } = Options.parse(options);
  if (refreshTokens.length < workers) throw new RangeError("each worker needs a session of its own");
  const client = openHttpClient(origin, workers);
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  return {
    async operate(worker) {
      const refreshToken = refreshTokens[worker] ?? "";
      const body = `grant_type=refresh_token&client_id=${clientId}&refresh_token=${refreshToken}`;
      const text = await client.send({ method: "POST", path, headers, body, expect: "refresh_token" });
      const { refresh_token } = Answer.parse(JSON.parse(text));
      if (refresh_token === refreshToken) throw new Error("the refresh token did not change");
      refreshTokens[worker] = refresh_token;
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}
