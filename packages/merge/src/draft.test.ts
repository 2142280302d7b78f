import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { draft, MAX_COPIES } from "./draft.ts";
import { fold, histories, replicaId } from "./history.fixture.ts";
import type { Applied, Context } from "./kind.ts";
import { payloads } from "./payload.fixture.ts";
import type { Payload } from "./payload.ts";
import type { DraftState } from "./state.ts";

const LETTER = "Dear Ada, I have been thinking about what you said on the train the other day.";
const OTHER = "Hello! Quite another letter, which has nothing in common with the one before it.";

/** A letter that somebody writes on several devices. */
function createLetter() {
  let rev = 0;
  const letter = {
    state: draft.initial,
    do(replica: number, payload: Payload<"DRAFT">, context: Partial<Context> = {}): Applied<DraftState> {
      rev += 1;
      const stamp = { ms: rev, counter: 0, clientId: replicaId(replica) };
      const deviceId = replicaId(replica, "d");
      const applied = draft.apply(letter.state, payload, {
        stamp,
        seen: null,
        deviceId,
        baseRev: rev - 1,
        rev,
        ...context,
      });
      letter.state = applied.state;
      return applied;
    },
    edit: (replica: number, value: string, context: Partial<Context> & { generation?: number } = {}) => {
      const { generation = letter.state.generation, ...rest } = context;
      return letter.do(replica, { type: "EDIT", generation, name: "body", value }, rest);
    },
    submit: (replica: number, context: Partial<Context> & { generation?: number } = {}) => {
      const { generation = letter.state.generation, ...rest } = context;
      return letter.do(replica, { type: "SUBMIT", generation, idempotencyKey: "once" }, rest);
    },
    body: () => draft.view(letter.state)?.fields["body"],
  };
  return letter;
}

describe("a draft", () => {
  it("never shows what was written in a generation that has ended", () => {
    fc.assert(
      fc.property(histories(draft, payloads.DRAFT), ({ otherwise }) => {
        const { state } = fold(draft, otherwise);
        const written = otherwise.flatMap(({ payload }) => (payload.type === "EDIT" ? [payload] : []));
        for (const [name, value] of Object.entries(draft.view(state)?.fields ?? {}))
          expect(written).toContainEqual({ type: "EDIT", generation: state.generation, name, value });
      }),
    );
  });

  it("that was sent does not come back by a late autosave, whose author gets the text back", () => {
    const letter = createLetter();
    letter.edit(0, LETTER);
    letter.submit(0);
    const late = letter.edit(0, LETTER, { generation: 0 });
    expect(late).toMatchObject({ outcome: "SUPERSEDED", losers: [{ name: "body", value: LETTER }] });
    expect(draft.view(letter.state)).toBeUndefined();
    letter.edit(0, "next");
    expect(letter.body()).toBe("next");
  });

  it("is sent once, although two devices send it", () => {
    const letter = createLetter();
    letter.edit(0, LETTER);
    expect(letter.submit(0).outcome).toBe("APPLIED");
    expect(letter.submit(1, { generation: 0 }).outcome).toBe("SUPERSEDED");
    expect(letter.state.ended).toMatchObject({ generation: 0, how: "SUBMITTED", idempotencyKey: "once" });
    expect(letter.do(1, { type: "DISCARD", generation: 0 }).outcome).toBe("SUPERSEDED");
    expect(letter.do(1, { type: "DISCARD", generation: 1 }).outcome).toBe("APPLIED");
    expect(letter.state.ended).toMatchObject({ generation: 1, how: "DISCARDED", idempotencyKey: null });
  });

  it("keeps a long text that lost as a copy, whichever arrives first", () => {
    for (const phoneFirst of [true, false]) {
      const letter = createLetter();
      const phone = () => letter.edit(0, LETTER, { baseRev: 0, stamp: { ms: 1, counter: 0, clientId: replicaId(0) } });
      const laptop = () => letter.edit(1, OTHER, { baseRev: 0, stamp: { ms: 2, counter: 0, clientId: replicaId(1) } });
      const outcomes = phoneFirst ? [phone(), laptop()] : [laptop(), phone()];
      expect(outcomes.map(({ outcome }) => outcome)).toEqual(["APPLIED", phoneFirst ? "APPLIED" : "MERGED"]);
      expect(outcomes[1]?.losers).toMatchObject([{ name: "body", value: LETTER }]);
      expect(draft.view(letter.state)).toMatchObject({
        fields: { body: OTHER },
        copies: [{ name: "body", value: LETTER }],
      });
    }
  });

  it("keeps a copy until it is dismissed, and not again after that", () => {
    const letter = createLetter();
    letter.edit(0, LETTER);
    letter.edit(1, OTHER, { baseRev: 0 });
    const [copy] = letter.state.copies;
    if (copy === undefined) throw new Error("no copy");
    letter.edit(1, `${OTHER}.`);
    letter.submit(1);
    expect(letter.state.copies).toEqual([copy]);
    expect(letter.do(0, { type: "DISMISS_COPY", copy: copy.stamp }).outcome).toBe("APPLIED");
    expect(letter.do(0, { type: "DISMISS_COPY", copy: copy.stamp }).outcome).toBe("NOOP");
    expect(draft.view(letter.state)).toBeUndefined();
  });

  it("does not make a dismissed copy again when the next text loses", () => {
    const letter = createLetter();
    letter.edit(0, LETTER);
    const [copy] = letter.edit(1, OTHER, { baseRev: 0 }).state.copies;
    if (copy === undefined) throw new Error("no copy");
    letter.do(0, { type: "DISMISS_COPY", copy: copy.stamp });
    letter.edit(2, "z".repeat(80), { baseRev: 0 });
    expect(letter.state.copies.map(({ value }) => value)).toEqual([OTHER]);
  });

  it("makes no copy of what is short, or all but the same, or knowingly replaced", () => {
    const letter = createLetter();
    letter.edit(0, "short");
    letter.edit(1, OTHER, { baseRev: 0 });
    letter.edit(0, `${OTHER.slice(0, 30)}!!!!!${OTHER.slice(35)}`, { baseRev: 1 });
    letter.edit(1, LETTER);
    expect(letter.state.copies).toEqual([]);
  });

  it("makes a copy of what is much longer, although it begins and ends like what stands", () => {
    const letter = createLetter();
    const half = "n".repeat(30);
    letter.edit(0, half + half);
    letter.edit(1, half, { baseRev: 0 });
    expect(letter.state.copies.map(({ value }) => value)).toEqual([half + half]);
  });

  it("that is sent keeps what another device had just written into it", () => {
    const letter = createLetter();
    letter.edit(0, LETTER);
    letter.edit(1, OTHER, { baseRev: 1 });
    const sent = letter.submit(0, { baseRev: 1 });
    expect(sent.losers).toMatchObject([{ name: "body", value: OTHER }]);
    expect(draft.view(letter.state)).toMatchObject({ fields: {}, copies: [{ generation: 0, value: OTHER }] });
  });

  it("keeps the latest copies and no more than so many", () => {
    const letter = createLetter();
    for (let replica = 0; replica < 9; replica += 1) letter.edit(replica, String(replica).repeat(60), { baseRev: 0 });
    expect(letter.state.copies.map(({ value }) => value[0])).toEqual(["7", "6", "5", "4", "3"]);
    expect(letter.state.copies).toHaveLength(MAX_COPIES);
  });

  it("refuses a generation that nobody has begun", () => {
    const letter = createLetter();
    expect(letter.edit(0, LETTER, { generation: 1 })).toMatchObject({
      outcome: "REJECTED",
      reason: "GENERATION_UNKNOWN",
    });
  });
});
