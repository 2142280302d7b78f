/** The open streams of each session (sockets, event streams), so that an ended session's can be told why and closed. */
import type { AppError } from "@continuo/errors";
import { sessionEnded } from "../errors.ts";
import { revocationUnknown } from "./revocation-feed.ts";
import type { SessionClaims } from "./standing.ts";

/** What the registry needs of a stream. */
export interface SessionStream {
  readonly session: SessionClaims;
  /** Tells each open operation why, and closes. */
  end(why: AppError): void;
}

export interface StreamRegistry {
  /** Registers a stream, or refuses it: false when the session has as many as it may. */
  add(stream: SessionStream): boolean;
  remove(stream: SessionStream): void;
  /** Ends every stream of a session and returns how many there were. */
  endSession(sessionId: string, endReason: string): number;
  /** Ends the streams of those sessions whose policy keeps none open while revocations cannot be known. */
  endUnknown(): void;
}

/** Tabs of one browser share a session. */
const STREAMS_PER_SESSION = 32;

export function createStreamRegistry(): StreamRegistry {
  const bySession = new Map<string, Set<SessionStream>>();

  function endAll(sessionId: string, why: AppError): number {
    const streams = [...(bySession.get(sessionId) ?? [])];
    bySession.delete(sessionId);
    for (const stream of streams) stream.end(why);
    return streams.length;
  }

  return {
    add(stream) {
      const { sid } = stream.session;
      const streams = bySession.get(sid) ?? new Set();
      if (streams.size >= STREAMS_PER_SESSION) return false;
      bySession.set(sid, streams.add(stream));
      return true;
    },
    remove(stream) {
      const { sid } = stream.session;
      const streams = bySession.get(sid);
      if (streams?.delete(stream) && streams.size === 0) bySession.delete(sid);
    },
    endSession: (sessionId, endReason) => endAll(sessionId, sessionEnded(endReason)),
    endUnknown() {
      for (const [sessionId, [first]] of bySession)
        if (first?.session.posture === "CLOSED") endAll(sessionId, revocationUnknown());
    },
  };
}
