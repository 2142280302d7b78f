/** What a world is made of, for one whose server is a real one. */
export { createDevice } from "./device.ts";
export { ALL_FIELDS, DEFINITION } from "./life.ts";
export type { Network } from "./network.ts";
export { createOracle, type Stood } from "./oracle.ts";
export { createRandom } from "./random.ts";
export type { Server } from "./server.ts";
