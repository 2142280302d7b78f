import { openPostgresBus } from "./fixtures/bus.ts";
import { describeOutbox } from "./outbox.suite.ts";

describeOutbox("Postgres", openPostgresBus);
