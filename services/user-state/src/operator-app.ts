/** Composition root of the operator's commands: what they may use, opened when they first ask for it. */
import { assertMigrated, databaseUnreachable, openDatabase, SetupError, type Database } from "@continuo/database";
import { runProgram, type Streams } from "@continuo/operator";
import { createLogger, sendLogsTo } from "@continuo/process";
import { activityTopic, startPokes, stateTopic, type Pokes } from "@continuo/signals";
import { v7 as uuidv7 } from "uuid";
import { addStateCommands } from "./archive/archive.commands.ts";
import { PrismaClient } from "./database/generated/client.ts";
import { loadOperatorEnv, type OperatorEnv } from "./env.ts";
import { addNamespaceCommands } from "./namespace/namespace.commands.ts";
import type { AddCommands } from "./operator.ts";

const COMMANDS: readonly AddCommands[] = [addNamespaceCommands, addStateCommands];
const NAME = "continuo-state";

/** Runs one command; resolves to the exit code (see `runProgram`). `argv` is what follows the program's name, `source` the environment. */
export async function runOperator(
  argv: readonly string[],
  options: {
    source?: () => Promise<Readonly<Record<string, string | undefined>>>;
    streams?: Omit<Streams, "stdin"> & Partial<Streams>;
    signal?: AbortSignal;
  } = {},
): Promise<number> {
  const { source, streams = process, signal = new AbortController().signal } = options;
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
        applicationName: `${NAME}-operator`,
        poolSize: 2,
        log: createLogger({ name: "operator", level: LOG_LEVEL }),
      }),
    );
    await assertMigrated(made.pool).catch((cause: unknown) => {
      throw cause instanceof SetupError ? cause : databaseUnreachable(DATABASE_URL, cause);
    });
    return made;
  });
  const pokes = once(async (): Promise<Pokes> => {
    const { DATABASE_URL, REDIS_URL, LOG_LEVEL } = await env();
    const logger = createLogger({ name: "operator", level: LOG_LEVEL });
    return opened.use(await startPokes({ databaseUrl: DATABASE_URL, redisUrl: REDIS_URL, logger }));
  });

  return await runProgram(argv, {
    name: NAME,
    description: "Commands for whoever operates the user-state service.",
    example: `npm run ${NAME} -- namespaces list`,
    commands: COMMANDS,
    streams: { stdin: streams.stdin ?? process.stdin, stdout: streams.stdout, stderr: streams.stderr },
    signal,
    equipment: {
      database,
      async quota() {
        const { QUOTA_ENTRIES, QUOTA_BYTES } = await env();
        return { entries: QUOTA_ENTRIES, bytes: QUOTA_BYTES };
      },
      announce: {
        state: async (userId, rev) => (await pokes()).publish(stateTopic(userId), rev),
        activities: async (userId, rev) => (await pokes()).publish(activityTopic(userId), rev),
      },
      createId: uuidv7,
    },
  });
}

function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => (made ??= { value: make() }).value;
}
