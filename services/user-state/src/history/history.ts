/**
 * History: the writes that lost unseen. A client undoes a merge by writing such a value again with a normal op, so this
 * feature only reads.
 */
import type { Viewer } from "@continuo/access";
import { isText, type Stamp, type Json } from "@continuo/merge";
import { STATES } from "@continuo/merge/protocol";
import type { UnitName } from "../entry/unit.ts";
import type { Namespaces } from "../namespace/namespace.ts";
import { liftUnit, storedName } from "../namespace/versions.ts";
import { assertKnown } from "../stream/stream.ts";

export interface StateWrite {
  readonly value: Json;
  readonly deleted: boolean;
  readonly stamp: Stamp;
  readonly at: Date;
  readonly device: { readonly id: string } | null;
}

export interface HistoryStore {
  /** Loads a register by its stored name; undefined when there is none. */
  load(userId: string, unit: UnitName): Promise<StoredHistory | undefined>;
}

interface StoredHistory {
  readonly state: Json;
  readonly schemaVersion: number;
  /** The device of each of the user's replicas, by clientId. */
  readonly devices: Readonly<Record<string, string>>;
}

export interface History {
  /** Latest first, in the newest namespace version. Throws BAD_USER_INPUT: NAMESPACE_UNKNOWN. */
  of(viewer: Viewer, unit: UnitName): Promise<readonly StateWrite[]>;
}

export function createHistory(options: { store: HistoryStore; namespaces: Namespaces }): History {
  const { store, namespaces } = options;
  return {
    async of({ userId }, unit) {
      await assertKnown(namespaces, [unit.namespace]);
      const namespace = (await namespaces.find([unit.namespace])).get(unit.namespace);
      // Names that Postgres rejects cannot exist.
      if (namespace === undefined || !isText(unit.key) || !isText(unit.field)) return [];
      const field = storedName(namespace, unit.field, namespace.version);
      const known = await store.load(userId, { ...unit, field });
      const lifted = known && liftUnit(namespace, { ...known, field });
      // A former name of the field no longer identifies it.
      if (known === undefined || lifted?.field !== unit.field) return [];
      return STATES.REGISTER.parse(lifted.state).history.map(({ value, deleted, stamp }) => {
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
