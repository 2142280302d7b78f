/** The command line of one service: its commands, and the parts of an installation they use, opened when first needed. */
import { startDatabase, type Database, type StartOptions } from "@continuo/database";
import { createLogger, loadEnv, sendLogsTo, type LogLevel } from "@continuo/process";
import { startPokes, type Pokes } from "@continuo/signals/pokes";
import type { z } from "zod";
import type { AddCommands } from "./operator.ts";
import { runProgram, type Program } from "./program.ts";
import type { Streams } from "./terminal.ts";

type Source = Readonly<Record<string, string | undefined>>;

/** What every service's commands have in their environment. */
interface Env {
  readonly DATABASE_URL: string;
  readonly DATABASE_POOL_SIZE: number;
  readonly LOG_LEVEL: LogLevel;
  readonly REDIS_URL?: string | undefined;
}

/** Each part is opened at most once, and only when needed. */
export interface Installation<OperatorEnv, Client> {
  /** Throws EnvError. */
  readonly env: () => Promise<OperatorEnv>;
  /** Throws SetupError: E_DB_UNREACHABLE, E_DB_NOT_MIGRATED, E_DB_ROLE. */
  readonly database: () => Promise<Database<Client>>;
  readonly pokes: () => Promise<Pokes>;
}

export interface OperatorOptions {
  /** The environment, as text; default this process's. */
  readonly source?: () => Promise<Source>;
  readonly streams?: Streams;
  readonly now?: () => Date;
  readonly signal?: AbortSignal;
}

/**
 * Makes the function that runs one command and resolves to its exit code (see `runProgram`); `argv` follows the program's name.
 */
export function createOperator<
  OperatorEnv extends Env,
  Client extends { $disconnect(): Promise<void> },
  Equipment extends object,
>(
  service: Program & {
    readonly commands: readonly AddCommands<Equipment>[];
    readonly env: z.ZodType<OperatorEnv>;
    readonly database: Pick<StartOptions<Client>, "schema" | "PrismaClient" | "planning">;
    readonly equip: (installation: Installation<OperatorEnv, Client>, now: () => Date) => Equipment;
  },
): (argv: readonly string[], options?: OperatorOptions) => Promise<number> {
  return async (argv, options = {}) => {
    const { source, streams = process, now = () => new Date(), signal = new AbortController().signal } = options;
    await using opened = new AsyncDisposableStack();
    // Stdout is for the result.
    sendLogsTo(process.stderr.fd);

    const env = once(async () => loadEnv(service.env, await source?.()));
    const logger = once(async () => createLogger({ name: "operator", level: (await env()).LOG_LEVEL }));
    const database = once(async () => {
      const { DATABASE_URL: url, DATABASE_POOL_SIZE: poolSize } = await env();
      const applicationName = `${service.name}-operator`;
      return opened.use(
        await startDatabase({ ...service.database, url, poolSize, applicationName, log: await logger() }),
      );
    });
    const pokes = once(async () => {
      const { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl } = await env();
      return opened.use(await startPokes({ databaseUrl, redisUrl, logger: await logger() }));
    });
    const equipment = service.equip({ env, database, pokes }, now);
    return await runProgram(argv, { ...service, equipment, streams, signal });
  };
}

function once<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => (made ??= { value: make() }).value;
}
