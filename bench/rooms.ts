/** Code of the system that a benchmark runs in its own process. */
export { createAdmissions } from "../gateway/src/caller.ts";
export { createRevocationSet } from "../gateway/src/revocation/revocation-set.ts";
export { createStanding } from "../gateway/src/revocation/standing.ts";
export { createAccessTokenVerifier } from "../packages/access/src/index.ts";
export { freePort } from "../packages/testkit/src/index.ts";
