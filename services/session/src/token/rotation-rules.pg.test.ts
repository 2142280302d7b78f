/**
 * The rules of rotation, exercised over the real endpoint: an honest client is never signed out, whatever replies are
 * lost and however many tabs act at once; a thief is detected at the second use, which costs that one session.
 */
import fc from "fast-check";
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { faultOf, tokensIn, type SignedIn, type Tokens } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

let system: System;
beforeAll(async () => {
  system = await startSystem({ poolSize: 20 });
});
afterAll(async () => system[Symbol.asyncDispose]());

/** What the gateway reports when it first sees an access token. */
async function useAccessToken({ accessToken }: Pick<Tokens, "accessToken">): Promise<void> {
  const { sid, gid, gen } = decodeJwt<{ sid: string; gid: string; gen: number }>(accessToken);
  const seen = [{ sessionId: sid, at: system.clock.now.getTime(), grantId: gid, generation: gen }];
  expect((await system.internal("/internal/activity", { seen })).status).toBe(204);
}

async function isLive({ viewer }: SignedIn): Promise<boolean> {
  const sql = "SELECT state = 'ACTIVE' AS live FROM session.sessions WHERE id = $1";
  return (await system.admin.query<{ live: boolean }>(sql, [viewer.sessionId])).rows[0]?.live === true;
}

/** The token store of one browser: all tabs read it, and store a reply only if it still holds what they read. */
class Store {
  current: Tokens;
  constructor(tokens: Tokens) {
    this.current = tokens;
  }
  replace(read: Tokens, reply: Tokens): void {
    if (this.current === read) this.current = reply;
  }
}

const pause = fc.oneof(
  fc.integer({ min: 0, max: 20 * SECOND }),
  fc.constantFrom(5 * SECOND, 2 * MINUTE, 8 * HOUR),
  fc.integer({ min: 0, max: 9 * HOUR }),
);
/** `arrives`: for each of the tabs that refresh at once, whether the reply gets back to it. */
const step = fc.oneof(
  fc.record({ does: fc.constant("wait" as const), ms: pause }),
  fc.record({
    does: fc.constant("refresh" as const),
    arrives: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
  }),
  fc.record({ does: fc.constant("use" as const) }),
);

