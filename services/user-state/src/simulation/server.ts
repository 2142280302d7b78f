/** The server as devices see it, and an implementation that runs the real use cases over a store in memory. */
import type { Viewer } from "@continuo/access";
import { AppError } from "@continuo/errors";
import { PushRequest, PushResponse, StateBatch, type PullRequest } from "@continuo/merge/protocol";
import { createEntries } from "../entry/entry.ts";
import { DEFAULT_QUOTA } from "../entry/quota.ts";
import { viewOf } from "../entry/unit.ts";
import { createErase } from "../erasure/erasure.ts";
import { createCursors } from "../stream/cursor.ts";
import { createStream } from "../stream/stream.ts";
import { brokenBatch, brokenPages, brokenRequest, brokenStore, type Defect } from "./defects.ts";
import { NAMESPACES } from "./life.ts";
import { USER, type Memory } from "./memory.ts";
import type { Oracle } from "./oracle.ts";
import type { Random } from "./random.ts";

/** Both throw AppError, as the graph's operations do. */
export interface Server {
  push(deviceId: string, request: PushRequest): Promise<PushResponse>;
  pull(deviceId: string, request: PullRequest): Promise<StateBatch>;
}

const UNAUTHENTICATED = 0.03;

/** A server that can also erase these namespaces, or everything when none are given. */
export interface MemoryServer extends Server {
  readonly erase: (namespaces: readonly string[] | undefined) => Promise<void>;
}

/** Reports to `oracle` what it commits and returns; `isCalm` is true once nobody is signed out any more. */
export function createMemoryServer(options: {
  memory: Memory;
  random: Random;
  oracle: Oracle;
  isCalm: () => boolean;
  now: () => number;
  defect: Defect | undefined;
}): MemoryServer {
  const { memory, random, oracle, isCalm, now, defect } = options;
  const namespaces = NAMESPACES;
  const newEpoch = (): string => random.uuid();
  const entries = createEntries({
    store: brokenStore(memory.entries, defect),
    namespaces,
    quota: DEFAULT_QUOTA,
    newEpoch,
    changed: () => undefined,
  });
  const stream = createStream({
    store: brokenPages(memory, defect),
    namespaces,
    cursors: createCursors(Buffer.alloc(32, 7)),
    newEpoch,
  });
  const erase = createErase({
    store: memory.erasure,
    newEpoch: () => (defect === "ERASURE_WITHOUT_EPOCH" ? memory.stored().head.epoch : newEpoch()),
    announce: { state: () => undefined, activities: () => undefined },
  });

  return {
    async push(deviceId, request) {
      if (!isCalm() && random.chance(UNAUTHENTICATED))
        throw new AppError("UNAUTHENTICATED", "SIGN_IN_REQUIRED", "Sign in first.");
      const asked = PushRequest.parse(overTheWire(request));
      const before = memory.stored();
      const receipt = await entries.push(viewerOn(deviceId), brokenRequest(asked, { defect, stored: before, now }));
      if (defect === "ACK_BEFORE_COMMIT" && random.chance(0.1)) memory.restore(before);
      const outcomes = receipt.outcomes.map(({ standing, first, reason, message, ...outcome }) => ({
        ...outcome,
        ...(reason !== null && { reason, message: message ?? "" }),
        ...(outcome.status === "DUPLICATE" && {
          first: first && { ...first, reason: first.fault?.reason, message: first.fault?.message },
        }),
        current: (standing && viewOf(standing)) ?? null,
      }));
      oracle.committed({ request: asked, ...receipt });
      return PushResponse.parse(overTheWire({ ...receipt, outcomes, retryAfterMs: null }));
    },

    async pull(deviceId, { since, clientId, first }) {
      const batch = await stream.pull(viewerOn(deviceId), {
        since: since ?? undefined,
        namespaces: undefined,
        clientId: clientId ?? undefined,
        first,
      });
      const shown = batch.entries.map((entry) => ({ ...entry, value: viewOf(entry) ?? null }));
      oracle.told(batch.entries);
      return StateBatch.parse(overTheWire(brokenBatch({ ...batch, entries: shown }, { defect, random })));
    },

    async erase(erased) {
      const { units } = memory.stored();
      await erase({ userId: USER, namespaces: erased });
      if (defect === "ERASURE_UNDONE") memory.restore({ ...memory.stored(), units });
      oracle.erased(erased);
    },
  };
}

export function viewerOn(deviceId: string): Viewer {
  const none = { applicationId: "simulation", acr: "aal1", amr: [], authTime: 0 };
  return { userId: USER, deviceId, sessionId: deviceId, ...none };
}

function overTheWire(message: unknown): unknown {
  return JSON.parse(JSON.stringify(message));
}
