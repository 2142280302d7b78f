/** Whether a unit's archived history is possible: a state that no history could produce would stand here for ever. */
import type { Json, KindName, Stamp } from "@continuo/merge";
import { MAX_GENERATION, STATES } from "@continuo/merge/protocol";
import * as z from "zod/mini";

/** What a state records of its history. */
interface History {
  readonly writes: readonly (Written | null)[];
  readonly generation?: number;
}

interface Written {
  readonly stamp: Stamp;
  readonly rev?: number;
  readonly baseRev?: number;
}

/** Reads the history of a state; undefined for a state that is invalid for the kind. */
const reader =
  <State>(schema: z.ZodMiniType<State>, read: (state: State) => History) =>
  (state: Json): History | undefined => {
    const parsed = z.safeParse(schema, state);
    return parsed.success ? read(parsed.data) : undefined;
  };

const readRegister = reader(STATES.REGISTER, ({ standing, history }) => ({ writes: [standing, ...history] }));
const readExtremum = reader(STATES.MAX, ({ standing }) => ({ writes: [standing] }));

const READERS: Readonly<Record<KindName, (state: Json) => History | undefined>> = {
  REGISTER: readRegister,
  OPAQUE: readRegister,
  MAX: readExtremum,
  MIN: readExtremum,
  COUNTER: reader(STATES.COUNTER, () => ({ writes: [] })),
  SET: reader(STATES.SET, ({ elements }) => ({ writes: elements.flatMap(({ additions }) => additions) })),
  MAP: reader(STATES.MAP, ({ members }) => ({ writes: members.flatMap(({ writes }) => writes) })),
  LIST: reader(STATES.LIST, ({ insertions }) => ({
    writes: insertions.flatMap((insertion) => [insertion, insertion.value, insertion.position]),
  })),
  PROGRESS: reader(STATES.PROGRESS, ({ epoch, fence = 0, devices, furthest }) => ({
    writes: [...devices.flatMap(({ latest, intended }) => [latest, intended]), furthest],
    generation: Math.max(epoch, fence),
  })),
  DRAFT: reader(STATES.DRAFT, ({ generation, fields, ended, copies }) => ({
    writes: [...fields.flatMap(({ writes }) => writes), ended, ...copies],
    generation,
  })),
  TEXT: reader(STATES.TEXT, ({ generation }) => ({ writes: [], generation })),
};

/** Whether a state of this kind can have been produced by revision `rev` and time `at`. */
export function isPlausible(
  kind: KindName,
  state: Json,
  { rev, at }: { readonly rev: number; readonly at: number },
): boolean {
  const history = READERS[kind](state);
  if (history === undefined || (history.generation ?? 0) > MAX_GENERATION) return false;
  return history.writes.every(
    (written) =>
      written === null ||
      (written.stamp.ms <= at && (written.rev ?? 0) <= rev && (written.baseRev ?? 0) <= (written.rev ?? 0)),
  );
}
