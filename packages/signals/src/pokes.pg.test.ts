import { createTestDatabase } from "@continuo/testkit";
import { expect, test, vi } from "vitest";
import { openPostgresBus } from "./fixtures/bus.ts";
import { silent } from "./fixtures/settings.ts";
import { describePokes } from "./pokes.suite.ts";
import { startPokes } from "./start-pokes.ts";

describePokes("Postgres", openPostgresBus);

test("a role that may read nothing hears the pokes of the others", async () => {
  await using database = await createTestDatabase();
  await using gateway = await startPokes({ databaseUrl: database.url.gateway, logger: silent });
  await using session = await startPokes({ databaseUrl: database.url.session, logger: silent });
  const onPoke = vi.fn<(number: number) => void>();
  await gateway.subscribe("revocations", { onPoke, onGap: () => undefined });
  await session.publish("revocations", 12);
  await vi.waitFor(() => expect(onPoke).toHaveBeenCalledWith(12), { timeout: 10_000 });
});
