/** The open streams of each session (sockets, event streams), so that an ended session's can be told why and closed. */
import { AppError } from "@continuo/errors";
import { sessionEnded } from "../errors.ts";
import type { StreamTransport } from "../stream-metrics.ts";
import { revocationUnknown } from "./revocation-feed.ts";
import type { RevocationSet } from "./revocation-set.ts";
import type { SessionClaims } from "./standing.ts";

/** What the registry needs of a stream. */
export interface SessionStream {
  readonly transport: StreamTransport;
  /** As the latest token says that it has shown. */
  readonly session: SessionClaims;
  /**
   * Tells each open operation why, and closes; whoever has yet to read what was sent before is cut off without either. False
   * when it is closing already. Never throws.
   */
  end(why: AppError): boolean;
}

export interface StreamRegistry {
  /**
   * Registers a stream. Nothing is awaited between looking at the revocations and this: one that comes later finds it.
   * Throws UNAUTHENTICATED/SESSION_ENDED (details.endReason); RATE_LIMITED/TOO_MANY_STREAMS.
   */
  add(stream: SessionStream): void;
  remove(stream: SessionStream): void;
  /** How many are open, by what they come over. */
  counts(): ReadonlyMap<StreamTransport, number>;
  /** Ends every stream of a session and returns how many that closed. */
  endSession(sessionId: string, endReason: string): number;
  /** Ends the streams of those sessions whose policy keeps none open while revocations cannot be known. */
  endUnknown(): void;
}

/** Tabs of one browser share a session. */
const STREAMS_PER_SESSION = 32;

/** An empty registry, for sessions that are not among `revocations`. */
export function createStreamRegistry(revocations: Pick<RevocationSet, "endReasonOf">): StreamRegistry {
  const bySession = new Map<string, Set<SessionStream>>();

  function remove(stream: SessionStream): void {
    const { sid } = stream.session;
    const streams = bySession.get(sid);
    if (streams?.delete(stream) && streams.size === 0) bySession.delete(sid);
  }

  function end(stream: SessionStream, why: AppError): boolean {
    remove(stream);
    return stream.end(why);
  }

  return {
    add(stream) {
      const { sid } = stream.session;
      const endReason = revocations.endReasonOf(sid);
      if (endReason !== undefined) throw sessionEnded(endReason);
      const streams = bySession.get(sid) ?? new Set();
      if (streams.size >= STREAMS_PER_SESSION)
        throw new AppError("RATE_LIMITED", "TOO_MANY_STREAMS", "This session has too many sockets and event streams.");
      bySession.set(sid, streams.add(stream));
    },
    remove,
    counts() {
      const counts = new Map<StreamTransport, number>();
      for (const streams of bySession.values())
        for (const { transport } of streams) counts.set(transport, (counts.get(transport) ?? 0) + 1);
      return counts;
    },
    endSession(sessionId, endReason) {
      const streams = bySession.get(sessionId);
      if (streams === undefined) return 0;
      const why = sessionEnded(endReason);
      return [...streams].filter((stream) => end(stream, why)).length;
    },
    endUnknown() {
      const closed = [...bySession.values()].flatMap((streams) =>
        [...streams].filter(({ session }) => session.posture === "CLOSED"),
      );
      for (const stream of closed) end(stream, revocationUnknown());
    },
  };
}
