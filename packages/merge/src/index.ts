export { applyOp, type Arrival, type Op } from "./apply-op.ts";
export { nextInstant, shiftInstant } from "./clock.ts";
export type { DraftView } from "./draft.ts";
export { effectiveStamp, type Moment } from "./effective-stamp.ts";
export {
  isJson,
  isText,
  jsonBytes,
  MAX_NAME_CHARACTERS,
  MAX_VALUE_BYTES,
  MAX_VALUE_DEPTH,
  utf8Bytes,
  type Json,
} from "./json.ts";
export {
  expire,
  KIND_NAMES,
  type Applied,
  type Context,
  type Kind,
  type KindName,
  type Loser,
  type ResumePolicy,
  type Write,
} from "./kind.ts";
export type { ListElement } from "./list.ts";
export type { Payload } from "./payload.ts";
export { isPosition, positionAt, rebalance } from "./position.ts";
export { fenced, resumeOf, type Resume, type ResumePoint } from "./progress.ts";
export { KINDS } from "./registry.ts";
export { compareInstants, compareStamps, instantAfter, MAX_COUNTER, type Instant, type Stamp } from "./stamp.ts";
export type { State } from "./state.ts";
