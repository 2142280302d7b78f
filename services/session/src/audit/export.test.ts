import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { createExport } from "./export.ts";
import type { StoredLink } from "./security-event.ts";

it("an export ends where its head says, whatever is added while it is read", async () => {
  const userId = "ada";
  const links: StoredLink[] = [1, 2].map((seq) => ({ userId, seq, hash: randomBytes(32), record: `${seq}` }));
  const at = (seq: number) => ({ seq, hash: randomBytes(32) });
  const lines = createExport({
    store: {
      ends: async () => [{ userId, base: at(0), head: at(1) }],
      links: async ({ after, last }) => links.filter(({ seq }) => seq > after.seq && seq <= last.seq),
    },
    sign: async () => "signed",
    now: () => new Date(),
  });
  const exported = (await Array.fromAsync(lines(userId))).map((line): unknown => JSON.parse(line));
  expect(exported).toEqual([expect.objectContaining({ record: "1" }), { head: "signed" }]);
});
