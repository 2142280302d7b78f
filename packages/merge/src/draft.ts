/**
 * Unfinished work: a form, a message, a task. Its fields are registers of one generation; submitting or discarding ends
 * the generation, so a late autosave can never bring back what was submitted. A long text that loses is kept as a copy.
 */
import { compareText, type Json } from "./json.ts";
import { MAX_COLLECTION_BYTES, withinBytes, type Applied, type Context, type Kind, type Loser } from "./kind.ts";
import type { DraftPayload } from "./payload.ts";
import { joinRegistersByName, rebaseRegisters, unseen, writeOver, type Sibling } from "./siblings.ts";
import { compareStamps } from "./stamp.ts";
import type { DraftState } from "./state.ts";

type Copy = DraftState["copies"][number];

export type DraftView = {
  readonly generation: number;
  readonly fields: { readonly [name: string]: Json };
  /** Long texts that lost, latest first. */
  readonly copies: readonly Copy[];
  /** How the previous generation ended. */
  readonly ended: DraftState["ended"];
};

/** How many copies are kept; the latest ones win. */
export const MAX_COPIES = 5;
/** A losing text is kept as a copy if it is longer than this */
const LONG_CHARACTERS = 40;
/** and more than this fraction of it is missing from the text that stands. */
const DIFFERENT_PART = 0.2;

/**
 * Bounded by MAX_COLLECTION_BYTES. Ending a generation always succeeds and turns at most MAX_COPIES texts that its
 * author had not seen into copies; only the names in those copies add to the size.
 */
export const draft: Kind<DraftState, DraftPayload, DraftView> = {
  name: "DRAFT",
  initial: { generation: 0, fields: [], ended: null, copies: [] },
  maxStateBytes: MAX_COLLECTION_BYTES + 16 * 1024,
  apply(state, payload, context) {
    if (payload.type === "DISMISS_COPY") {
      const copies = state.copies.filter(({ stamp }) => compareStamps(stamp, payload.copy) !== 0);
      if (copies.length === state.copies.length) return { outcome: "NOOP", state, losers: [] };
      return { outcome: "APPLIED", state: { ...state, copies }, losers: [] };
    }
    if (payload.generation > state.generation)
      return { outcome: "REJECTED", state, losers: [], reason: "GENERATION_UNKNOWN" };
    if (payload.type === "EDIT") return edit(state, payload, context);
    if (payload.generation < state.generation) return { outcome: "SUPERSEDED", state, losers: [] };

    const { generation, fields } = state;
    const lost = fields.flatMap(({ name, writes }) => unseen(writes, context).map(loserOf(name)));
    const { stamp, deviceId } = context;
    const idempotencyKey = payload.type === "SUBMIT" ? payload.idempotencyKey : null;
    return {
      outcome: "APPLIED",
      state: {
        generation: generation + 1,
        fields: [],
        ended: {
          generation,
          how: payload.type === "SUBMIT" ? "SUBMITTED" : "DISCARDED",
          idempotencyKey,
          stamp,
          deviceId,
        },
        copies: withCopies(state, lost, null),
      },
      losers: lost,
    };
  },
  view({ generation, fields, copies, ended }) {
    if (fields.length === 0 && copies.length === 0) return undefined;
    return {
      generation,
      fields: Object.fromEntries(fields.map(({ name, writes }) => [name, valueOf(writes)])),
      copies,
      ended,
    };
  },
  standing: (state, payload) =>
    payload.type === "EDIT" && payload.generation === state.generation
      ? siblingsOf(state, payload.name).map(({ stamp }) => stamp)
      : [],
  join(state, other) {
    const copies = joinCopies(state.copies, other.copies);
    if (other.generation > state.generation) return { ...other, copies: joinCopies(other.copies, copies) };
    const isOther = state.generation === other.generation;
    const fields = isOther ? joinRegistersByName(state.fields, other.fields) : state.fields;
    const isEndedLater =
      isOther &&
      other.ended !== null &&
      (state.ended === null || compareStamps(other.ended.stamp, state.ended.stamp) > 0);
    if (copies === state.copies && fields === state.fields && !isEndedLater) return state;
    return { ...state, fields, copies, ended: isEndedLater ? other.ended : state.ended };
  },
  rebase: (state, by) => ({ ...state, fields: rebaseRegisters(state.fields, by) }),
  expire: ({ generation, fields }) => ({
    generation: fields.length === 0 ? generation : generation + 1,
    fields: [],
    ended: null,
    copies: [],
  }),
};

