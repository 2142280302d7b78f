/** What this service's commands get in addition to what every command gets (`@continuo/operator`). */
import type { Database } from "@continuo/database";
import type * as operator from "@continuo/operator";
import type { PrismaClient } from "./database/generated/client.ts";

export interface Equipment {
  /** Opened on first use. Throws SetupError: E_DB_UNREACHABLE, E_DB_NOT_MIGRATED. */
  database(): Promise<Database<PrismaClient>>;
  /** Announces new outbox rows, so that the relay need not wait for its next poll. */
  posted(): Promise<void>;
  readonly now: () => Date;
}

export type Operator = operator.Operator<Equipment>;
export type AddCommands = operator.AddCommands<Equipment>;
