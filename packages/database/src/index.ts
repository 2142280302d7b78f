export {
  findEmbeddedPostgres,
  startEmbeddedPostgres,
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
} from "./embedded/embedded-postgres.ts";
export { gather, type GatherOptions } from "./gather.ts";
export { migrate, type MigrateOptions } from "./migrations/migrate.ts";
export { ROLES, roleUrl, type Role, type RoleOwner, type RolePasswords } from "./migrations/roles.ts";
export { openDatabase, type Database, type DatabaseOptions } from "./open-database.ts";
export { MigrateEnv } from "./env.ts";
export { startDatabase, type StartOptions } from "./start-database.ts";
export { inTransaction } from "./transaction.ts";
