/** A simulated replica of a person's state: where its queue stands, and the changes it would send next. */
import { z } from "zod";

export const Replica = z.object({
  accessToken: z.string(),
  userId: z.string(),
  clientId: z.string(),
  epoch: z.string(),
  /** The last settled seq. */
  lastSeq: z.number(),
  headRev: z.number(),
});
export type Replica = z.infer<typeof Replica>;

export interface Change {
  readonly seq: number;
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
  readonly payload: { readonly type: "SET"; readonly value: string };
  readonly stamp: { readonly ms: number; readonly counter: number };
  readonly baseRev: number;
}

/** A person's settings, changed over and over, so that the table does not grow. */
const KEYS = 40;

/** The `count` changes after `lastSeq`, each of another key. */
export function nextChanges(lastSeq: number, count: number, nowMs: number): Change[] {
  return Array.from({ length: count }, (_, index) => {
    const seq = lastSeq + 1 + index;
    const stamp = { ms: nowMs, counter: index };
    return {
      seq,
      namespace: "preferences",
      key: `setting-${seq % KEYS}`,
      field: "value",
      payload: { type: "SET", value: `chosen ${seq}` },
      stamp,
      baseRev: 0,
    };
  });
}

/** The input of `pushState` that sends `ops`. */
export function pushInput(
  { clientId, epoch, headRev }: Replica,
  ops: readonly Change[],
  clientNow: number,
): Record<string, unknown> {
  return { clientId, epoch, clientNow, baseRev: headRev, ops };
}
