import type { Pool, PoolClient } from "pg";

/** Runs `work` in one transaction: committed when it resolves, rolled back when it throws. */
export async function inTransaction<Result>(
  pool: Pool,
  work: (connection: PoolClient) => Promise<Result>,
): Promise<Result> {
  const connection = await pool.connect();
  let lost: Error | undefined;
  try {
    await connection.query("BEGIN");
    const result = await work(connection);
    await connection.query("COMMIT");
    return result;
  } catch (cause) {
    // A connection that cannot even roll back is discarded, and its transaction with it.
    lost = await connection.query("ROLLBACK").then(
      () => undefined,
      (failure: Error) => failure,
    );
    throw cause;
  } finally {
    connection.release(lost);
  }
}
