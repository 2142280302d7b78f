/** The operator's commands `webhooks …`: addresses notified of ended sessions. */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { parseOptions } from "@continuo/operator";
import { createPost } from "../delivery/post.ts";
import { createSeal } from "../master-key/seal.ts";
import type { AddCommands, Operator } from "../operator.ts";
import { createWebhooks, WEBHOOK_SEAL } from "./webhook.ts";
import { createWebhookStore } from "./webhook.store.ts";

const AddOptions = z.object({ application: z.string().optional(), allowPrivate: z.boolean().default(false) });
const TestOptions = AddOptions.pick({ allowPrivate: true });
const RotateOptions = z.object({ overlapHours: z.coerce.number().int().min(1).max(720).default(24) });
const Id = z.tuple([z.uuid()]);

/** Adds the `webhooks` commands. */
export const addWebhookCommands: AddCommands = (program, run) => {
  const webhooks = program.command("webhooks").description("URLs that are notified of ended sessions.");
  const allowPrivate = ["--allow-private", "the workers have PRIVATE_RECIPIENTS=allow"] as const;

  webhooks
    .command("list")
    .description("Show each webhook.")
    .action(run(async (operator) => withWebhooks(operator, false, async (opened) => opened.list())));

  webhooks
    .command("add <url>")
    .description("Notify a URL of ended sessions. Its secret (Standard Webhooks) is shown once.")
    .option("--application <id>", "only those of this application")
    .option(...allowPrivate)
    .addHelpText("after", "\nExample: webhooks add https://example.com/continuo --application orders")
    .action(
      run(async (operator, { args, options }) => {
        const [url] = parseOptions(z.tuple([z.string()]), args);
        const { application = null, ...chosen } = parseOptions(AddOptions, options);
        return withWebhooks(operator, chosen.allowPrivate, async (opened) => {
          const input = { url, applicationId: application };
          if (operator.dryRun) {
            await opened.tryAdd(input);
            return { ...input, dryRun: true };
          }
          const { webhook, secret } = await opened.add(input);
          return { ...webhook, secret };
        });
      }),
    );

  webhooks
    .command("rotate-secret <id>")
    .description("Give a webhook a new secret, shown once; for a while messages are signed with the former one too.")
    .option("--overlap-hours <n>", "how long the receiver may go on with the former one (default 24, at most 720)")
    .action(
      run(async (operator, { args, options }) => {
        const [id] = parseOptions(Id, args);
        const { overlapHours } = parseOptions(RotateOptions, options);
        return withWebhooks(operator, false, async (opened) => {
          if (!operator.dryRun) return { id, ...(await opened.rotateSecret(id, overlapHours)) };
          await opened.assertEnabled(id);
          return { id, overlapHours, dryRun: true };
        });
      }),
    );

  webhooks
    .command("disable <id>")
    .description("Disable a webhook. Its undelivered events are dropped.")
    .action(
      run(async (operator, { args }) => {
        const [id] = parseOptions(Id, args);
        await operator.confirm(`The webhook ${id} cannot be enabled again, only added anew. Disable it?`);
        return withWebhooks(operator, false, async (opened) => {
          await (operator.dryRun ? opened.assertEnabled(id) : opened.disable(id));
          return { id, disabled: !operator.dryRun, dryRun: operator.dryRun };
        });
      }),
    );

  webhooks
    .command("test <id>")
    .description("Send a webhook one event of the type webhook.test, and show what it answers.")
    .option(...allowPrivate)
    .action(
      run(async (operator, { args, options }) => {
        const [id] = parseOptions(Id, args);
        const { allowPrivate } = parseOptions(TestOptions, options);
        if (operator.dryRun) {
          await withWebhooks(operator, allowPrivate, (opened) => opened.assertEnabled(id));
          return { value: { id, dryRun: true } };
        }
        const { value } = await withWebhooks(operator, allowPrivate, (opened) => opened.test(id));
        const isTaken = "status" in value && value.status >= 200 && value.status < 300;
        return { value: { id, ...value }, outcome: isTaken ? "DONE" : "FAILED" };
      }),
    );
};

async function withWebhooks<Value>(
  operator: Operator,
  allowPrivate: boolean,
  work: (webhooks: ReturnType<typeof createWebhooks>) => Promise<Value>,
): Promise<{ value: Value }> {
  const { pool } = await operator.database();
  await using post = createPost({ allowPrivate });
  const webhooks = createWebhooks({
    store: createWebhookStore(pool),
    seal: createSeal({ masterKeys: await operator.masterKeys(), purpose: WEBHOOK_SEAL, randomBytes }),
    send: (url, message) => post.send(url, message, operator.signal),
    allowPrivate,
    createId: operator.createId,
    randomBytes,
    now: operator.now,
  });
  return { value: await work(webhooks) };
}
