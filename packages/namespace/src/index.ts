export { compareDefinitions, isSameDefinition, type Change, type Fits } from "./compatibility.ts";
export {
  counter,
  defineNamespace,
  draft,
  list,
  map,
  max,
  min,
  opaque,
  progress,
  register,
  set,
  text,
  type NamespaceOptions,
} from "./define.ts";
export {
  fieldOf,
  NamespaceDefinition,
  OTHERS,
  PERSISTENCES,
  RESUME_POLICIES,
  type FieldDefinition,
  type Persistence,
} from "./definition.ts";
export { lensFor, liftPayload, liftState, type FieldLens, type LensStep } from "./lens.ts";
export type { JsonSchema } from "./json-schema.ts";
