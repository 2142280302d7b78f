/** Where sessions are used from: said by the gateway, shown to their owner, found by an operator. */
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => system[Symbol.asyncDispose]());

const REYKJAVIK = { ipPrefix: "130.208.0.0/24", country: "IS" };
const AMSTERDAM = { ipPrefix: "193.0.6.0/24", country: "NL" };
const NOWHERE = { ipPrefix: null, country: null };

const Grant = z.object({ gid: z.string(), gen: z.number() });

async function use({ viewer, tokens }: SignedIn, ...prefixes: (string | undefined)[]): Promise<void> {
  system.clock.advance(61_000);
  const { gid, gen } = Grant.parse(decodeJwt(tokens.accessToken));
  const at = system.clock.now.getTime();
  const seen = prefixes.map((ipPrefix, index) => ({
    sessionId: viewer.sessionId,
    at: at - (prefixes.length - 1 - index),
    grantId: gid,
    generation: gen,
    ...(ipPrefix !== undefined && { ipPrefix }),
  }));
  expect(await system.internal("/internal/activity", { seen })).toMatchObject({ status: 204 });
}

async function placeOf(person: SignedIn): Promise<unknown> {
  const { viewer } = z
    .object({ viewer: z.object({ session: z.unknown() }) })
    .parse(await person.data("{ viewer { session { ipPrefix country } } }"));
  return viewer.session;
}

describe("where a session is used from", () => {
  it("is where it began, until it is used elsewhere", async () => {
    const phone = await system.person().signIn({ ipPrefix: REYKJAVIK.ipPrefix });
    expect(await placeOf(phone)).toEqual(REYKJAVIK);
    await use(phone, REYKJAVIK.ipPrefix, AMSTERDAM.ipPrefix);
    expect(await placeOf(phone)).toEqual(AMSTERDAM);
  });

  it("stays what it was when it is not known, and has no country that nobody knows", async () => {
    const phone = await system.person().signIn();
    expect(await placeOf(phone)).toEqual(NOWHERE);
    await use(phone, AMSTERDAM.ipPrefix);
    await use(phone, undefined);
    expect(await placeOf(phone)).toEqual(AMSTERDAM);
    await use(phone, "192.0.2.0/24");
    expect(await placeOf(phone)).toEqual({ ipPrefix: "192.0.2.0/24", country: null });
  });
});
