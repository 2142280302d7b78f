/**
 * A map: each member is a register, and its latest write stands. Deleting the whole map is a fence at what its author
 * had seen: members that others wrote since then stay, whichever arrives first.
 */
import { compareText } from "./json.ts";
import { MAX_COLLECTION_BYTES, withinBytes, type Applied, type Context, type Kind } from "./kind.ts";
import type { MapPayload } from "./payload.ts";
import { joinRegistersByName, rebaseRegisters, unseen, writeOver, type Sibling } from "./siblings.ts";
import type { MapState } from "./state.ts";

type Member = MapState["members"][number];
type View = { readonly [name: string]: Sibling["value"] };

/**
 * Bounded by MAX_COLLECTION_BYTES. A member keeps all its concurrent writes; deleting a single member (UNSET) is a
 * write that competes by its stamp and is remembered until `prune`.
 */
export const map: Kind<MapState, MapPayload, View> = {
  name: "MAP",
  initial: { members: [] },
  maxStateBytes: MAX_COLLECTION_BYTES,
  apply(state, payload, context) {
    if (payload.type === "DELETE") return deleteAll(state, context);
    const { name } = payload;
    const deleted = payload.type === "UNSET";
    const written = { value: deleted ? null : payload.value, deleted };
    const before = siblingsOf(state, name);
    const writes = writeOver(before, written, context);
    const members = [...state.members.filter((member) => member.name !== name), { name, writes }];
    members.sort((one, other) => compareText(one.name, other.name));
    const stands = writes[0]?.stamp === context.stamp;
    // The writes below the standing one were already reported to their authors when they lost.
    const losers = stands ? unseen(before.slice(0, 1), context) : [{ ...written, stamp: context.stamp }];
    return withinBytes(state, {
      outcome: stands ? "APPLIED" : "MERGED",
      state: { members },
      losers: losers.map(({ value, deleted, stamp }) => ({ name, value, deleted, stamp })),
    });
  },
  view({ members }) {
    const shown = members.flatMap(({ name, writes: [standing] }) =>
      standing === undefined || standing.deleted ? [] : [[name, standing.value] as const],
    );
    return shown.length === 0 ? undefined : Object.fromEntries(shown);
  },
  standing: (state, payload) =>
    payload.type === "DELETE" ? [] : siblingsOf(state, payload.name).map(({ stamp }) => stamp),
  join(state, other) {
    const members = joinRegistersByName(state.members, other.members);
    return members === state.members ? state : { members };
  },
  rebase: ({ members }, by) => ({ members: rebaseRegisters(members, by) }),
  prune(state, stableRev) {
    const members = state.members.flatMap((member) => {
      const { name, writes } = member;
      const [standing] = writes;
      if (standing === undefined || writes.some(({ rev }) => rev > stableRev)) return [member];
      if (standing.deleted) return [];
      return [writes.length === 1 ? member : { name, writes: [standing] }];
    });
    const same = members.length === state.members.length && members.every((each, at) => each === state.members[at]);
    return same ? state : { members };
  },
};

function deleteAll(state: MapState, context: Context): Applied<MapState> {
  const members = state.members.flatMap(({ name, writes }) => {
    const left = unseen(writes, context);
    return left.length === 0 ? [] : [{ name, writes: left }];
  });
  if (countWrites(members) === countWrites(state.members))
    return { outcome: members.length === 0 ? "NOOP" : "MERGED", state, losers: [] };
  const outcome = map.view({ members }) === undefined ? "APPLIED" : "MERGED";
  return { outcome, state: { members }, losers: [] };
}

function siblingsOf({ members }: MapState, name: string): readonly Sibling[] {
  return members.find((member) => member.name === name)?.writes ?? [];
}

function countWrites(members: readonly Member[]): number {
  return members.reduce((sum, { writes }) => sum + writes.length, 0);
}
