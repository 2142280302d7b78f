/** What the person of a simulation keeps: a field of each kind. */
import type { KindName } from "@continuo/merge";
import { defineNamespace } from "@continuo/namespace";
import { namespaceOf } from "../namespace/namespace.ts";

export const FIELDS = {
  title: "REGISTER",
  plays: "COUNTER",
  furthest: "MAX",
  tags: "SET",
  queue: "LIST",
  position: "PROGRESS",
  note: "DRAFT",
  info: "MAP",
} as const satisfies Record<string, KindName>;
export type Field = keyof typeof FIELDS;
/** The kinds that are used here. */
export type SimulatedKind = (typeof FIELDS)[Field];

/** As `defineNamespace` makes it. */
export const DEFINITION = defineNamespace({
  name: "life",
  version: 1,
  fields: Object.fromEntries(Object.entries(FIELDS).map(([name, kind]) => [name, { kind, schema: {} }])),
});
export const LIFE = namespaceOf([{ revision: 1, definition: DEFINITION }]);
