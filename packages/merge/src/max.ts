/** A maximum: the largest number that was ever written stands, such as the furthest chapter read. */
import { extremum } from "./extremum.ts";

export const max = extremum("MAX", (value, than) => value > than);
