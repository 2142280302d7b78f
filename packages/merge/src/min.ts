/** A minimum: the smallest number that was ever written stands, such as the best time. */
import { extremum } from "./extremum.ts";

export const min = extremum("MIN", (value, than) => value < than);
