/**
 * Mistakes that others have made, each to be switched on alone: a simulation that does not find them finds nothing. Those
 * of the merge itself are broken and found in the package's own laws.
 */
export const DEFECTS = [
  /** The server takes a repeated op for a new one. */
  "NO_DEDUPE",
  /** A refused op is tried again until it passes, and holds up all behind it. */
  "POISON_BLOCKS",
  /** Stamps count as the device's clock said. */
  "SKEW_NOT_REPAIRED",
  /** A change gets a new stamp each time it is sent. */
  "STAMP_REREAD_AT_REPLAY",
  /** Clocks ahead of the server's are believed. */
  "CLAMP_MISSING",
  /** A removal takes what its author had never seen. */
  "REMOVE_IGNORES_BASE",
  /** A late autosave goes into whatever generation there is. */
  "NO_DRAFT_FENCE",
  /** A message of the stream is applied although one before it was lost. */
  "BATCH_OVER_A_GAP",
  /** Deletions are forgotten without a fence. */
  "GC_WITHOUT_FENCE",
  /** A reader passes over what commits late. */
  "CURSOR_FROM_SEQUENCE",
  /** Changes are acknowledged and may still be lost. */
  "ACK_BEFORE_COMMIT",
  /** A restored database goes by its old epoch. */
  "RESET_TOKEN_REUSED",
  /** Being signed out counts as a refusal of what was sent. */
  "UNAUTHENTICATED_IS_REFUSAL",
] as const;
export type Defect = (typeof DEFECTS)[number];
