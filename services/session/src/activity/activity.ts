/**
 * Activity: what people do moves their session's idle deadline and confirms that a token has reached its client.
 * Each gateway reports one batch a second; polling, refreshing and an open socket are not activity.
 */
import { z } from "zod";
import type { Place, PlaceOf } from "../place/place.ts";

/**
 * A gateway's report: sessions seen at `at` (ms since the epoch), with a token of this grant and generation, from
 * `ipPrefix`.
 */
export const ActivityReport = z.object({
  seen: z
    .array(
      z.object({
        sessionId: z.uuid(),
        at: z.number().int().positive(),
        grantId: z.uuid(),
        generation: z.number().int().positive(),
        ipPrefix: z.string().max(64).optional(),
      }),
    )
    .max(1_000),
});
export type ActivityReport = z.infer<typeof ActivityReport>;

/** A use of a session, and where it came from. */
export type Use = ActivityReport["seen"][number] & { readonly place: Place };

export interface ActivityStore {
  /**
   * Moves last activity and idle deadlines forward: never back, never into the future, never for a session that has
   * ended or lapsed, and at most once per minute or per quarter of the idle limit, whichever is shorter. A use of
   * unknown place keeps the last known one. Raises the confirmed generation of grants. Returns the users whose devices
   * changed.
   */
  record(seen: readonly Use[], now: Date): Promise<{ userId: string; deviceRev: number }[]>;
}

/** Returns the use case that records one report. */
export function createActivity(options: {
  store: ActivityStore;
  announce: { devicesChanged(userId: string, deviceRev: number): Promise<void> };
  placeOf: PlaceOf;
  now: () => Date;
}): (report: ActivityReport) => Promise<void> {
  const { store, announce, placeOf, now } = options;
  return async ({ seen }) => {
    if (seen.length === 0) return;
    const changed = await store.record(
      seen.map((use) => ({ ...use, place: placeOf(use.ipPrefix) })),
      now(),
    );
    await Promise.all(changed.map(({ userId, deviceRev }) => announce.devicesChanged(userId, deviceRev)));
  };
}
