/**
 * An add-wins set: a removal takes away only the additions that its author had seen or made. An element is in the set
 * while any of its additions remains, so the set needs neither clocks nor tombstones.
 */
import { compareText } from "./json.ts";
import { hasSeen, MAX_COLLECTION_BYTES, withinBytes, type Context, type Kind } from "./kind.ts";
import type { SetPayload } from "./payload.ts";
import { compareStamps } from "./stamp.ts";
import type { SetState } from "./state.ts";

type Element = SetState["elements"][number];

/**
 * Bounded by MAX_COLLECTION_BYTES. An addition replaces those that its author had seen, so an element keeps only
 * concurrent additions.
 */
export const set: Kind<SetState, SetPayload, readonly string[]> = {
  name: "SET",
  initial: { elements: [] },
  maxStateBytes: MAX_COLLECTION_BYTES,
  apply(state, payload, context) {
    if (payload.type === "ADD") {
      const { stamp, rev } = context;
      const others = state.elements.filter(({ name }) => name !== payload.element);
      const known = state.elements.find(({ name }) => name === payload.element)?.additions ?? [];
      const additions = [...known.filter((addition) => !hasSeen(context, addition)), { stamp, rev }];
      additions.sort((one, other) => compareStamps(one.stamp, other.stamp));
      const elements = [...others, { name: payload.element, additions }];
      elements.sort((one, other) => compareText(one.name, other.name));
      return withinBytes(state, { outcome: "APPLIED", state: { elements }, losers: [] });
    }
    const isMeant = ({ name }: Element): boolean => payload.type === "DELETE" || name === payload.element;
    const elements = state.elements.flatMap((element) =>
      isMeant(element) ? withoutSeen(element, context) : [element],
    );
    const took = countAdditions(state.elements) - countAdditions(elements);
    const stays = elements.some(isMeant);
    if (took === 0) return { outcome: stays ? "MERGED" : "NOOP", state, losers: [] };
    return { outcome: stays ? "MERGED" : "APPLIED", state: { elements }, losers: [] };
  },
  view: ({ elements }) => (elements.length === 0 ? undefined : elements.map(({ name }) => name)),
  standing: () => [],
  join(state, other) {
    const known = new Map(state.elements.map((element) => [element.name, element]));
    const changed = other.elements.flatMap(({ name, additions }): Element[] => {
      const before = known.get(name)?.additions ?? [];
      const added = additions.filter(({ stamp }) => before.every((each) => compareStamps(each.stamp, stamp) !== 0));
      if (added.length === 0) return [];
      return [{ name, additions: [...before, ...added].sort((one, two) => compareStamps(one.stamp, two.stamp)) }];
    });
    if (changed.length === 0) return state;
    for (const element of changed) known.set(element.name, element);
    return { elements: [...known.values()].sort((one, two) => compareText(one.name, two.name)) };
  },
  rebase: ({ elements }, by) => ({
    elements: elements.map(({ name, additions }) => ({
      name,
      additions: additions.map(({ stamp, rev }) => ({ stamp, rev: rev + by })),
    })),
  }),
};

function withoutSeen({ name, additions }: Element, context: Context): Element[] {
  const unseen = additions.filter((addition) => !hasSeen(context, addition));
  return unseen.length === 0 ? [] : [{ name, additions: unseen }];
}

function countAdditions(elements: readonly Element[]): number {
  return elements.reduce((sum, { additions }) => sum + additions.length, 0);
}
