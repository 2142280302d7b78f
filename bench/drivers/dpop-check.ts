/** One key and one session bound to it per worker; each check has a fresh proof, made here, within the measured time. */
import { Pool } from "undici";
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { createProver, type Prove } from "./dpop-proof.ts";

const Options = z.object({ origin: z.string(), clientId: z.string(), grants: z.array(z.string()) });
const Answer = z.object({ access_token: z.string(), token_type: z.literal("DPoP") });
const CHECK = "/auth/check";

interface Holder {
  readonly prove: Prove;
  readonly accessToken: string;
}

export async function openDriver(options: unknown, workers: number): Promise<Driver> {
  const { origin, clientId, grants } = Options.parse(options);
  if (grants.length < workers) throw new RangeError("each worker needs a session of its own");
  const pool = new Pool(origin, { connections: workers, pipelining: 1 });

  /** The answer to the first proof brings the nonce that the second one needs (RFC 9449 section 8). */
  async function signIn(assertion: string, prove: Prove, nonce?: string): Promise<Holder> {
    const path = "/oauth/token";
    const body = new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      client_id: clientId,
      device_name: "Bench device",
      assertion,
    }).toString();
    const dpop = prove({ method: "POST", url: origin + path, ...(nonce !== undefined && { nonce }) });
    const headers = { "content-type": "application/x-www-form-urlencoded", dpop };
    const answer = await pool.request({ method: "POST", path, headers, body });
    const text = await answer.body.text();
    if (answer.statusCode === 200) return { prove, accessToken: Answer.parse(JSON.parse(text)).access_token };
    const given = answer.headers["dpop-nonce"];
    if (nonce !== undefined || given === undefined) throw new Error(`${path} was answered ${text.slice(0, 500)}`);
    return signIn(assertion, prove, String(given));
  }

  const holders = await Promise.all(grants.map((grant) => signIn(grant, createProver())));
  return {
    async operate(worker) {
      const holder = holders[worker];
      if (!holder) throw new RangeError("each worker needs a session of its own");
      const { prove, accessToken } = holder;
      const dpop = prove({ method: "GET", url: origin + CHECK, accessToken });
      const headers = { authorization: `DPoP ${accessToken}`, dpop };
      const answer = await pool.request({ method: "GET", path: CHECK, headers });
      const text = await answer.body.text();
      if (answer.statusCode !== 204) throw new Error(`${CHECK} was answered HTTP ${answer.statusCode}: ${text}`);
    },
    [Symbol.asyncDispose]: () => pool.close(),
  };
}
