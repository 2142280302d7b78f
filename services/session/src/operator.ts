/** What this service's commands get in addition to what every command gets (`@continuo/operator`). */
import type { Database } from "@continuo/database";
import type * as operator from "@continuo/operator";
import type { PrismaClient } from "./database/generated/client.ts";
import type { MasterKeys } from "./env.ts";
import type { RevocationAnnouncer } from "./revocation/revocation.ts";

export interface Equipment {
  /** Opened on first use. Throws SetupError: E_DB_UNREACHABLE, E_DB_NOT_MIGRATED. */
  database(): Promise<Database<PrismaClient>>;
  /** The current key first. Throws EnvError when the environment has no MASTER_KEY. */
  masterKeys(): Promise<MasterKeys>;
  /** Announces commits, so that gateways need not wait for their next poll. */
  readonly announce: RevocationAnnouncer & { keysChanged(at: Date): Promise<void> };
  readonly now: () => Date;
  readonly createId: () => string;
}

export type Operator = operator.Operator<Equipment>;
export type AddCommands = operator.AddCommands<Equipment>;
