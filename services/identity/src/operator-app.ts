/** Composition root of the operator's commands. */
import { createOperator } from "@continuo/operator";
import { PrismaClient } from "./database/generated/client.ts";
import { OperatorEnv } from "./env.ts";
import type { Equipment } from "./operator.ts";
import { announcePosted, SCHEMA } from "./outbox.ts";
import { addUserCommands } from "./user/user.commands.ts";

export const runOperator = createOperator<OperatorEnv, PrismaClient, Equipment>({
  name: "continuo",
  description: "Commands for whoever operates Continuo.",
  example: "npm run continuo -- users show --user ada@example.com",
  commands: [addUserCommands],
  env: OperatorEnv,
  database: { schema: SCHEMA, PrismaClient },
  equip: ({ database, pokes }, now) => ({
    database,
    posted: async () => announcePosted(await pokes())(),
    now,
  }),
});
