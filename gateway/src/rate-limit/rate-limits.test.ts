import { rateLimitsSuite } from "./rate-limits.suite.ts";

rateLimitsSuite(() => undefined);
