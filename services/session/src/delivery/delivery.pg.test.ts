import { describeDelivery } from "./delivery.suite.ts";

describeDelivery(
  "Postgres",
  () => undefined,
  async ({ system }) => {
    const { rows } = await system.admin.query<{ name: string }>(
      "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 'jobs' AND tablename NOT LIKE '%migration%'",
    );
    await system.admin.query(`TRUNCATE ${rows.map(({ name }) => name).join(", ")}`);
  },
);
