/** The namespaces that every installation starts with. Running it again changes nothing. */
import { openDatabase } from "@continuo/database";
import type { KindName } from "@continuo/merge";
import { createLogger } from "@continuo/process";
import { PrismaClient } from "./database/generated/client.ts";
import { loadSeedEnv, type SeedEnv } from "./env.ts";

const NAMESPACES: Readonly<Record<string, Readonly<Record<string, KindName>>>> = {
  preferences: { "*": "REGISTER" },
  playback: { positionSeconds: "REGISTER", furthestSeconds: "MAX", title: "REGISTER" },
  notes: { "*": "REGISTER" },
};

/** Registers version 1 of each namespace that is not there yet. */
export async function seed(env: SeedEnv): Promise<void> {
  const log = createLogger({ name: "user-state-seed", level: env.LOG_LEVEL });
  await using database = openDatabase({
    url: env.DATABASE_URL,
    PrismaClient,
    applicationName: "continuo-user-state-seed",
    poolSize: 1,
    log,
  });
  const createdAt = new Date();
  const { count } = await database.prisma.namespace.createMany({
    data: Object.entries(NAMESPACES).map(([name, kinds]) => ({
      name,
      version: 1,
      kinds,
      schema: {},
      persistence: "DURABLE",
      createdAt,
    })),
    skipDuplicates: true,
  });
  log.info({ registered: count }, "namespaces are there");
}

if (import.meta.main) await seed(loadSeedEnv());
