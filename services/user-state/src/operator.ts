/** What the commands of this service get beside what all do (`@continuo/operator`). */
import type { Database } from "@continuo/database";
import type * as operator from "@continuo/operator";
import type { PrismaClient } from "./database/generated/client.ts";
import type { Announce } from "./activity/activity.ts";
import type { Amount } from "./entry/unit.ts";

export interface Equipment {
  /** Opens when it is first asked for. Throws SetupError: E_DB_UNREACHABLE, E_DB_NOT_MIGRATED. */
  database(): Promise<Database<PrismaClient>>;
  /** What a person may keep. */
  quota(): Promise<Amount>;
  /** Says what was committed, so that devices need not wait for their next look. */
  readonly announce: { readonly [Name in keyof Announce]: (userId: string, rev: number) => Promise<void> };
  readonly createId: () => string;
}

export type Operator = operator.Operator<Equipment>;
export type AddCommands = operator.AddCommands<Equipment>;