describe("an honest browser", () => {
  it("is never signed out: five tabs on one store, replies lost for seconds, minutes or hours, in any order", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (history) => {
        const laptop = await system.person().signIn();
        const store = new Store(laptop.tokens);
        const refused: unknown[] = [];
        for (const event of history) {
          if (event.does === "wait") system.clock.advance(event.ms);
          else if (event.does === "use") await useAccessToken(store.current);
          else {
            const read = store.current;
            const answers = await Promise.all(event.arrives.map(() => laptop.tryRefresh(read.refreshToken)));
            refused.push(...answers.map(faultOf).filter((fault) => fault !== undefined));
            const arrived = answers.filter(
              (answer, tab) => event.arrives[tab] === true && faultOf(answer) === undefined,
            );
            for (const answer of arrived) store.replace(read, tokensIn(answer));
          }
        }
        expect(refused).toEqual([]);
        expect(faultOf(await laptop.tryRefresh(store.current.refreshToken))).toBeUndefined();
        expect(await isLive(laptop)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it("is not signed out for five tabs with a copy each that wake together, time and again", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.integer({ min: 0, max: 9 * SECOND }), { minLength: 5, maxLength: 5 }), {
          minLength: 1,
          maxLength: 4,
        }),
        async (rounds) => {
          const laptop = await system.person().signIn();
          const tabs = Array.from({ length: 5 }, () => laptop.tokens);
          for (const delays of rounds) {
            const order = delays.map((ms, tab) => ({ ms, tab })).toSorted((a, b) => a.ms - b.ms);
            let now = 0;
            for (const { ms, tab } of order) {
              system.clock.advance(ms - now);
              now = ms;
              const answer = await laptop.tryRefresh(tabs[tab]?.refreshToken);
              tabs[tab] = tokensIn(answer);
            }
            for (const tokens of tabs) await useAccessToken(tokens);
            expect(new Set(tabs.map(({ refreshToken }) => refreshToken)).size).toBe(1);
            system.clock.advance(5 * MINUTE);
          }
          expect(await isLive(laptop)).toBe(true);
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe("a thief with a copy of the refresh token", () => {
  /** Both hold the same token, so the order does not matter; whoever refreshes also uses the result. */
  const inUse = fc.record({
    before: fc.integer({ min: 0, max: 3 }),
    gap: fc.oneof(fc.integer({ min: 10 * SECOND + 1, max: 20 * MINUTE }), fc.integer({ min: MINUTE, max: 8 * HOUR })),
  });

  it("is found when the second of the two uses it, whoever that is, at the price of this one session", async () => {
    await fc.assert(
      fc.asyncProperty(inUse, async ({ before, gap }) => {
        const person = system.person();
        const [victim, otherDevice] = [await person.signIn(), await person.signIn()];
        let held = victim.tokens;
        for (let round = 0; round < before; round += 1) held = await victim.refresh(held.refreshToken);
        const stolen = held.refreshToken;
        const first = await victim.tryRefresh(stolen);
        await useAccessToken(tokensIn(first));
        system.clock.advance(gap);
        const second = await victim.tryRefresh(stolen);
        expect(faultOf(second)).toBe("UNAUTHENTICATED REFRESH_TOKEN_REUSED");
        expect(await isLive(victim)).toBe(false);
        expect(faultOf(await victim.tryRefresh(tokensIn(first).refreshToken))).toBe("UNAUTHENTICATED SESSION_ENDED");
        expect(faultOf(await otherDevice.tryRefresh())).toBeUndefined();
      }),
      { numRuns: 30 },
    );
  });

  it("inside the grace gets no branch of its own: the next of the two who lags behind finds it", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({ within: fc.integer({ min: 0, max: 10 * SECOND }), thiefGoesOn: fc.boolean() }),
        async ({ within, thiefGoesOn }) => {
          const victim = await system.person().signIn();
          const stolen = victim.tokens.refreshToken;
          const own = await victim.refresh(stolen);
          system.clock.advance(within);
          const copy = tokensIn(await victim.tryRefresh(stolen));
          expect(copy.refreshToken).toBe(own.refreshToken);
          // From here on there is one chain again, whose latest token both hold.
          const goesOn = await victim.refresh(thiefGoesOn ? copy.refreshToken : own.refreshToken);
          await useAccessToken(goesOn);
          system.clock.advance(11 * SECOND);
          const lagsBehind = await victim.tryRefresh(thiefGoesOn ? own.refreshToken : copy.refreshToken);
          expect(faultOf(lagsBehind)).toBe("UNAUTHENTICATED REFRESH_TOKEN_REUSED");
          expect(await isLive(victim)).toBe(false);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("alternating with the victim is found before either gets a third token", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 11 * SECOND, max: HOUR }), fc.boolean(), async (gap, thiefFirst) => {
        const victim = await system.person().signIn();
        const holders = [victim.tokens, victim.tokens];
        const outcomes: (string | undefined)[] = [];
        for (let turn = 0; turn < 4; turn += 1) {
          const who = (turn + (thiefFirst ? 1 : 0)) % 2;
          const answer = await victim.tryRefresh(holders[who]?.refreshToken);
          outcomes.push(faultOf(answer));
          if (faultOf(answer) === undefined) {
            holders[who] = tokensIn(answer);
            await useAccessToken(tokensIn(answer));
          }
          system.clock.advance(gap);
        }
        expect(outcomes).toEqual([
          undefined,
          "UNAUTHENTICATED REFRESH_TOKEN_REUSED",
          "UNAUTHENTICATED SESSION_ENDED",
          "UNAUTHENTICATED SESSION_ENDED",
        ]);
      }),
      { numRuns: 15 },
    );
  });
});
