/** Composition root of the operator's commands: what they may use, opened when they first ask for it. */
import { assertMigrated, databaseUnreachable, openDatabase, SetupError, type Database } from "@continuo/database";
import { runProgram, type Streams } from "@continuo/operator";
import { createLogger, EnvError, sendLogsTo, type Logger } from "@continuo/process";
import { startPokes, type Pokes } from "@continuo/signals";
import { v7 as newId } from "uuid";
import { announceKeys, createAnnouncer } from "./announce.ts";
import { addApplicationCommands } from "./application/application.commands.ts";
import { addAuditCommands } from "./audit/audit.commands.ts";
import { PrismaClient } from "./database/generated/client.ts";
import { addOutboxCommands } from "./delivery/delivery.commands.ts";
import { loadOperatorEnv, type OperatorEnv } from "./env.ts";
import type { AddCommands } from "./operator.ts";
import { addPolicyCommands } from "./policy/policy.commands.ts";
import { addSessionCommands } from "./session/session.commands.ts";
import { addKeyCommands } from "./signing-key/signing-key.commands.ts";
import { addWebhookCommands } from "./webhook/webhook.commands.ts";

const COMMANDS: readonly AddCommands[] = [
  addSessionCommands,
  addKeyCommands,
  addApplicationCommands,
  addPolicyCommands,
  addAuditCommands,
  addOutboxCommands,
  addWebhookCommands,
];

export interface OperatorOptions {
  /** The environment, as text; read when a command first needs it. */
  readonly source?: () => Promise<Readonly<Record<string, string | undefined>>>;
  readonly streams?: Streams;
  readonly now?: () => Date;
  readonly signal?: AbortSignal;
}

/** Runs one command; resolves to the exit code (see `runProgram`). `argv` is what follows the program's name. */
export async function runOperator(argv: readonly string[], options: OperatorOptions = {}): Promise<number> {
  const { source, streams = process, now = () => new Date(), signal = new AbortController().signal } = options;
  await using opened = new AsyncDisposableStack();
  // Stdout is the result's.
  sendLogsTo(process.stderr.fd);

  const env = once(async (): Promise<OperatorEnv> => loadOperatorEnv(await source?.()));
  const createLog = (level: OperatorEnv["LOG_LEVEL"]): Logger => createLogger({ name: "operator", level });
  const database = once(async (): Promise<Database<PrismaClient>> => {
    const { DATABASE_URL, DATABASE_POOL_SIZE, LOG_LEVEL } = await env();
    const made = opened.use(
      openDatabase({
        url: DATABASE_URL,
        PrismaClient,
        applicationName: "continuo-operator",
        poolSize: DATABASE_POOL_SIZE,
        // Filters are optional conditions.
        planning: "EACH_TIME",
        log: createLog(LOG_LEVEL),
      }),
    );
    await assertMigrated(made.pool).catch((cause: unknown) => {
      throw cause instanceof SetupError ? cause : databaseUnreachable(DATABASE_URL, cause);
    });
    return made;
  });
  const pokes = once(async (): Promise<Pokes> => {
    const { DATABASE_URL, REDIS_URL, LOG_LEVEL } = await env();
    const logger = createLog(LOG_LEVEL);
    return opened.use(await startPokes({ databaseUrl: DATABASE_URL, redisUrl: REDIS_URL, logger }));
  });

  return await runProgram(argv, {
    name: "continuo",
    description: "Commands for whoever operates Continuo.",
    example: "npm run continuo -- sessions list --json",
    commands: COMMANDS,
    streams,
    signal,
    equipment: {
      database,
      async masterKeys() {
        const { MASTER_KEY } = await env();
        if (MASTER_KEY === undefined) throw new EnvError("This command needs the MASTER_KEY of the installation.");
        return MASTER_KEY;
      },
      announce: {
        revoked: async (seq) => createAnnouncer(await pokes()).revoked(seq),
        devicesChanged: async (userId, rev) => createAnnouncer(await pokes()).devicesChanged(userId, rev),
        keysChanged: async (at) => announceKeys(await pokes())(at),
      },
      now,
      createId: newId,
    },
  });
}

function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => (made ??= { value: make() }).value;
}
