import fc from "fast-check";
import { createHash, randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { emptyChain, verifyChain, type ChainEnds, type EventRecord, type Link, type Place } from "./chain.ts";

const userId = randomUUID();

/** What the trigger does. */
function chainOf(count: number, base: Place = emptyChain(userId).base): { ends: ChainEnds; links: Link[] } {
  const links: Link[] = [];
  let previous = base;
  for (let seq = base.seq + 1; seq <= base.seq + count; seq += 1) {
    const link = linkBehind(previous, { userId, seq, type: "SESSION_STARTED", detail: { origin: "PASSWORD" } });
    links.push(link);
    previous = link;
  }
  return { ends: { userId, base, head: { seq: previous.seq, hash: previous.hash } }, links };
}

function linkBehind(previous: Place, says: Partial<EventRecord> & Pick<EventRecord, "userId" | "seq">): Link {
  const columns: EventRecord = {
    at: "2026-11-24T06:00:00.000Z",
    type: "SESSION_ENDED",
    sessionId: null,
    deviceId: null,
    actorId: null,
    detail: null,
    ...says,
  };
  const record = JSON.stringify(columns);
  return { seq: says.seq, record, hash: hashBehind(previous, record), columns };
}

const hashBehind = (previous: Place, record: string): Buffer =>
  createHash("sha256").update(previous.hash).update(record).digest();

describe("a chain of security events", () => {
  it("is whole as it was made, from its first event or from where retention cut it off", () => {
    for (const base of [emptyChain(userId).base, { seq: 41, hash: createHash("sha256").update("41").digest() }]) {
      const { ends, links } = chainOf(5, base);
      expect(verifyChain(ends, links)).toEqual({ checked: 5 });
    }
    expect(verifyChain(emptyChain(userId), [])).toEqual({ checked: 0 });
  });

  it("shows the first place where a record was changed, a row taken out, two swapped, one put in or the tail cut", () => {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 30 }), fc.nat(), (count, at) => {
        const { ends, links } = chainOf(count);
        const place = 1 + (at % (count - 1));
        const link = links[place - 1];
        const next = links[place];
        if (link === undefined || next === undefined) throw new Error("no such place");
        const judge = (changed: readonly Link[]) => verifyChain(ends, changed).firstBreak;

        const record = link.record.replace("PASSWORD", "PASSKEY");
        expect(judge(links.with(place - 1, { ...link, record }))).toEqual({
          seq: place,
          problem: "HASH_DIFFERS",
        });
        const rehashed = linkBehind(links[place - 2] ?? ends.base, { userId, seq: place, type: "STEPPED_UP" });
        expect(judge(links.with(place - 1, rehashed))).toEqual({ seq: place + 1, problem: "HASH_DIFFERS" });
        expect(judge(links.toSpliced(place - 1, 1))).toEqual({ seq: place, problem: "MISSING" });
        expect(judge(links.with(place - 1, next).with(place, link))).toEqual({ seq: place, problem: "MISSING" });
        expect(judge(links.toSpliced(place, 0, link))).toEqual({ seq: place, problem: "OUT_OF_ORDER" });
        expect(judge(links.slice(0, place))).toEqual({ seq: place + 1, problem: "TAIL_MISSING" });
        const longer = linkBehind(ends.head, { userId, seq: count + 1 });
        expect(judge([...links, longer])).toEqual({ seq: count + 1, problem: "HEAD_DIFFERS" });
      }),
      { numRuns: 50 },
    );
  });

  it("shows a record that is another user's, of another place, unreadable, or belied by its columns", () => {
    const { ends, links } = chainOf(2);
    const last = links[1] ?? ends.head;
    const judge = (link: Link) =>
      verifyChain({ ...ends, head: { seq: 3, hash: link.hash } }, [...links, link]).firstBreak;
    const third = linkBehind(last, { userId, seq: 3 });

    expect(judge(third)).toBeUndefined();
    expect(judge(linkBehind(last, { userId: randomUUID(), seq: 3 }))).toMatchObject({
      problem: "RECORD_OF_ANOTHER",
    });
    expect(judge({ ...linkBehind(last, { userId, seq: 4 }), seq: 3 })).toMatchObject({
      problem: "RECORD_OF_ANOTHER",
    });
    expect(judge({ seq: 3, record: "{", hash: hashBehind(last, "{") })).toMatchObject({
      problem: "RECORD_UNREADABLE",
    });
    const { columns } = linkBehind(last, { userId, seq: 3, type: "SESSION_STARTED" });
    expect(columns).toBeDefined();
    expect(judge({ ...third, ...(columns && { columns }) })).toEqual({ seq: 3, problem: "COLUMNS_DIFFER" });
  });
});
