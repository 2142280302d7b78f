import { z } from "zod";
import { startChild } from "../child.ts";
import { HttpRequest, type MakeSessions } from "./peer.ts";

/** A peer, running as a separate process. */
export interface Peer {
  /** For example `http://127.0.0.1:40123`. */
  readonly origin: string;
  readonly pid: number;
  /** Creates people with sessions, and returns the requests that they would send. */
  requests(make: MakeSessions): Promise<HttpRequest[]>;
  /** Creates people, and returns their refresh tokens. */
  refreshTokens(people: number): Promise<string[]>;
}

/** Starts `peers/<program>.ts`. */
export async function openPeer(
  program: "better-auth" | "oidc-provider" | "express-session",
  settings: unknown,
  stack: AsyncDisposableStack,
): Promise<Peer> {
  const child = stack.use(await startChild(new URL(`${program}.ts`, import.meta.url), settings, z.string()));
  return {
    origin: child.ready,
    pid: child.pid,
    requests: (make) => child.ask(make, z.array(HttpRequest)),
    refreshTokens: (people) => child.ask({ what: "refresh", people, sessions: 1 }, z.array(z.string())),
  };
}
