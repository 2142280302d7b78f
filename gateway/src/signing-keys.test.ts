import { generateKey, type Jwk } from "@continuo/access";
import { createLogger } from "@continuo/process";
import { SIGNING_KEYS_TOPIC } from "@continuo/signals";
import Fastify from "fastify";
import { importJWK, SignJWT } from "jose";
import { randomUUID } from "node:crypto";
import { expect, it, onTestFinished } from "vitest";
import { eventually } from "./fixtures/eventually.ts";
import { createMemoryPokes } from "./fixtures/memory-pokes.ts";
import { startTokenVerifier } from "./signing-keys.ts";

const issuer = "https://continuo.test";
const audience = "continuo";

async function tokenBy(key: Jwk): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  return new SignJWT({
    client_id: "continuo",
    sid: randomUUID(),
    did: randomUUID(),
    jti: randomUUID(),
    auth_time: now,
    acr: "aal1",
    amr: ["pwd"],
    scope: "account",
    gid: randomUUID(),
    gen: 1,
    uep: 0,
    posture: "STRICT",
  })
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: key.kid })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(randomUUID())
    .setIssuedAt(now)
    .setExpirationTime(now + 300)
    .sign(await importJWK(key, "ES256"));
}

it.each([
  ["that hears of it", undefined],
  ["that nobody tells, soon,", 20],
])(
  "a gateway %s refuses the tokens of a key that was taken back, also those it has seen",
  async (_what, lookEveryMs) => {
    const [former, next] = await Promise.all([generateKey("ES256"), generateKey("ES256")]);
    let published = [former.publicJwk, next.publicJwk];
    const session = Fastify();
    onTestFinished(() => session.close());
    session.get("/keys", () => ({ keys: published }));
    const url = new URL("/keys", await session.listen({ host: "127.0.0.1", port: 0 }));
    const pokes = createMemoryPokes();
    const logger = createLogger({ name: "test", level: "silent" });
    await using verifier = await startTokenVerifier({
      url,
      issuer,
      audience,
      pokes,
      logger,
      ...(lookEveryMs && { lookEveryMs }),
    });

    const seen = await tokenBy(former.privateJwk);
    expect((await verifier.verify(seen)).iss).toBe(issuer);
    published = [next.publicJwk];
    if (lookEveryMs === undefined) await pokes.publish(SIGNING_KEYS_TOPIC, Date.now());
    await eventually(() => expect(verifier.verify(seen)).rejects.toMatchObject({ reason: "TOKEN_INVALID" }));
    await expect(verifier.verify(await tokenBy(former.privateJwk))).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
    expect((await verifier.verify(await tokenBy(next.privateJwk))).iss).toBe(issuer);
  },
);
