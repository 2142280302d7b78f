/** The open sockets of each session, so that an ended session's can be told why and closed. */

/** What the registry needs of a connection. */
export interface SessionSocket {
  /** Tells each open operation why, and closes. */
  end(endReason: string): void;
}

export interface SocketRegistry {
  /** Registers a socket, or refuses it: false when the session has as many as it may. */
  add(sessionId: string, socket: SessionSocket): boolean;
  remove(sessionId: string, socket: SessionSocket): void;
  /** Ends every socket of a session and returns how many there were. */
  endSession(sessionId: string, endReason: string): number;
}

/** Tabs of one browser share a session. */
const SOCKETS_PER_SESSION = 32;

export function createSocketRegistry(): SocketRegistry {
  const bySession = new Map<string, Set<SessionSocket>>();
  return {
    add(sessionId, socket) {
      const sockets = bySession.get(sessionId) ?? new Set();
      if (sockets.size >= SOCKETS_PER_SESSION) return false;
      bySession.set(sessionId, sockets.add(socket));
      return true;
    },
    remove(sessionId, socket) {
      const sockets = bySession.get(sessionId);
      if (sockets?.delete(socket) && sockets.size === 0) bySession.delete(sessionId);
    },
    endSession(sessionId, endReason) {
      const sockets = [...(bySession.get(sessionId) ?? [])];
      bySession.delete(sessionId);
      for (const socket of sockets) socket.end(endReason);
      return sockets.length;
    },
  };
}
