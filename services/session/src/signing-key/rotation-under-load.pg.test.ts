import { randomBytes } from "node:crypto";
import { createLogger } from "@continuo/process";
import { startPokes, type Pokes } from "@continuo/signals";
import {
  createRemoteJWKSet,
  errors,
  jwksCache,
  jwtVerify,
  type JWKSCacheInput,
  type JWTVerifyGetKey,
  type RemoteJWKSetOptions,
} from "jose";
import { Pool } from "pg";
import { afterEach, beforeEach, expect, it } from "vitest";
import { announceKeys } from "../announce.ts";
import { createSeal } from "../master-key/seal.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { createKeyRotation, rotationTimes, type RotationTimes, type Step } from "./key-rotation.ts";
import { SIGNING_KEY_SEAL } from "./signing-key.ts";
import { createSigningKeyStore } from "./signing-key.store.ts";

const STEP_MS = 20_000;
const CLIENTS = 4;

let system: System;
let pool: Pool;
let pokes: Pokes;
beforeEach(async () => {
  system = await startSystem();
  const { DATABASE_URL: databaseUrl } = system.env;
  pool = new Pool({ connectionString: databaseUrl });
  pokes = await startPokes({ databaseUrl, logger: createLogger({ name: "test", level: "silent" }) });
});
afterEach(async () => {
  await pokes[Symbol.asyncDispose]();
  await pool.end();
  await system[Symbol.asyncDispose]();
});

/** A jose key set whose cache ages on demand: it is recreated with an earlier time of the last fetch. */
function agingKeySet(url: URL, options: RemoteJWKSetOptions): { keys: JWTVerifyGetKey; age(ms: number): void } {
  const cache: JWKSCacheInput = {};
  const make = (): JWTVerifyGetKey => createRemoteJWKSet(url, { ...options, [jwksCache]: cache });
  let current = make();
  return {
    keys: (header, jws) => current(header, jws),
    age(ms) {
      if (cache.uat !== undefined) Object.assign(cache, { uat: cache.uat - ms });
      current = make();
    },
  };
}

/**
 * Refreshes continually while a key is replaced; returns the steps taken and the tokens that a stock verifier refused.
 */
async function rotateUnderLoad(times: RotationTimes): Promise<{ steps: Step[]; kids: number; refused: string[] }> {
  const rotation = createKeyRotation({
    store: createSigningKeyStore(pool),
    seal: createSeal({ masterKeys: system.env.MASTER_KEY, purpose: SIGNING_KEY_SEAL, randomBytes }),
    times,
    announce: announceKeys(pokes),
    now: () => system.clock.now,
  });
  const url = new URL("/.well-known/jwks.json", system.url);
  const verifiers = [
    // jose's defaults: cached for ten minutes, fetched again at the earliest 30 s after the last fetch.
    agingKeySet(url, {}),
    // Cached as the endpoint's Cache-Control says, with a long cooldown between fetches.
    agingKeySet(url, { cacheMaxAge: 300_000, cooldownDuration: 300_000 }),
  ];
  const sessions = await Promise.all(Array.from({ length: CLIENTS }, () => system.person().signIn()));
  const tokens = new Map(sessions.map((session) => [session, session.tokens]));
  const minted: { token: string; until: number }[] = [];
  const kids = new Set<string>();
  const refused: string[] = [];
  const steps: Step[] = [];

  async function verify(token: string): Promise<void> {
    for (const { keys } of verifiers) {
      try {
        const { protectedHeader } = await jwtVerify(token, keys, { currentDate: system.clock.now });
        kids.add(String(protectedHeader.kid));
      } catch (cause) {
        if (!(cause instanceof errors.JOSEError)) throw cause;
        refused.push(cause.code);
      }
    }
  }

  for (const { accessToken } of tokens.values()) await verify(accessToken);
  await rotation.rotate();
  const end = system.clock.now.getTime() + times.publishedMs + times.retiringMs + 300_000;
  while (system.clock.now.getTime() < end) {
    system.clock.advance(STEP_MS);
    for (const verifier of verifiers) verifier.age(STEP_MS);
    steps.push(...(await rotation.turn()));
    for (const session of sessions) {
      const fresh = await session.refresh(tokens.get(session)?.refreshToken);
      tokens.set(session, fresh);
      minted.push({ token: fresh.accessToken, until: system.clock.now.getTime() + fresh.expiresIn * 1_000 });
    }
    const good = minted.filter(({ until }) => until > system.clock.now.getTime());
    // The newest, and one that soon expires.
    for (const { token } of [...good.slice(-CLIENTS), ...good.slice(0, 1)]) await verify(token);
  }
  return { steps, kids: kids.size, refused };
}

it("a stock verifier with its cache and its cooldown never refuses a token while the signing key is replaced", async () => {
  expect(await rotateUnderLoad(rotationTimes(90))).toEqual({
    steps: ["ACTIVATE_NEXT", "RETIRE_FORMER"],
    kids: 2,
    refused: [],
  });
});

it("and it would refuse some if a key signed as soon as it is published", async () => {
  const { refused } = await rotateUnderLoad({ ...rotationTimes(90), publishedMs: 0, retiringMs: 60_000 });
  expect(refused).toContain("ERR_JWKS_NO_MATCHING_KEY");
});
