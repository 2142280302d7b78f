/** What the peers have in common: their settings, and the requests for something to measure. */
import { z } from "zod";

/** As many database connections as one of our services has. */
export const CONNECTIONS = 10;

export const PeerSettings = z.object({ databaseUrl: z.string() });

/** A request in its wire form; an answer without `expect` in it counts as a failure. */
export const HttpRequest = z.object({
  method: z.enum(["GET", "POST"]),
  path: z.string(),
  headers: z.record(z.string(), z.string()),
  body: z.string().optional(),
  expect: z.string(),
});
export type HttpRequest = z.infer<typeof HttpRequest>;

/** Asks a peer for the requests of `people` people with `sessions` sessions each; answered with HttpRequest[]. */
export const MakeSessions = z.object({
  what: z.enum(["check", "list", "revoke", "refresh"]),
  people: z.number().int().positive(),
  sessions: z.number().int().positive(),
});
export type MakeSessions = z.infer<typeof MakeSessions>;
