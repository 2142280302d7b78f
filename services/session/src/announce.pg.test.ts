import { AccessTokenClaims } from "@continuo/access";
import { createLogger } from "@continuo/process";
import { devicesTopic, REVOCATIONS_TOPIC, startPokes } from "@continuo/signals";
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { faultOf, tokensIn, type Person, type SignedIn } from "./person.fixture.ts";
import { startSystem, type System } from "./system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => system[Symbol.asyncDispose]());

interface Cast {
  readonly person: Person;
  /** Its key is `key`. */
  readonly phone: SignedIn;
  readonly laptop: SignedIn;
}

const key = "of-the-phone";
const Receipt = z.object({ receipt: z.object({ seq: z.string() }) });

async function signOutPhone({ laptop }: Cast): Promise<string> {
  const answer = await laptop.data("mutation { signOutOtherDevices { receipt { seq } } }");
  return Receipt.parse(answer["signOutOtherDevices"]).receipt.seq;
}
const internal = async (path: string, body: unknown): Promise<void> =>
  expect((await system.internal(path, body)).status).toBeLessThan(300);

describe("whoever follows revocations or a person's devices is poked after the commit of", () => {
  it.each<[string, boolean, (cast: Cast) => Promise<unknown>]>([
    ["a sign-in", false, ({ person }) => person.signIn()],
    ["a sign-in that ends the former session", true, ({ person }) => person.signIn({ jkt: key })],
    ["a sign-out", true, signOutPhone],
    [
      "a sign-out that is taken back",
      true,
      async (cast) =>
        cast.laptop.data("mutation ($seq: String!) { undoSignOut(seq: $seq) { receipt { seq } } }", {
          seq: await signOutPhone(cast),
        }),
    ],
    [
      "a sign-out that a gateway closed a connection for",
      false,
      async (cast) => {
        const acks = [{ seq: Number(await signOutPhone(cast)), socketsClosed: 1 }];
        await internal("/internal/revocations", { replica: "gateway-1", after: 0, acks });
      },
    ],
    [
      "a step-up",
      true,
      async ({ person, laptop }) =>
        tokensIn(await laptop.tryStepUp(await system.grant({ sub: person.userId })), "stepUp"),
    ],
    [
      "the end of a session whose token was stolen",
      true,
      async ({ laptop }) => {
        await laptop.refresh((await laptop.refresh()).refreshToken);
        system.clock.advance(10_001);
        expect(faultOf(await laptop.tryRefresh())).toBe("UNAUTHENTICATED REFRESH_TOKEN_REUSED");
      },
    ],
    [
      "activity",
      false,
      async ({ laptop }) => {
        system.clock.advance(61_000);
        const { sid, gid, gen } = AccessTokenClaims.parse(decodeJwt(laptop.tokens.accessToken));
        const seen = [{ sessionId: sid, grantId: gid, generation: gen, at: system.clock.now.getTime() }];
        await internal("/internal/activity", { seen });
      },
    ],
    [
      "a device's new name",
      false,
      ({ laptop, phone }) =>
        laptop.data(`mutation ($id: ID!) { renameDevice(id: $id, name: "Study") { id } }`, {
          id: phone.viewer.deviceId,
        }),
    ],
  ])("%s", async (_what, isLogged, happens) => {
    const person = system.person();
    const cast = { person, phone: await person.signIn({ jkt: key }), laptop: await person.signIn() };
    await using pokes = await startPokes({
      databaseUrl: system.env.DATABASE_URL,
      logger: createLogger({ name: "test", level: "silent" }),
    });
    const devices = devicesTopic(person.userId);
    const heard: string[] = [];
    for (const topic of [REVOCATIONS_TOPIC, devices])
      await pokes.subscribe(topic, { onPoke: (number) => heard.push(`${topic} ${number}`), onGap: () => undefined });
    await happens(cast);
    const { rows } = await system.admin.query<{ rev: string; seq: string }>(
      "SELECT device_rev AS rev, seq FROM session.user_heads, session.revocation_head WHERE user_id = $1",
      [person.userId],
    );
    const [head] = rows;
    const expected = [`${devices} ${head?.rev}`, ...(isLogged ? [`${REVOCATIONS_TOPIC} ${head?.seq}`] : [])];
    await vi.waitFor(() => expect(heard).toEqual(expect.arrayContaining(expected)), 60_000);
  });
});
