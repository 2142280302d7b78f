/** Composition root of the operator's commands. */
import { createOperator } from "@continuo/operator";
import { EnvError } from "@continuo/process";
import { v7 as newId } from "uuid";
import { announceKeys, createAnnouncer, SCHEMA } from "./announce.ts";
import { addApplicationCommands } from "./application/application.commands.ts";
import { addAuditCommands } from "./audit/audit.commands.ts";
import { PrismaClient } from "./database/generated/client.ts";
import { addOutboxCommands } from "./delivery/delivery.commands.ts";
import { OperatorEnv } from "./env.ts";
import type { Equipment } from "./operator.ts";
import { addPolicyCommands } from "./policy/policy.commands.ts";
import { addSessionCommands } from "./session/session.commands.ts";
import { addKeyCommands } from "./signing-key/signing-key.commands.ts";
import { addWebhookCommands } from "./webhook/webhook.commands.ts";

export const runOperator = createOperator<OperatorEnv, PrismaClient, Equipment>({
  name: "continuo",
  description: "Commands for whoever operates Continuo.",
  example: "npm run continuo -- sessions list --json",
  commands: [
    addSessionCommands,
    addKeyCommands,
    addApplicationCommands,
    addPolicyCommands,
    addAuditCommands,
    addOutboxCommands,
    addWebhookCommands,
  ],
  env: OperatorEnv,
  // The filters' conditions are optional, so a generic plan would fit none of them.
  database: { schema: SCHEMA, PrismaClient, planning: "EACH_TIME" },
  equip: ({ env, database, pokes }, now) => ({
    database,
    async masterKeys() {
      const { MASTER_KEY } = await env();
      if (MASTER_KEY === undefined) throw new EnvError("This command needs the MASTER_KEY of the installation.");
      return MASTER_KEY;
    },
    announce: {
      revoked: async (logged) => createAnnouncer(await pokes()).revoked(logged),
      devicesChanged: async (userId, rev) => createAnnouncer(await pokes()).devicesChanged(userId, rev),
      keysChanged: async (at) => announceKeys(await pokes())(at),
    },
    now,
    createId: newId,
  }),
});
