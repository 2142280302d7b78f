/**
 * History: the writes that gave way to the one that stands. To undo a merge is to write such a value again, by an op as
 * any other; so nothing here changes anything.
 */
import type { Viewer } from "@continuo/access";
import { isText, type Stamp, type Json } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import type { UnitName } from "../entry/unit.ts";
import type { Namespaces } from "../namespace/namespace.ts";
import { assertKnown } from "../stream/stream.ts";

export interface StateWrite {
  readonly value: Json;
  readonly deleted: boolean;
  readonly stamp: Stamp;
  readonly at: Date;
  readonly device: { readonly id: string } | null;
}

export interface HistoryStore {
  /** The state of a register, and the devices of its user's replicas by their ids; undefined for what is none. */
  load(
    userId: string,
    unit: UnitName,
  ): Promise<{ readonly state: Json; readonly devices: Readonly<Record<string, string>> } | undefined>;
}

export interface History {
  /** Latest first. Throws BAD_USER_INPUT: NAMESPACE_UNKNOWN. */
  of(viewer: Viewer, unit: UnitName): Promise<readonly StateWrite[]>;
}

export function createHistory(options: { store: HistoryStore; namespaces: Namespaces }): History {
  const { store, namespaces } = options;
  return {
    async of({ userId }, unit) {
      await assertKnown(namespaces, [unit.namespace]);
      // Names that Postgres does not take are names of nothing.
      const known = isText(unit.key) && isText(unit.field) ? await store.load(userId, unit) : undefined;
      if (known === undefined) return [];
      return STATES.REGISTER.parse(known.state).history.map(({ value, deleted, stamp }) => {
        const deviceId = known.devices[stamp.clientId];
        return {
          value,
          deleted,
          stamp,
          at: new Date(stamp.ms),
          device: deviceId === undefined ? null : { id: deviceId },
        };
      });
    },
  };
}
