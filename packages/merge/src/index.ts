export { effectiveStamp, type Moment } from "./effective-stamp.ts";
export type { Json } from "./json.ts";
export { mergeMaxima, type Max } from "./max.ts";
export { KINDS, merge, stands, unitOf, type Kind, type Unit } from "./merge.ts";
export { HISTORY_LENGTH, mergeRegisters, type Register, type Write } from "./register.ts";
export { compareInstants, compareStamps, instantAfter, MAX_COUNTER, type Instant, type Stamp } from "./stamp.ts";
