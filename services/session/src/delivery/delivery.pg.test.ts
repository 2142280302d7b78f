import { describeDelivery } from "./delivery.suite.ts";

describeDelivery("Postgres", () => undefined);
