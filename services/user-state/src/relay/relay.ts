/**
 * Relay: changes of RELAY namespaces, passed between a person's connected devices. They are settled like any other
 * change, so that each counts once and has its effective stamp, but are not stored.
 */
import type { Viewer } from "@continuo/access";
import type { Relayed } from "../entry/push.ts";
import type { Namespaces } from "../namespace/namespace.ts";
import { assertKnown } from "../stream/stream.ts";
import type { Seals } from "./seal.ts";

/** A relayed change as devices receive it. */
export interface RelayedChange extends Relayed {
  readonly device: { readonly id: string };
}

/**
 * The maximum number of changes relayed per person and second, in each process. More are refused: they would be stale.
 */
export const MAX_A_SECOND = 200;

export interface Relay {
  /** Whether one more change of a user may be relayed now; counts it. */
  admits(userId: string): boolean;
  /** Sends changes to the listening devices, in order; not awaited. */
  pass(origin: { readonly userId: string; readonly deviceId: string }, changes: readonly Relayed[]): void;
  /** Opens those sealed messages that are meant for the viewer. Throws BAD_USER_INPUT: NAMESPACE_UNKNOWN. */
  open(
    viewer: Viewer,
    request: { readonly sealed: readonly string[]; readonly namespaces: readonly string[] | undefined },
  ): Promise<readonly RelayedChange[]>;
}

/** `send` reaches every gateway; `now` is in milliseconds. */
export function createRelay(options: {
  seals: Seals;
  namespaces: Namespaces;
  send: (userId: string, sealed: string) => void;
  now: () => number;
}): Relay {
  const { seals, namespaces, send, now } = options;
  let second = 0;
  let counts = new Map<string, number>();

  return {
    admits(userId) {
      const current = Math.floor(now() / 1000);
      if (current !== second) counts = new Map();
      second = current;
      const count = (counts.get(userId) ?? 0) + 1;
      counts.set(userId, count);
      return count <= MAX_A_SECOND;
    },
    pass({ userId, deviceId }, changes) {
      for (const change of changes) send(userId, seals.seal(userId, { ...change, device: { id: deviceId } }));
    },
    async open({ userId }, { sealed, namespaces: wanted }) {
      await assertKnown(namespaces, wanted ?? []);
      return sealed.flatMap((text) => {
        const change = seals.open(userId, text);
        return change === undefined || wanted?.includes(change.namespace) === false ? [] : [change];
      });
    },
  };
}
