/** Worlds in which a promise was once broken. Add a new one together with its fix. */
export const REGRESSIONS = [
  { seed: 29, steps: 300, broken: "a device that the server had forgotten counted again what it had counted" },
  { seed: 60, steps: 300, broken: "what a restored server had taken before it missed something was sent again" },
  { seed: 147, steps: 300, broken: "a device took a new id after a restore, and sent again what was in the backup" },
  {
    seed: 982,
    steps: 300,
    broken: "a device whose changes had come back held on to them, as the server had forgotten it",
  },
] as const;
