import { createLogger } from "@continuo/process";
import { createTestDatabase, startFaultProxy, targetOf, throughProxy } from "@continuo/testkit";
import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { expect, test, vi } from "vitest";
import { startReplayCache } from "./replay-cache.ts";
import { describeReplayCache } from "./replay-cache.suite.ts";

describeReplayCache("Postgres", async () => {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createTestDatabase());
  const proxy = stack.use(await startFaultProxy(targetOf(database.url.gateway, 5432)));
  const opened = stack.move();
  return {
    databaseUrl: throughProxy(database.url.gateway, proxy),
    proxy,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
});

test("a replay cache over Postgres clears what has expired in passing, and nothing else", async () => {
  await using database = await createTestDatabase();
  const client = new Client({ connectionString: database.adminUrl });
  await client.connect();
  await client.query(`
    INSERT INTO gateway.used_once SELECT sha256(n::text::bytea), now() - interval '1 s' FROM generate_series(1, 900) AS n`);
  const kept = async (): Promise<unknown> =>
    (
      await client.query(
        `SELECT count(*)::int, max(expires_at) <= now() + interval '60 s' AS "inTime" FROM gateway.used_once`,
      )
    ).rows;
  await using cache = await startReplayCache({
    databaseUrl: database.url.gateway,
    logger: createLogger({ name: "replay-cache", level: "silent" }),
  });
  const reserve = (times: number): Promise<boolean[]> =>
    Promise.all(Array.from({ length: times }, () => cache.reserve(randomUUID(), 60_000)));
  await reserve(300);
  await vi.waitFor(async () => expect(await kept()).toEqual([{ count: 300, inTime: true }]), 60_000);
  await client.end();
});

test("a replay cache does not open on a database that refuses it, and says how", async () => {
  await using database = await createTestDatabase();
  const opening = (databaseUrl: string): Promise<unknown> =>
    startReplayCache({ databaseUrl, logger: createLogger({ name: "replay-cache", level: "silent" }) });
  const changed = (change: Partial<URL>): string => Object.assign(new URL(database.url.gateway), change).href;
  await expect(opening(changed({ password: "wrong" }))).rejects.toMatchObject({ code: "E_DB_UNREACHABLE" });
  await expect(opening(changed({ pathname: "/elsewhere" }))).rejects.toMatchObject({ code: "E_DB_UNREACHABLE" });
  await expect(opening(database.url.session)).rejects.toMatchObject({ code: "E_DB_ROLE" });

  const client = new Client({ connectionString: database.adminUrl });
  await client.connect();
  await client.query("ALTER SCHEMA gateway RENAME TO elsewhere");
  await client.end();
  await expect(opening(database.url.gateway)).rejects.toMatchObject({ code: "E_DB_NOT_MIGRATED" });
});
