import { type AccessTokenClaims, viewerOf } from "@continuo/access";
import { isAppError } from "@continuo/errors";
import Fastify, { type FastifyInstance } from "fastify";
import { PassThrough } from "node:stream";
import { expect, it } from "vitest";
import { serveAccount } from "./account.ts";
import type { Admission, ViewerAdmission } from "./caller.ts";
import { claimsOf } from "./fixtures/claims.ts";
import { eventually } from "./fixtures/eventually.ts";
import { createRevocationSet } from "./revocation/revocation-set.ts";
import { createStreamRegistry } from "./revocation/stream-registry.ts";

/** An authorization names who asks, and their session. */
function admissionOf(userId: string, shown: Partial<AccessTokenClaims> = {}): ViewerAdmission {
  const signedIn = { sub: userId, scope: "account", auth_time: Math.floor(Date.now() / 1_000) };
  const claims = { ...claimsOf(userId), ...signedIn, ...shown };
  return { caller: { kind: "viewer", viewer: viewerOf(claims) }, claims };
}

/** Both owners begin an answer, and never end it by themselves. */
async function startAccount(http: FastifyInstance, admit: (who: string) => Admission = admissionOf) {
  http.setErrorHandler((thrown, _request, reply) => reply.code(429).send(isAppError(thrown) ? thrown.reason : "BUG"));
  const bodies: PassThrough[] = [];
  const owner = {
    stream: async () => {
      const body = new PassThrough();
      body.write("first\n");
      bodies.push(body);
      return { body, contentType: "application/x-ndjson" };
    },
  };
  const revocations = createRevocationSet(() => 0);
  const registry = createStreamRegistry(revocations);
  serveAccount(http, {
    session: owner,
    userState: owner,
    admissions: {
      admit: async (authorization = "") => admit(authorization),
      redeem: async (ticket) => admissionOf(ticket),
    },
    rates: { operation: async () => undefined },
    networkOf: () => undefined,
    registry,
  });
  const url = await http.listen({ host: "127.0.0.1", port: 0 });
  const ask = (who: string, name = "state", signal?: AbortSignal): Promise<Response> =>
    fetch(`${url}/account/${name}`, { headers: { authorization: who }, ...(signal && { signal }) });
  return { bodies, registry, ask };
}

it.each<[string, Admission, string]>([
  ["has not signed in", { caller: { kind: "anonymous" } }, "SIGN_IN_REQUIRED"],
  ["signed in too long ago", admissionOf("ada", { auth_time: 0, step_up: 300 }), "AUTHENTICATION_TOO_OLD"],
  ["has a token for something else", admissionOf("ada", { scope: "other" }), "INSUFFICIENT_SCOPE"],
])("asks no owner for whoever %s", async (_who, admission, reason) => {
  await using http = Fastify();
  const { bodies, ask } = await startAccount(http, () => admission);
  for (const name of ["state", "security-events"]) expect(await (await ask("ada", name)).text()).toBe(reason);
  expect(bodies).toEqual([]);
});

it("breaks off what is under way when its session ends", async () => {
  await using http = Fastify();
  const { bodies, registry, ask } = await startAccount(http);
  const [hers, his] = [await ask("ada"), await ask("alan")];
  expect(registry.counts().get("EXPORT")).toBe(2);
  expect(registry.endSession("ada", "SIGNED_OUT_REMOTELY")).toBe(1);
  await expect(hers.text()).rejects.toThrow("terminated");
  await eventually(() => expect(bodies.map(({ destroyed }) => destroyed)).toEqual([true, false]));
  bodies[1]?.end("last\n");
  expect(await his.text()).toBe("first\nlast\n");
  await eventually(() => expect(registry.counts().get("EXPORT") ?? 0).toBe(0));
});

it("gives a person one of a kind at a time, and the next when it has been read or left", async () => {
  await using http = Fastify();
  const { bodies, ask } = await startAccount(http);

  const leaving = new AbortController();
  expect((await ask("ada", "state", leaving.signal)).status).toBe(200);
  const refused = await ask("ada");
  expect([refused.status, await refused.text()]).toEqual([429, "EXPORT_UNDER_WAY"]);
  const [others, another] = [await ask("alan"), await ask("ada", "security-events")];
  expect([others.status, another.status]).toEqual([200, 200]);

  leaving.abort();
  await eventually(async () => {
    const again = await ask("ada");
    expect(again.status).toBe(200);
    bodies.at(-1)?.end("last\n");
    expect(await again.text()).toBe("first\nlast\n");
  });
  await eventually(async () => expect((await ask("ada")).status).toBe(200));
  for (const body of bodies) body.end();
  await Promise.all([others.text(), another.text()]);
});
