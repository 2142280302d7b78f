/** Demo people. Running it again changes nothing. */
import { startDatabase } from "@continuo/database";
import { createLogger, loadEnv, runCommand } from "@continuo/process";
import { v7 as newId } from "uuid";
import { PrismaClient } from "./database/generated/client.ts";
import { Env } from "./env.ts";
import { createPasswordHasher } from "./password/argon2id.ts";
import { createPasswordStore } from "./password/password.store.ts";
import { createSignUp } from "./password/sign-up.ts";
import { createTurnstiles } from "./password/turnstile.ts";

/** The demo users and their passwords. */
export const DEMO_PEOPLE = [
  { email: "ada@example.com", password: "correct horse battery staple" },
  { email: "alan@example.com", password: "correct horse battery staple" },
] as const;

const SeedEnv = Env.pick({ DATABASE_URL: true, LOG_LEVEL: true });

/** Signs up the demo people. `DATABASE_URL` is identity's own. */
export async function seed(env: Pick<Env, "DATABASE_URL" | "LOG_LEVEL">): Promise<void> {
  const log = createLogger({ name: "identity-seed", level: env.LOG_LEVEL });
  await using database = await startDatabase({
    url: env.DATABASE_URL,
    schema: "identity",
    PrismaClient,
    applicationName: "continuo-identity-seed",
    poolSize: 2,
    log,
  });
  const signUp = createSignUp({
    store: createPasswordStore(database.pool),
    hasher: createPasswordHasher(),
    turnstile: createTurnstiles({ parallel: 2, waiting: DEMO_PEOPLE.length }).of(undefined),
    newId,
    now: () => new Date(),
  });
  await Promise.all(DEMO_PEOPLE.map(signUp));
  log.info({ people: DEMO_PEOPLE.length }, "seeded");
}

if (import.meta.main) await runCommand(() => seed(loadEnv(SeedEnv)));
