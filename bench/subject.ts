/** The system under test: gateway and services as real processes, over a Postgres of their own that is as durable as ever. */
import { Client } from "pg";

export interface Subject {
  /** The gateway's GraphQL endpoint. */
  readonly graphqlUrl: string;
  /** The JWK Set that verifies our access tokens. */
  readonly keySetUrl: string;
  /** Superuser: for yardsticks on the same tables. */
  readonly databaseUrl: string;
  readonly postgresPid: number;
  /** The processes that a request runs through. */
  readonly processes: { readonly gateway: readonly number[]; readonly services: readonly number[] };
}

/** One statement on a connection of its own. */
export async function query(databaseUrl: string, sql: string, values: readonly unknown[] = []): Promise<unknown[]> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql, [...values]);
    return rows;
  } finally {
    await client.end();
  }
}
