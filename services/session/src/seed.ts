/** The applications that every installation starts with. Running it again changes nothing. */
import { startDatabase } from "@continuo/database";
import { createLogger, loadEnv, runCommand } from "@continuo/process";
import { PrismaClient } from "./database/generated/client.ts";
import { Env } from "./env.ts";

const DAY_SECONDS = 24 * 3_600;

const UNBOUND = {
  deviceBinding: "NONE",
  requiredAcr: null,
  stepUpSeconds: 300,
  persistence: true,
  posture: "STRICT",
} as const;

/**
 * The applications, with version 1 of their policies. `bank` is the strict one, with limits short enough to watch
 * expire.
 */
export const APPLICATIONS = [
  {
    id: "continuo",
    name: "Continuo",
    policy: {
      ...UNBOUND,
      idleSeconds: 14 * DAY_SECONDS,
      absoluteSeconds: 30 * DAY_SECONDS,
      accessTokenSeconds: 300,
      maxSessions: 50,
      atLimit: "EVICT_OLDEST",
    },
  },
  {
    id: "bank",
    name: "Strict Bank",
    policy: {
      ...UNBOUND,
      idleSeconds: 6,
      absoluteSeconds: 60,
      accessTokenSeconds: 60,
      maxSessions: 1,
      atLimit: "REFUSE",
    },
  },
] as const;

const SeedEnv = Env.pick({ DATABASE_URL: true, LOG_LEVEL: true });

/** Registers the applications that do not exist yet. `DATABASE_URL` is session's own. */
export async function seed(env: Pick<Env, "DATABASE_URL" | "LOG_LEVEL">): Promise<void> {
  const log = createLogger({ name: "session-seed", level: env.LOG_LEVEL });
  await using database = await startDatabase({
    url: env.DATABASE_URL,
    schema: "session",
    PrismaClient,
    applicationName: "continuo-session-seed",
    poolSize: 1,
    log,
  });
  const { prisma } = database;
  const now = new Date();
  await prisma.application.createMany({
    data: APPLICATIONS.map(({ id, name }) => ({ id, name, createdAt: now })),
    skipDuplicates: true,
  });
  const { count } = await prisma.policy.createMany({
    data: APPLICATIONS.map(({ id, policy }) => ({
      ...policy,
      applicationId: id,
      version: 1,
      state: "ACTIVE",
      activatedAt: now,
    })),
    skipDuplicates: true,
  });
  log.info({ registered: count }, "applications are there");
}

if (import.meta.main) await runCommand(() => seed(loadEnv(SeedEnv)));
