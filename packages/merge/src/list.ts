/**
 * A list of elements with ids, each with its value and its position as registers. An insertion stands until somebody
 * who had seen it removes the element; a removal wins over concurrent changes to the element.
 */
import { compareText, type Json } from "./json.ts";
import { hasSeen, MAX_COLLECTION_BYTES, withinBytes, type Applied, type Context, type Kind } from "./kind.ts";
import type { ListPayload } from "./payload.ts";
import { compareStamps } from "./stamp.ts";
import type { ListState } from "./state.ts";

/** One insertion of an element. Two replicas may concurrently insert the same id; the later insertion is shown. */
type Insertion = ListState["insertions"][number];

export type ListElement = {
  readonly id: string;
  readonly value: Json;
  readonly position: string;
};

/** Bounded by MAX_COLLECTION_BYTES, each position by MAX_POSITION_CHARACTERS. */
export const list: Kind<ListState, ListPayload, readonly ListElement[]> = {
  name: "LIST",
  initial: { insertions: [] },
  maxStateBytes: MAX_COLLECTION_BYTES,
  apply(state, payload, context) {
    if (payload.type === "INSERT") return insert(state, payload, context);
    if (payload.type === "REMOVE" || payload.type === "DELETE") {
      const isMeant = ({ id }: Insertion): boolean => payload.type === "DELETE" || id === payload.id;
      const insertions = state.insertions.filter((each) => !isMeant(each) || !hasSeen(context, each));
      const stays = insertions.some(isMeant);
      if (insertions.length === state.insertions.length)
        return { outcome: stays ? "MERGED" : "NOOP", state, losers: [] };
      return { outcome: stays ? "MERGED" : "APPLIED", state: { insertions }, losers: [] };
    }
    return change(state, payload, context);
  },
  view({ insertions }) {
    if (insertions.length === 0) return undefined;
    return insertions
      .filter((insertion) => isShown(insertions, insertion))
      .map(({ id, value, position }) => ({ id, value: value.value, position: position.value }))
      .sort((one, other) => compareText(one.position, other.position) || compareText(one.id, other.id));
  },
  standing(state, payload) {
    if (payload.type === "REMOVE" || payload.type === "DELETE") return [];
    const known = state.insertions.filter(({ id }) => id === payload.id);
    if (payload.type === "INSERT") return known.map(({ stamp }) => stamp);
    return known.map(({ position, value }) => (payload.type === "MOVE" ? position.stamp : value.stamp));
  },
  join(state, other) {
    const rest = new Map(other.insertions.map((each) => [nameOf(each), each]));
    let isSame = true;
    const insertions = state.insertions.map((each) => {
      const twin = rest.get(nameOf(each));
      rest.delete(nameOf(each));
      if (twin === undefined) return each;
      const value = isLater(twin.value.stamp, each.value) ? twin.value : each.value;
      const position = isLater(twin.position.stamp, each.position) ? twin.position : each.position;
      if (value === each.value && position === each.position) return each;
      isSame = false;
      return { ...each, value, position };
    });
    if (isSame && rest.size === 0) return state;
    return {
      insertions: [...insertions, ...rest.values()].sort(
        (one, two) => compareText(one.id, two.id) || compareStamps(two.stamp, one.stamp),
      ),
    };
  },
  rebase: ({ insertions }, by) => ({ insertions: insertions.map((each) => ({ ...each, rev: each.rev + by })) }),
};

function insert(
  state: ListState,
  { id, value, position }: Extract<ListPayload, { type: "INSERT" }>,
  context: Context,
): Applied<ListState> {
  const { stamp, rev } = context;
  const insertion = { id, value: { value, stamp }, position: { value: position, stamp }, stamp, rev };
  const insertions = [...state.insertions.filter((each) => each.id !== id || !hasSeen(context, each)), insertion];
  insertions.sort((one, other) => compareText(one.id, other.id) || compareStamps(other.stamp, one.stamp));
  const shown = isShown(insertions, insertion);
  return withinBytes(state, {
    outcome: shown ? "APPLIED" : "MERGED",
    state: { insertions },
    losers: shown ? [] : [{ name: id, value, deleted: false, stamp }],
  });
}

/**
 * A move or a new value applies to the insertions that its author had seen, so it does not bring back a removed
 * element.
 */
function change(
  state: ListState,
  payload: Extract<ListPayload, { type: "MOVE" | "SET" }>,
  context: Context,
): Applied<ListState> {
  const { stamp } = context;
  const { id } = payload;
  const value: Json = payload.type === "MOVE" ? payload.position : payload.value;
  const losers = [{ name: id, value, deleted: false, stamp }];
  const isMeant = (each: Insertion): boolean => each.id === id && hasSeen(context, each);
  if (!state.insertions.some(isMeant)) return { outcome: "SUPERSEDED", state, losers };

  const insertions = state.insertions.map((each) => {
    if (!isMeant(each)) return each;
    if (payload.type === "MOVE")
      return isLater(stamp, each.position) ? { ...each, position: { value: payload.position, stamp } } : each;
    return isLater(stamp, each.value) ? { ...each, value: { value: payload.value, stamp } } : each;
  });
  const changed = insertions.filter((each, at) => each !== state.insertions[at]);
  if (changed.length === 0) return { outcome: "MERGED", state, losers };
  const shown = changed.some((each) => isShown(insertions, each));
  return withinBytes(state, {
    outcome: shown ? "APPLIED" : "MERGED",
    state: { insertions },
    losers: shown ? [] : losers,
  });
}

function isLater(stamp: Context["stamp"], standing: { readonly stamp: Context["stamp"] }): boolean {
  return compareStamps(stamp, standing.stamp) > 0;
}

/** Identifies an insertion; one element may have several. */
function nameOf({ id, stamp }: Insertion): string {
  return JSON.stringify([id, stamp.ms, stamp.counter, stamp.clientId]);
}

/** Relies on the insertions' order: by id, then latest first. */
function isShown(insertions: readonly Insertion[], insertion: Insertion): boolean {
  return insertions.find(({ id }) => id === insertion.id) === insertion;
}
