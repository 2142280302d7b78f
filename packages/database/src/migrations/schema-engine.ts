/**
 * Prisma's schema engine as WebAssembly: applies migrations and compares schemas, with no native binary to download.
 * The ledger it writes is the one `prisma migrate` reads.
 */
import { PrismaPg } from "@prisma/adapter-pg";
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum, type ErrorRegistry } from "@prisma/driver-adapter-utils";
import * as engineModule from "@prisma/schema-engine-wasm/schema_engine_bg";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Pool, type QueryConfig } from "pg";
import type { Migration, SchemaFile } from "./history.ts";
import { migrationsDirectory } from "./history.ts";

/** No tables or enums are excluded from comparison. */
const FILTERS = { externalTables: [], externalEnums: [] };
const CATALOG_CHAR = 18;
const CHAR_ARRAY = 1002;
/** Applying SQL files needs no model, but the engine needs to know the dialect. */
const NO_SCHEMA: SchemaFile = {
  owner: "",
  path: "schema.prisma",
  content: 'datasource db {\n  provider = "postgresql"\n}\n',
};

/** One engine on one database; closing it ends its connections. */
export interface SchemaEngine extends AsyncDisposable {
  /** Applies the migrations that the ledger lacks, in order, each whole or not at all; returns their names. */
  apply(migrations: readonly Migration[]): Promise<string[]>;
  /** Records in the ledger that a migration which did not finish has left nothing behind, so that it can be applied again. */
  markRolledBack(name: string): Promise<void>;
  /** The SQL that takes the database (the Postgres schemas that `file` names) to what `file` says; empty when equal. */
  difference(file: SchemaFile): Promise<string>;
}

/** Opens an engine on the database of `url`. */
export async function openSchemaEngine(url: string): Promise<SchemaEngine> {
  await loadWasm();
  const pool = openCatalogPool(url);
  const factory = bindMigrationAwareSqlAdapterFactory(new EnginePg(pool));
  const open = (files: readonly SchemaFile[]): Promise<engineModule.SchemaEngine> =>
    engineModule.SchemaEngine.new(
      { datamodels: files.map(({ path, content }) => [path, content]) },
      () => undefined,
      factory,
    );

  return {
    async apply(migrations) {
      using engine = await open([NO_SCHEMA]);
      const applying = engine.applyMigrations({
        migrationsList: {
          baseDir: migrationsDirectory,
          lockfile: { path: "migration_lock.toml", content: 'provider = "postgresql"\n' },
          shadowDbInitScript: "",
          migrationDirectories: migrations.map(({ name, sql }) => ({
            path: name,
            migrationFile: { path: "migration.sql", content: { tag: "ok", value: sql } },
          })),
        },
        filters: FILTERS,
      });
      const { appliedMigrationNames } = await applying.catch((cause: unknown) => {
        throw reveal(cause, factory.errorRegistry);
      });
      return appliedMigrationNames;
    },
    async markRolledBack(name) {
      using engine = await open([NO_SCHEMA]);
      await engine.markMigrationRolledBack({ migrationName: name });
    },
    async difference(file) {
      using engine = await open([file]);
      const files = [{ path: file.path, content: file.content }];
      const { stdout } = await engine.diff({
        from: { tag: "schemaDatasource", files, configDir: migrationsDirectory },
        to: { tag: "schemaDatamodel", files },
        script: true,
        exitCode: null,
        filters: FILTERS,
      });
      const sql = stdout?.trim() ?? "";
      return sql.startsWith("-- This is an empty migration") ? "" : sql;
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}

/**
 * The adapter, with two gaps closed for the engine. The plain one splits scripts at every semicolon, even inside a
 * function body; here Postgres takes a script whole, in one transaction. And it does not know the catalogs' type
 * "char": the pool reports that as an array of char(1), which no catalog query returns, and here the array becomes the
 * single character.
 */
class EnginePg extends PrismaPg {
  override async connect(): ReturnType<PrismaPg["connect"]> {
    const adapter = await super.connect();
    const queryRaw = adapter.queryRaw.bind(adapter);
    adapter.queryRaw = async (query) => {
      const result = await queryRaw(query);
      const columnTypes = result.columnTypes.map((type) =>
        type === ColumnTypeEnum.CharacterArray ? ColumnTypeEnum.Character : type,
      );
      return { ...result, columnTypes };
    };
    adapter.executeScript = async (script) => {
      await adapter.underlyingDriver().query({ text: script });
    };
    return adapter;
  }
}

function openCatalogPool(url: string): Pool {
  const pool = new Pool({ connectionString: url, max: 2 });
  pool.on("error", () => undefined);
  const query = pool.query.bind(pool);
  return Object.assign(pool, {
    query: async (config: QueryConfig) => {
      const result = await query(config);
      // A script of several statements returns an array of results.
      for (const field of Array.isArray(result) ? [] : result.fields) {
        if (field.dataTypeID === CATALOG_CHAR) field.dataTypeID = CHAR_ARRAY;
      }
      return result;
    },
  });
}

/** What we use of the WebAssembly API, which TypeScript declares only for browsers. */
declare const WebAssembly: {
  compile(bytes: Uint8Array): Promise<unknown>;
  instantiate(module: unknown, imports: object): Promise<{ exports: Record<string, unknown> }>;
};

/** Receives the engine's panic message, which would otherwise be lost. */
function panic(words: string): never {
  throw new Error(`Prisma's schema engine failed: ${words}`);
}

/** Finds the database's error: the engine only gives its number ("External error id#0") and keeps the error apart. */
function reveal(cause: unknown, registry: ErrorRegistry): unknown {
  const id = /External error id#(\d+)/.exec(cause instanceof Error ? cause.message : "")?.[1];
  return (id === undefined ? undefined : registry.consumeError(Number(id))?.error) ?? cause;
}

let loading: Promise<void> | undefined;

/** Instantiates the module by hand: the package's own entry imports WebAssembly, which makes Node print a warning. */
function loadWasm(): Promise<void> {
  loading ??= (async () => {
    Object.assign(globalThis, { PRISMA_WASM_PANIC_REGISTRY: { set_message: panic } });
    const entry = createRequire(import.meta.url).resolve("@prisma/schema-engine-wasm");
    const module = await WebAssembly.compile(await readFile(join(dirname(entry), "schema_engine_bg.wasm")));
    const { exports } = await WebAssembly.instantiate(module, { "./schema_engine_bg.js": { ...engineModule } });
    engineModule.__wbg_set_wasm(exports);
    if (typeof exports["__wbindgen_start"] === "function") exports["__wbindgen_start"]();
  })();
  return loading;
}
