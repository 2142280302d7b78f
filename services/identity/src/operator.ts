/** What the commands of this service get beside what all do (`@continuo/operator`). */
import type { Database } from "@continuo/database";
import type * as operator from "@continuo/operator";
import type { PrismaClient } from "./database/generated/client.ts";

export interface Equipment {
  /** Opens when it is first asked for. Throws SetupError: E_DB_UNREACHABLE, E_DB_NOT_MIGRATED. */
  database(): Promise<Database<PrismaClient>>;
  /** Says that the outbox has something new, so that it need not wait for the next look. */
  posted(): Promise<void>;
  readonly now: () => Date;
}

export type Operator = operator.Operator<Equipment>;
export type AddCommands = operator.AddCommands<Equipment>;
