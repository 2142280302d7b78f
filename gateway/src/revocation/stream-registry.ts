/**
 * The open streams of each session (sockets, event streams), so that when the session ends they can be told why and
 * closed.
 */
import { AppError } from "@continuo/errors";
import { sessionEnded } from "../errors.ts";
import type { StreamTransport } from "../stream-metrics.ts";
import { revocationUnknown } from "./revocation-feed.ts";
import type { RevocationSet } from "./revocation-set.ts";
import type { SessionClaims } from "./standing.ts";

/** A stream as the registry sees it. */
export interface SessionStream {
  readonly transport: StreamTransport;
  /** The claims of the latest token shown on it. */
  readonly session: SessionClaims;
  /**
   * Tells each open operation why, and closes the stream; a client with unread data is cut off without either. Returns
   * false if it is already closing. Never throws.
   */
  end(why: AppError): boolean;
}

export interface StreamRegistry {
  /**
   * Registers a stream. The check for a revocation and the registration happen without an await in between, so a later
   * revocation finds the stream. Throws UNAUTHENTICATED/SESSION_ENDED (details.endReason);
   * RATE_LIMITED/TOO_MANY_STREAMS.
   */
  add(stream: SessionStream): void;
  remove(stream: SessionStream): void;
  /** The number of open streams by transport. */
  counts(): ReadonlyMap<StreamTransport, number>;
  /** Ends every stream of a session; returns how many this closed. */
  endSession(sessionId: string, endReason: string): number;
  /** Ends the streams of sessions whose posture is CLOSED, because revocations cannot be known. */
  endUnknown(): void;
}

/** The tabs of one browser share a session. */
const STREAMS_PER_SESSION = 32;

/** Creates an empty registry; refuses sessions that are among `revocations`. */
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
