/** Composition root of the operator's commands: what they may use, opened when they first ask for it. */
import { assertMigrated, databaseUnreachable, openDatabase, SetupError, type Database } from "@continuo/database";
import { runProgram, type Streams } from "@continuo/operator";
import { createLogger, sendLogsTo } from "@continuo/process";
import { startPokes } from "@continuo/signals";
import { PrismaClient } from "./database/generated/client.ts";
import { loadOperatorEnv, type OperatorEnv } from "./env.ts";
import type { AddCommands } from "./operator.ts";
import { announcePosted } from "./outbox.ts";
import { addUserCommands } from "./user/user.commands.ts";

const COMMANDS: readonly AddCommands[] = [addUserCommands];

/** Runs one command; resolves to the exit code (see `runProgram`). `argv` is what follows the program's name, `source` the environment. */
export async function runOperator(
  argv: readonly string[],
  options: {
    source?: () => Promise<Readonly<Record<string, string | undefined>>>;
    streams?: Streams;
    now?: () => Date;
    signal?: AbortSignal;
  } = {},
): Promise<number> {
  const { source, streams = process, now = () => new Date(), signal = new AbortController().signal } = options;
  await using opened = new AsyncDisposableStack();
  // Stdout is the result's.
  sendLogsTo(process.stderr.fd);

  const env = once(async (): Promise<OperatorEnv> => loadOperatorEnv(await source?.()));
  const database = once(async (): Promise<Database<PrismaClient>> => {
    const { DATABASE_URL, LOG_LEVEL } = await env();
    const made = opened.use(
      openDatabase({
        url: DATABASE_URL,
        PrismaClient,
        applicationName: "continuo-identity-operator",
        poolSize: 2,
        log: createLogger({ name: "operator", level: LOG_LEVEL }),
      }),
    );
    await assertMigrated(made.pool).catch((cause: unknown) => {
      throw cause instanceof SetupError ? cause : databaseUnreachable(DATABASE_URL, cause);
    });
    return made;
  });

  return await runProgram(argv, {
    name: "continuo",
    description: "Commands for whoever operates Continuo.",
    example: "npm run continuo -- users show --user ada@example.com",
    commands: COMMANDS,
    streams,
    signal,
    equipment: {
      database,
      async posted() {
        const { DATABASE_URL, REDIS_URL, LOG_LEVEL } = await env();
        const logger = createLogger({ name: "operator", level: LOG_LEVEL });
        await announcePosted(
          opened.use(await startPokes({ databaseUrl: DATABASE_URL, redisUrl: REDIS_URL, logger })),
        )();
      },
      now,
    },
  });
}

function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => (made ??= { value: make() }).value;
}
