/** The kinds by name. TEXT is imported separately from `@continuo/merge/text`, where it is needed. */
import { counter } from "./counter.ts";
import { draft } from "./draft.ts";
import type { Kind, KindName } from "./kind.ts";
import { list } from "./list.ts";
import { map } from "./map.ts";
import { max } from "./max.ts";
import { min } from "./min.ts";
import { opaque } from "./opaque.ts";
import { progress } from "./progress.ts";
import { register } from "./register.ts";
import { set } from "./set.ts";

export const KINDS = {
  REGISTER: register,
  MAX: max,
  MIN: min,
  COUNTER: counter,
  SET: set,
  MAP: map,
  LIST: list,
  PROGRESS: progress,
  DRAFT: draft,
  OPAQUE: opaque,
} as const satisfies Record<Exclude<KindName, "TEXT">, Kind>;
