/** Namespaces in Postgres: a row for each published definition. */
import { inTransaction } from "@continuo/database";
import { NamespaceDefinition } from "@continuo/namespace";
import type { Pool, PoolClient } from "pg";
import type { NamespaceStore, Revision } from "./namespace.ts";
import type { PublicationStore } from "./publication.ts";

/** $1: a name, or null for all. */
const NEWEST_OF_EACH_VERSION = `
  SELECT DISTINCT ON (name, version) name, version, revision, kinds, schema, policy, lens, persistence, ttl_seconds,
         quota_bytes::float8, quota_entries, min_client_version
  FROM user_state.namespaces
  WHERE state = 'ACTIVE' AND ($1::text IS NULL OR name = $1)
  ORDER BY name, version, revision DESC`;

const ADD = `
  INSERT INTO user_state.namespaces
    (name, version, revision, kinds, schema, policy, lens, persistence, ttl_seconds, quota_bytes, quota_entries,
     min_client_version, created_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, statement_timestamp())`;

interface Row {
  readonly name: string;
  readonly version: number;
  readonly revision: number;
  readonly kinds: Readonly<Record<string, unknown>>;
  readonly schema: Readonly<Record<string, unknown>>;
  readonly policy: unknown;
  readonly lens: unknown;
  readonly persistence: string;
  readonly ttl_seconds: number | null;
  readonly quota_bytes: number;
  readonly quota_entries: number;
  readonly min_client_version: number;
}

/** The `namespaces` of the `user_state` schema, through `pool`. */
export function createNamespaceStore(pool: Pool): NamespaceStore & PublicationStore {
  return {
    load: () => read(pool, null),
    publish: (name, decide) =>
      inTransaction(pool, async (connection) => {
        // Held until the transaction ends; the next statement then sees what the previous publisher committed.
        await connection.query("SELECT pg_advisory_xact_lock(hashtextextended('namespace ' || $1, 0))", [name]);
        const decision = decide(await read(connection, name));
        if (decision.add !== undefined) await connection.query(ADD, valuesOf(decision.add));
        return decision;
      }),
  };
}

async function read(connection: Pool | PoolClient, name: string | null): Promise<readonly Revision[]> {
  const { rows } = await connection.query<Row>(NEWEST_OF_EACH_VERSION, [name]);
  return rows.map((row) => ({
    revision: row.revision,
    definition: NamespaceDefinition.parse({
      name: row.name,
      version: row.version,
      fields: Object.fromEntries(
        Object.entries(row.kinds).map(([field, kind]) => [field, { kind, schema: row.schema[field] ?? {} }]),
      ),
      policy: row.policy,
      persistence: row.persistence,
      ttlSeconds: row.ttl_seconds,
      quota: { bytes: row.quota_bytes, entries: row.quota_entries },
      minClientVersion: row.min_client_version,
      lens: row.lens,
    }),
  }));
}

function valuesOf({ revision, definition }: Revision): unknown[] {
  const { name, version, fields, policy, lens, persistence, ttlSeconds, quota, minClientVersion } = definition;
  const each = (part: "kind" | "schema"): string =>
    JSON.stringify(Object.fromEntries(Object.entries(fields).map(([field, of]) => [field, of[part]])));
  return [
    name,
    version,
    revision,
    each("kind"),
    each("schema"),
    JSON.stringify(policy),
    JSON.stringify(lens),
    persistence,
    ttlSeconds,
    quota.bytes,
    quota.entries,
    minClientVersion,
  ];
}
