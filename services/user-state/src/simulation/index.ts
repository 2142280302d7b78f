/** What a world is made of, for one whose server is a real one. */
export { createDevice, type Device } from "./device.ts";
export { ALL_FIELDS, DEFINITION } from "./life.ts";
export type { Network } from "./network.ts";
export { createOracle, Violation, type Oracle, type Stood } from "./oracle.ts";
export { createRandom, type Random } from "./random.ts";
export type { Server } from "./server.ts";
