/** What the peers have in common: how they are set up, and how they are asked for something to measure. */
import { z } from "zod";

/** As many database connections as a service of ours has. */
export const CONNECTIONS = 10;

export const PeerSettings = z.object({ databaseUrl: z.string() });

/** A request as it goes over the wire; `expect` must be in the answer, or it was no success. */
export const HttpRequest = z.object({
  method: z.enum(["GET", "POST"]),
  path: z.string(),
  headers: z.record(z.string(), z.string()),
  body: z.string().optional(),
  expect: z.string(),
});
export type HttpRequest = z.infer<typeof HttpRequest>;

/** Asked of a peer: the requests that `people` people with `sessions` sessions each would send, answered as HttpRequest[]. */
export const MakeSessions = z.object({
  what: z.enum(["check", "list", "revoke", "refresh"]),
  people: z.number().int().positive(),
  sessions: z.number().int().positive(),
});
export type MakeSessions = z.infer<typeof MakeSessions>;
