/** The operator's commands `applications …`: OAuth clients. */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { parseOptions, readJson } from "@continuo/operator";
import type { AddCommands, Operator } from "../operator.ts";
import { ApplicationInput, createApplications, LogoutUri, type Applications, type KeyChange } from "./applications.ts";
import { createApplicationStore } from "./application.store.ts";
import { ClientKeys, keyIdsOf } from "./client-keys.ts";

const AddOptions = z.object({
  name: z.string(),
  confidential: z.boolean().default(false),
  keys: z.string().optional(),
  mayIntrospect: z.boolean().default(false),
  logoutUri: z.string().optional(),
});

export const addApplicationCommands: AddCommands = (program, run) => {
  const applications = program.command("applications").description("The applications that sessions live in.");

  applications
    .command("list")
    .description("Show each application, and what it may do.")
    .action(run(async (operator) => ({ value: await (await openApplications(operator)).list() })));

  applications
    .command("add <id>")
    .description("Register one. Nobody can sign in to it before it has an active policy.")
    .requiredOption("--name <name>", "as people are shown it")
    .option("--confidential", "it runs on a server and keeps a secret, which is shown once")
    .option("--keys <path>", "or authenticates by these keys: a JWK Set of public ones; - for standard input")
    .option("--may-introspect", "it may introspect tokens (RFC 7662)")
    .option("--logout-uri <uri>", "URL for back-channel logout")
    .addHelpText("after", '\nExample: applications add orders --name "Orders" --confidential --may-introspect')
    .action(
      run(async (operator, { args, options }) => {
        const { name, confidential, keys, mayIntrospect, logoutUri } = parseOptions(AddOptions, options);
        const jwks = keys === undefined ? null : await keysIn(keys);
        const input = parseOptions(ApplicationInput, {
          id: args[0],
          name,
          isConfidential: confidential || jwks !== null,
          jwks,
          mayIntrospect,
          backchannelLogoutUri: logoutUri ?? null,
        });
        const opened = await openApplications(operator);
        if (operator.dryRun) {
          await opened.tryAdd(input);
          const { jwks: _, ...rest } = input;
          return { value: { ...rest, keyIds: jwks === null ? null : keyIdsOf(jwks), dryRun: true } };
        }
        const { application, secret } = await opened.add(input);
        return { value: { ...application, ...(secret !== null && { secret }) } };
      }),
    );

  applications
    .command("rotate-secret <id>")
    .description("Give a confidential application a new secret, shown once; the former one is refused at once.")
    .action(
      run(async (operator, { args }) => {
        const [id] = parseOptions(z.tuple([z.string()]), args);
        const opened = await openApplications(operator);
        await opened.trySecret(id);
        if (operator.dryRun) return { value: { id, dryRun: true } };
        await operator.confirm(`${id} cannot authenticate until it has the new secret. Replace it?`);
        return { value: { id, secret: await opened.rotateSecret(id) } };
      }),
    );

  applications
    .command("set-keys <id> <file>")
    .description(
      "Have a confidential application authenticate by these keys, instead of its former ones or its secret.",
    )
    .addHelpText(
      "after",
      "\nThe file is a JWK Set of public keys; - for standard input. To rotate, set the former and the next one, have the" +
        "\napplication sign with the next, then set that alone.\nExample: applications set-keys orders jwks.json --dry-run",
    )
    .action(
      run(async (operator, { args }) => {
        const [id, file] = parseOptions(z.tuple([z.string(), z.string()]), args);
        const jwks = await keysIn(file);
        const opened = await openApplications(operator);
        const change = await opened.tryKeys(id, jwks);
        if (operator.dryRun) return { value: { id, ...change, dryRun: true } };
        const lost = lostBy(change);
        if (lost !== undefined) await operator.confirm(`${id} cannot authenticate ${lost} any more. Go on?`);
        await opened.setKeys(id, jwks);
        return { value: { id, ...change } };
      }),
    );

  applications
    .command("set-logout-uri <id> [uri]")
    .description("Set an application's URL for back-channel logout; without a URL, remove it.")
    .action(
      run(async (operator, { args }) => {
        const [id, uri = null] = parseOptions(z.tuple([z.string(), LogoutUri.optional()]), args);
        const value = { id, backchannelLogoutUri: uri, dryRun: operator.dryRun };
        const opened = await openApplications(operator);
        await (operator.dryRun ? opened.tryLogoutUri(id) : opened.setLogoutUri(id, uri));
        return { value };
      }),
    );
};

async function keysIn(path: string): Promise<ClientKeys> {
  return parseOptions(ClientKeys, await readJson(path, "keys"));
}

function lostBy({ removed, replacesSecret }: KeyChange): string | undefined {
  if (replacesSecret) return "by its secret";
  return removed.length === 0 ? undefined : `by ${removed.join(", ")}`;
}

async function openApplications(operator: Operator): Promise<Applications> {
  const { pool, prisma } = await operator.database();
  return createApplications({ store: createApplicationStore(pool, prisma), randomBytes, now: operator.now });
}
