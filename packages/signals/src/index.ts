export type { EnqueueOptions, JobContext, JobDefinition, JobHandler, Jobs } from "./jobs.ts";
export { defineJob } from "./jobs.ts";
export { type OutboxRelayOptions, type OutboxRow, outboxRow, outboxTopic, startOutboxRelay } from "./outbox.ts";
export type { PokeListener, Pokes } from "./pokes.ts";
export { openRelays, type RelaysOptions } from "./open-relays.ts";
export { MAX_RELAY_BYTES, type Relays } from "./relays.ts";
export { type PokesStartOptions, startPokes } from "./start-pokes.ts";
export {
  activityTopic,
  devicesTopic,
  relayTopic,
  REVOCATIONS_TOPIC,
  SIGNING_KEYS_TOPIC,
  stateTopic,
} from "./topics.ts";
export { applyUserEvents, eraseUserState, type UserEvent } from "./user-events.ts";
