/** The composition root of the operator's commands. */
import { createOperator } from "@continuo/operator";
import { activityTopic, stateTopic } from "@continuo/signals";
import { v7 as uuidv7 } from "uuid";
import { addStateCommands } from "./archive/archive.commands.ts";
import { PrismaClient } from "./database/generated/client.ts";
import { OperatorEnv } from "./env.ts";
import { addNamespaceCommands } from "./namespace/namespace.commands.ts";
import type { Equipment } from "./operator.ts";

export const runOperator = createOperator<OperatorEnv, PrismaClient, Equipment>({
  name: "continuo-state",
  description: "Commands for whoever operates the user-state service.",
  example: "npm run continuo-state -- namespaces list",
  commands: [addNamespaceCommands, addStateCommands],
  env: OperatorEnv,
  database: { schema: "user_state", PrismaClient },
  equip: ({ env, database, pokes }) => ({
    database,
    async quota() {
      const { QUOTA_ENTRIES, QUOTA_BYTES } = await env();
      return { entries: QUOTA_ENTRIES, bytes: QUOTA_BYTES };
    },
    announce: {
      state: async (userId, rev) => (await pokes()).publish(stateTopic(userId), rev),
      activities: async (userId, rev) => (await pokes()).publish(activityTopic(userId), rev),
    },
    createId: uuidv7,
  }),
});
