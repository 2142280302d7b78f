/** The operator's commands `keys …`: the signing keys. */
import { randomBytes } from "node:crypto";
import { AppError } from "@continuo/errors";
import { z } from "zod";
import { parseOptions } from "@continuo/operator";
import { createSeal } from "../master-key/seal.ts";
import type { AddCommands, Operator } from "../operator.ts";
import { createKeyRotation, KEYS_MAX_AGE_SECONDS, rotationTimes, type KeyRotation } from "./key-rotation.ts";
import { SIGNING_KEY_SEAL, type SigningKeyStore } from "./signing-key.ts";
import { createSigningKeyStore } from "./signing-key.store.ts";

const TIMES = rotationTimes(0);
const NOW_ONLY = "a key retires by itself after a rotation; --now takes a compromised one back at once";

export const addKeyCommands: AddCommands = (program, run) => {
  const keys = program.command("keys").description("The keys that sign access tokens.");

  keys
    .command("list")
    .description("Show each key: next, active, retiring or retired, and since when.")
    .action(run(async (operator) => ({ value: await (await openStore(operator)).list() })));

  keys
    .command("rotate")
    .description(
      `Publish the next key. It signs after ${TIMES.publishedMs / 60_000} minutes, when every verifier must know it; the worker sees to that.`,
    )
    .action(
      run(async (operator) => {
        const store = await openStore(operator);
        const hasNext = (await store.list()).some(({ state }) => state === "NEXT");
        const isPublished = operator.dryRun ? !hasNext : await (await openRotation(operator, store)).rotate();
        return {
          value: { published: isPublished, dryRun: operator.dryRun },
          text: isPublished
            ? operator.dryRun
              ? "A next key would be published."
              : "The next key is published."
            : "There is a next key already: nothing to do.",
        };
      }),
    );

  keys
    .command("retire <kid>")
    .option("--now", "also while tokens that it signed are in use")
    .description("Take a compromised key back at once.")
    .addHelpText("after", `\n${costOf("the key")}\n\nExample: keys retire 3q2-7w… --now`)
    .action(
      run(async (operator, { args, options }) => {
        const [kid] = parseOptions(z.tuple([z.string()]), args);
        parseOptions(z.object({ now: z.literal(true, NOW_ONLY) }), options);
        const store = await openStore(operator);
        const found = (await store.list()).find((key) => key.kid === kid && key.state !== "RETIRED");
        if (found === undefined) throw new AppError("NOT_FOUND", "KEY_NOT_FOUND", "No published key has this id.");
        const value = { kid, was: found.state, dryRun: operator.dryRun };
        if (operator.dryRun) return { value, text: `Would take ${kid} back. ${costOf("it")}` };
        await operator.confirm(`${costOf(kid)} Take it back now?`);
        await (await openRotation(operator, store)).retireNow(kid);
        return { value, text: `Took ${kid} back.` };
      }),
    );
};

function costOf(key: string): string {
  return `Every access token that ${key} has signed is refused from now on, so each client refreshes once. Other verifiers than the gateways may trust it for ${KEYS_MAX_AGE_SECONDS / 60} minutes more.`;
}

async function openStore(operator: Operator): Promise<SigningKeyStore> {
  return createSigningKeyStore((await operator.database()).pool);
}

async function openRotation(operator: Operator, store: SigningKeyStore): Promise<KeyRotation> {
  return createKeyRotation({
    store,
    seal: createSeal({ masterKeys: await operator.masterKeys(), purpose: SIGNING_KEY_SEAL, randomBytes }),
    times: TIMES,
    announce: (at) => operator.announce.keysChanged(at),
    now: operator.now,
  });
}
