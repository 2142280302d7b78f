/** A database restored to an earlier state has another revocation log, which no gateway may mistake for the one it knows. */
import { randomUUID } from "node:crypto";
import { decodeJwt } from "jose";
import { expect, it, vi } from "vitest";
import { z } from "zod";
import { startSessionBehindGateway } from "./session-behind-gateway.ts";

const Started = z.object({ data: z.object({ startSession: z.object({ accessToken: z.string() }) }) });

it("a gateway notices, though the log has grown to where it was, and keeps out whoever that one has ended", async () => {
  await using door = await startSessionBehindGateway();
  const send = async (query: string, variables: object, token?: string): Promise<unknown> => {
    const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
    const body = JSON.stringify({ query, variables });
    return (await fetch(`${door.url}/graphql`, { method: "POST", headers, body })).json();
  };
  async function signIn(): Promise<string> {
    const device = { name: "A phone", platform: "PHONE" };
    const input = { grant: await door.grant({ sub: randomUUID() }), applicationId: "continuo", device };
    const answer = await send("mutation ($input: StartSessionInput!) { startSession(input: $input) { accessToken } }", {
      input,
    });
    return Started.parse(answer).data.startSession.accessToken;
  }
  /** The gateway answers this from its copy of the log. */
  const check = async (token: string): Promise<number> =>
    (await fetch(`${door.url}/auth/check`, { headers: { authorization: `Bearer ${token}` } })).status;

  const [before, after] = [await signIn(), await signIn()];
  await send("mutation { signOut { receipt { seq } } }", {}, before);
  await vi.waitFor(async () => expect(await check(before)).toBe(401), 60_000);
  expect(await check(after)).toBe(204);

  await door.admin.query(
    `UPDATE session.revocations SET session_ids = ARRAY[$1::uuid], at = at + interval '1 second'
      WHERE seq = (SELECT seq FROM session.revocation_head)`,
    [decodeJwt(after)["sid"]],
  );
  await vi.waitFor(async () => expect(await check(after)).toBe(401), 60_000);
});
