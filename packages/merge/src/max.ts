/** A maximum: the largest number ever written stands, for example the furthest chapter read. */
import { extremum } from "./extremum.ts";

export const max = extremum("MAX", (value, than) => value > than);
