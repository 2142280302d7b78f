/** The topics that cross services: which service publishes, and what the number means. */

/** Published by session: the sequence of the newest revocation. */
export const REVOCATIONS_TOPIC = "revocations";

/** Published by session: when the signing keys of access tokens last changed, in milliseconds since the epoch. */
export const SIGNING_KEYS_TOPIC = "signing-keys";

/** Published by session: the user's `device_rev` after a change of one of their devices. */
export const devicesTopic = (userId: string): string => `devices:${userId}`;

/** Published by user-state: the user's newest revision. */
export const stateTopic = (userId: string): string => `state:${userId}`;

/** Published by user-state: the newest revision of the user's activities. */
export const activityTopic = (userId: string): string => `activities:${userId}`;

/** Relayed by user-state: sealed messages between the user's devices; see its `relay`. */
export const relayTopic = (userId: string): string => `relay:${userId}`;
