/** The namespaces that every installation starts with. Seeding again only adds what a newer release adds. */
import { startDatabase } from "@continuo/database";
import { defineNamespace, max, progress, register } from "@continuo/namespace";
import { createLogger, loadEnv, runCommand } from "@continuo/process";
import { z } from "zod";
import { PrismaClient } from "./database/generated/client.ts";
import { Env } from "./env.ts";
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

const SeedEnv = Env.pick({ DATABASE_URL: true, LOG_LEVEL: true });

/** Publishes missing namespaces and new fields; leaves a namespace alone if it was changed in any other way since. */
export async function seed(env: Pick<Env, "DATABASE_URL" | "LOG_LEVEL">): Promise<void> {
  const log = createLogger({ name: "user-state-seed", level: env.LOG_LEVEL });
  await using database = await startDatabase({
    url: env.DATABASE_URL,
    schema: "user_state",
    PrismaClient,
    applicationName: "continuo-user-state-seed",
    poolSize: 1,
    log,
  });
  const store = createNamespaceStore(database.pool);
  const registered: string[] = [];
  for (const definition of NAMESPACES) {
    const { result, changes } = await publish(store, definition, { dryRun: true });
    // Settings that an operator changed, such as a quota, are kept.
    if (result !== "PUBLISHED" || changes.some(({ path }) => !Object.hasOwn(definition.fields, path))) continue;
    await publish(store, definition, { dryRun: false });
    registered.push(definition.name);
  }
  log.info({ registered }, "namespaces are there");
}

if (import.meta.main) await runCommand(() => seed(loadEnv(SeedEnv)));
