/** The namespaces that every installation starts with. Running it again changes nothing. */
import { openDatabase } from "@continuo/database";
import { defineNamespace, max, progress, register } from "@continuo/namespace";
import { createLogger } from "@continuo/process";
import { z } from "zod";
import { PrismaClient } from "./database/generated/client.ts";
import { loadSeedEnv, type SeedEnv } from "./env.ts";
import { createNamespaceStore } from "./namespace/namespace.store.ts";
import { publish } from "./namespace/publication.ts";

const anything = register(z.json());

const NAMESPACES = [
  defineNamespace({ name: "preferences", version: 1, fields: { "*": anything } }),
  defineNamespace({
    name: "playback",
    version: 1,
    fields: { position: progress(), positionSeconds: anything, furthestSeconds: max(), title: anything },
  }),
  defineNamespace({ name: "notes", version: 1, fields: { "*": anything } }),
];

/** Publishes each namespace that is not there yet. One that was since taken further is left as it is. */
export async function seed(env: SeedEnv): Promise<void> {
  const log = createLogger({ name: "user-state-seed", level: env.LOG_LEVEL });
  await using database = openDatabase({
    url: env.DATABASE_URL,
    PrismaClient,
    applicationName: "continuo-user-state-seed",
    poolSize: 1,
    log,
  });
  const store = createNamespaceStore(database.pool);
  const there = new Set((await store.load()).map(({ definition }) => definition.name));
  const missing = NAMESPACES.filter(({ name }) => !there.has(name));
  for (const definition of missing) await publish(store, definition, { dryRun: false });
  log.info({ registered: missing.length }, "namespaces are there");
}

if (import.meta.main) await seed(loadSeedEnv());
