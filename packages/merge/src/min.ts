/** A minimum: the smallest number ever written stands, for example the best time. */
import { extremum } from "./extremum.ts";

export const min = extremum("MIN", (value, than) => value < than);
