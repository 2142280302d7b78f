/** What this service's commands get in addition to the common equipment (`@continuo/operator`). */
import type { Database } from "@continuo/database";
import type * as operator from "@continuo/operator";
import type { PrismaClient } from "./database/generated/client.ts";
import type { Announce } from "./activity/activity.ts";
import type { Amount } from "./entry/unit.ts";

export interface Equipment {
  /** Opens on first use. Throws SetupError: E_DB_UNREACHABLE, E_DB_NOT_MIGRATED. */
  database(): Promise<Database<PrismaClient>>;
  /** The default quota per person. */
  quota(): Promise<Amount>;
  /** Announces commits, so that devices need not wait for their next poll. */
  readonly announce: { readonly [Name in keyof Announce]: (userId: string, rev: number) => Promise<void> };
  readonly createId: () => string;
}

export type Operator = operator.Operator<Equipment>;
export type AddCommands = operator.AddCommands<Equipment>;