function edit(
  state: DraftState,
  payload: Extract<DraftPayload, { type: "EDIT" }>,
  context: Context,
): Applied<DraftState> {
  const { generation, name, value } = payload;
  const { stamp } = context;
  const own: Loser = { name, value, deleted: false, stamp };
  if (generation < state.generation) return { outcome: "SUPERSEDED", state, losers: [own] };

  const before = siblingsOf(state, name);
  const writes = writeOver(before, { value, deleted: false }, context);
  const stands = writes[0]?.stamp === stamp;
  // Writes that lost earlier already have their copies, unless somebody dismissed them.
  const lost = stands ? unseen(before.slice(0, 1), context).map(loserOf(name)) : [own];
  const fields = [...state.fields.filter((field) => field.name !== name), { name, writes }];
  fields.sort((one, other) => compareText(one.name, other.name));
  return withinBytes(state, {
    outcome: stands ? "APPLIED" : "MERGED",
    state: { ...state, fields, copies: withCopies(state, lost, valueOf(writes)) },
    losers: lost,
  });
}

/** The copies after some writes lost; `standing` is the current value of their field, null if it is now empty. */
function withCopies({ generation, copies }: DraftState, lost: readonly Loser[], standing: Json): readonly Copy[] {
  const added = lost.flatMap(({ name, value, stamp }) =>
    typeof value === "string" && name !== null && isWorthKeeping(value, standing)
      ? [{ generation, name, value, stamp }]
      : [],
  );
  const known = copies.filter(({ stamp }) => added.every((copy) => compareStamps(copy.stamp, stamp) !== 0));
  return [...known, ...added].sort((one, other) => compareStamps(other.stamp, one.stamp)).slice(0, MAX_COPIES);
}

/** The latest copies of both sides; returns the same object when `others` adds nothing. */
function joinCopies(copies: readonly Copy[], others: readonly Copy[]): readonly Copy[] {
  const added = others.filter(({ stamp }) => copies.every((copy) => compareStamps(copy.stamp, stamp) !== 0));
  const joined = [...copies, ...added].sort((one, other) => compareStamps(other.stamp, one.stamp)).slice(0, MAX_COPIES);
  return joined.some((copy) => added.includes(copy)) ? joined : copies;
}

/** Whether `lost` is a long text of which much would be gone. The common prefix and suffix count as preserved. */
function isWorthKeeping(lost: string, standing: Json): boolean {
  if (lost.length <= LONG_CHARACTERS) return false;
  if (typeof standing !== "string") return true;
  const most = Math.min(lost.length, standing.length);
  let start = 0;
  while (start < most && lost[start] === standing[start]) start += 1;
  let end = 0;
  while (end < most - start && lost[lost.length - 1 - end] === standing[standing.length - 1 - end]) end += 1;
  return (lost.length - start - end) / lost.length > DIFFERENT_PART;
}

function siblingsOf({ fields }: DraftState, name: string): readonly Sibling[] {
  return fields.find((field) => field.name === name)?.writes ?? [];
}

function valueOf([standing]: readonly Sibling[]): Json {
  return standing?.value ?? null;
}

function loserOf(name: string): (write: Sibling) => Loser {
  return ({ value, deleted, stamp }) => ({ name, value, deleted, stamp });
}
