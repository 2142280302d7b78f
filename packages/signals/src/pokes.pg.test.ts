import { createTestDatabase } from "@continuo/testkit";
import { expect, test, vi } from "vitest";
import { openPostgresBus } from "./fixtures/bus.ts";
import { silent } from "./fixtures/settings.ts";
import type { PokeListener } from "./pokes.ts";
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
  await vi.waitFor(() => expect(onPoke).toHaveBeenCalledWith(12), { timeout: 60_000 });
});

test("a process hears its own pokes at once, once, and while the database is away", async () => {
  await using bus = await openPostgresBus();
  await using pokes = await startPokes({ ...bus, logger: silent });
  await using others = await startPokes({ ...bus, logger: silent });
  const [heard, heardByOthers] = [new Array<number>(), new Array<number>()];
  const ear = (numbers: number[]): PokeListener => ({
    onPoke: (number) => void numbers.push(number),
    onGap: () => undefined,
  });
  await pokes.subscribe("topic", ear(heard));
  await others.subscribe("topic", ear(heardByOthers));
  await pokes.publish("topic", 1);
  expect(heard).toEqual([1]);
  // Notifications arrive in order: once a later poke has arrived, the echo of the first would have too.
  await vi.waitFor(() => expect(heardByOthers).toContain(1), { timeout: 60_000 });
  await others.publish("topic", 2);
  await vi.waitFor(() => expect(heard).toContain(2), { timeout: 60_000 });
  expect(heard).toEqual([1, 2]);

  bus.proxy.down();
  await pokes.publish("topic", 3);
  expect(heard).toEqual([1, 2, 3]);
  bus.proxy.heal();
});
