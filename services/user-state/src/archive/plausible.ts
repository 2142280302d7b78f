/** Whether what a file says of a unit's history may be so: a state that no history has would stand here for ever. */
import { MAX_GENERATION, type Json, type KindName, type Stamp, type State } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import * as z from "zod/mini";

interface Written {
  readonly stamp: Stamp;
  readonly rev?: number;
  readonly baseRev?: number;
}

const schemas: { readonly [Name in KindName]: z.ZodMiniType<State<Name>> } = STATES;

const writesOf: { readonly [Name in KindName]: (state: State<Name>) => readonly (Written | null)[] } = {
  REGISTER: ({ standing, history }) => [standing, ...history],
  OPAQUE: ({ standing, history }) => [standing, ...history],
  MAX: ({ standing }) => [standing],
  MIN: ({ standing }) => [standing],
  COUNTER: () => [],
  SET: ({ elements }) => elements.flatMap(({ additions }) => additions),
  MAP: ({ members }) => members.flatMap(({ writes }) => writes),
  LIST: ({ insertions }) => insertions.flatMap((insertion) => [insertion, insertion.value, insertion.position]),
  PROGRESS: ({ devices, furthest }) => [...devices.flatMap(({ latest, intended }) => [latest, intended]), furthest],
  DRAFT: ({ fields, ended, copies }) => [...fields.flatMap(({ writes }) => writes), ended, ...copies],
  TEXT: () => [],
};

/** A state of this kind that was made by revision `rev` and the moment `at`. */
export function isPlausible<Name extends KindName>(
  kind: Name,
  state: Json,
  { rev, at }: { readonly rev: number; readonly at: number },
): boolean {
  const parsed = z.safeParse(schemas[kind], state);
  if (!parsed.success) return false;
  const generation = Math.max(...["generation", "epoch", "fence"].map((name) => numberIn(parsed.data, name)));
  return (
    generation <= MAX_GENERATION &&
    writesOf[kind](parsed.data).every(
      (written) =>
        written === null ||
        (written.stamp.ms <= at && (written.rev ?? 0) <= rev && (written.baseRev ?? 0) <= (written.rev ?? rev)),
    )
  );
}

function numberIn(state: object, name: string): number {
  const found: unknown = Object.entries(state).find(([key]) => key === name)?.[1];
  return typeof found === "number" ? found : 0;
}
