/** The parts of a simulated world, for tests against a real server. */
export { createDevice, type Device } from "./device.ts";
export { ALL_FIELDS, BRIEF, BRIEF_FIELDS, DEFINITION } from "./life.ts";
export type { Network } from "./network.ts";
export { createOracle, type Stood, type StoodUnit } from "./oracle.ts";
export { createRandom } from "./random.ts";
export type { Server } from "./server.ts";
