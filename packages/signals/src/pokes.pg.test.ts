import { openPostgresBus } from "./fixtures/bus.ts";
import { describePokes } from "./pokes.suite.ts";

describePokes("Postgres", openPostgresBus);
