/** What a statement costs according to Postgres. */
import { randomUUID } from "node:crypto";
import type { Pool } from "pg";
import { z } from "zod";

/** A statement as a store sends it. */
export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

export interface Cost {
  readonly indexes: readonly string[];
  /** Tables read by a sequential scan. */
  readonly scanned: readonly string[];
  /** Rows read from each table, including those filtered out; if it was read several times, the largest number. */
  readonly rows: Readonly<Record<string, number>>;
  /** Pages of 8 KiB, cached or not. */
  readonly buffers: number;
}

interface Node {
  readonly "Node Type": string;
  readonly "Index Name"?: string | undefined;
  readonly "Relation Name"?: string | undefined;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number | undefined;
  readonly "Shared Hit Blocks": number;
  readonly "Shared Read Blocks": number;
  readonly Plans?: readonly Node[] | undefined;
}
const Node: z.ZodType<Node> = z.lazy(() =>
  z.object({
    "Node Type": z.string(),
    "Index Name": z.string().optional(),
    "Relation Name": z.string().optional(),
    "Actual Rows": z.number(),
    "Actual Loops": z.number(),
    "Rows Removed by Filter": z.number().optional(),
    "Shared Hit Blocks": z.number(),
    "Shared Read Blocks": z.number(),
    Plans: z.array(Node).optional(),
  }),
);
const Explained = z.tuple([z.object({ "QUERY PLAN": z.tuple([z.object({ Plan: Node })]) })]);

/**
 * Runs a statement when everything it needs is in memory, and rolls back its effects. It is planned `ONCE` for any
 * values, or `EACH_TIME`, as `openDatabase` says.
 */
export async function costOf(
  pool: Pool,
  { text, values }: Statement,
  planning: "ONCE" | "EACH_TIME" = "ONCE",
): Promise<Cost> {
  const client = await pool.connect();
  try {
    const mode = planning === "ONCE" ? "force_generic_plan" : "force_custom_plan";
    await client.query(`BEGIN; SET LOCAL plan_cache_mode = ${mode}`);
    const name = `explained_${randomUUID()}`;
    const given = values.map((value) => (value === null ? "NULL" : client.escapeLiteral(textOf(value)))).join(", ");
    await client.query(`PREPARE "${name}" AS ${text}`);
    const explain = async (): Promise<Node> => {
      const { rows } = await client.query(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE "${name}" (${given})`);
      return Explained.parse(rows)[0]["QUERY PLAN"][0].Plan;
    };
    await client.query("SAVEPOINT once");
    await explain();
    await client.query("ROLLBACK TO once");
    const plan = await explain();
    const nodes = allOf(plan);
    return {
      indexes: [...new Set(nodes.flatMap((node) => node["Index Name"] ?? []))],
      scanned: nodes.flatMap((node) => (node["Node Type"] === "Seq Scan" ? (node["Relation Name"] ?? []) : [])),
      rows: rowsOf(nodes),
      buffers: plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
    };
  } finally {
    await client.query("ROLLBACK");
    client.release();
  }
}

function allOf(node: Node): Node[] {
  return [node, ...(node.Plans ?? []).flatMap(allOf)];
}

function rowsOf(nodes: readonly Node[]): Record<string, number> {
  const most: Record<string, number> = {};
  for (const node of nodes) {
    const table = node["Relation Name"];
    if (table === undefined) continue;
    const rows = (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)) * node["Actual Loops"];
    most[table] = Math.max(most[table] ?? 0, rows);
  }
  return most;
}

/** The value as text for Postgres. */
function textOf(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  return Array.isArray(value) ? `{${value.join(",")}}` : String(value);
}

/** `options` of a connection on which Postgres joins only by nested loops, as it may when it knows little about its tables. */
export const ONLY_LOOPS = ["hashjoin", "mergejoin", "hashagg", "sort", "indexscan", "bitmapscan", "material"]
  .map((what) => `-c enable_${what}=off`)
  .join(" ");
