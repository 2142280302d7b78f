import { expect, it } from "vitest";
import { LONGEST_TOKEN_LIFE_MS } from "./revocation-set.ts";
import { revocationUnknown } from "./revocation-feed.ts";
import { createStanding } from "./standing.ts";

const session = { sid: "s", posture: "OPEN" } as const;

it("an open policy's reads go on from memory for as long as a token may live, and then need the log like any other", async () => {
  let ageMs = Infinity;
  const standing = createStanding({
    feed: { isCurrent: () => false, ageMs: () => ageMs, assertCurrent: () => Promise.reject(revocationUnknown()) },
    revocations: { endReasonOf: () => undefined },
  });
  const unknown = { code: "UNAVAILABLE", reason: "REVOCATION_UNKNOWN" };
  await expect(standing.assert(session, "READ")).rejects.toMatchObject(unknown);
  ageMs = LONGEST_TOKEN_LIFE_MS - 1;
  await standing.assert(session, "READ");
  await expect(standing.assert(session, "CHANGE")).rejects.toMatchObject(unknown);
  ageMs = LONGEST_TOKEN_LIFE_MS;
  await expect(standing.assert(session, "READ")).rejects.toMatchObject(unknown);
});
