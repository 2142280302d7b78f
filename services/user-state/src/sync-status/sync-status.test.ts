import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { createSyncStatusOf } from "./sync-status.ts";

it("the devices of one request are one read", async () => {
  const reads: (readonly string[])[] = [];
  const known = randomUUID();
  const status = { ackedRev: 1, headRev: 2, pending: null, lastSeenAt: new Date(0) };
  const syncStatusOf = createSyncStatusOf({
    load: async (_userId, deviceIds) => {
      reads.push(deviceIds);
      return new Map([[known, status]]);
    },
  });
  const viewer = {
    userId: randomUUID(),
    deviceId: known,
    sessionId: randomUUID(),
    applicationId: "a",
    acr: "1",
    amr: [],
    authTime: 1,
  };
  const other = randomUUID();
  const asked = [known.toUpperCase(), other, "no id", other];
  expect(await Promise.all(asked.map((id) => syncStatusOf(viewer, id)))).toEqual([status, null, null, null]);
  expect(reads).toEqual([[known.toUpperCase(), other]]);
});
