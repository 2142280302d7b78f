import { openPostgresBus } from "./fixtures/bus.ts";
import { describeRelays } from "./relays.suite.ts";

describeRelays("Postgres", openPostgresBus);
