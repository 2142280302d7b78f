/** The operator's commands `audit …`: show a user's security events, and verify their chains. */
import { open, readFile } from "node:fs/promises";
import { createLocalJWKSet, createRemoteJWKSet, type CompactVerifyGetKey, type JSONWebKeySet } from "jose";
import { z } from "zod";
import { OperatorFault, parseOptions, type Report } from "@continuo/operator";
import type { AddCommands, Operator } from "../operator.ts";
import { createSigningKeyStore } from "../signing-key/signing-key.store.ts";
import { createAuditStore } from "./audit.store.ts";
import { verifyExport } from "./export.ts";
import type { AuditStore, SecurityEvent } from "./security-event.ts";
import { compareWithHead, verifyAll, verifyUser } from "./verification.ts";

const ShowOptions = z.object({ user: z.uuid(), limit: z.coerce.number().int().min(1).max(10_000) });
const VerifyOptions = z
  .object({
    user: z.uuid().optional(),
    all: z.literal(true).optional(),
    file: z.string().optional(),
    jwks: z.string().optional(),
  })
  .refine(({ user, all, file }) => [user, all, file].filter((each) => each !== undefined).length === 1, {
    error: "give one of --user, --all and --file",
  })
  .refine(({ file, jwks }) => jwks === undefined || file !== undefined, { error: "--jwks goes with --file" });
const KeySet = z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })) });

/** Broken chains beyond this number are counted but not listed. */
const LISTED = 1_000;

export const addAuditCommands: AddCommands = (program, run) => {
  const audit = program.command("audit").description("The security events of users, and whether they are whole.");

  audit
    .command("show")
    .description("A user's security events, newest first.")
    .requiredOption("--user <id>", "whose")
    .option("--limit <count>", "at most so many", "100")
    .action(
      run(async (operator, { options }) => {
        const { user, limit } = parseOptions(ShowOptions, options);
        const { events } = await (await openStore(operator)).page(user, limit, null);
        return { value: events.map(shown) };
      }),
    );

  audit
    .command("verify")
    .description("Check that no event was changed, removed, inserted or moved. The exit code is 1 if one was.")
    .option("--user <id>", "the events of this user")
    .option("--all", "everybody's")
    .option("--file <path>", "an export that a user has kept (GET /account/security-events)")
    .option(
      "--jwks <file or url>",
      "the keys for --file; without it those in the database, and its events are compared too",
    )
    .addHelpText(
      "after",
      "\nExamples:\n  audit verify --all\n  audit verify --file events.ndjson --jwks https://id.example.com/.well-known/jwks.json",
    )
    .action(
      run(async (operator, { options }) => {
        const { user, file, jwks } = parseOptions(VerifyOptions, options);
        if (file !== undefined) return verifyFile(operator, file, jwks);
        const store = await openStore(operator);
        return user === undefined ? verifyEverybody(operator, store) : verifyOne(store, user);
      }),
    );
};

async function verifyOne(store: AuditStore, userId: string): Promise<Report> {
  const { checked, firstBreak } = await verifyUser(store, userId);
  const value = { userId, events: checked, intact: firstBreak === undefined, firstBreak: firstBreak ?? null };
  return { value, outcome: firstBreak === undefined ? "DONE" : "FAILED" };
}

async function verifyEverybody(operator: Operator, store: AuditStore): Promise<Report> {
  const total = await store.countUsers();
  const broken: object[] = [];
  let [users, events, brokenUsers] = [0, 0, 0];
  for await (const { userId, verdict } of verifyAll(store, operator.signal)) {
    users += 1;
    events += verdict.checked;
    if (verdict.firstBreak !== undefined) {
      brokenUsers += 1;
      if (broken.length < LISTED) broken.push({ userId, ...verdict.firstBreak });
    }
    operator.progress("chains checked", users, Math.max(users, total));
  }
  const isComplete = !operator.signal.aborted;
  return {
    value: { users, events, intact: brokenUsers === 0, complete: isComplete, brokenUsers, broken },
    outcome: brokenUsers > 0 ? "FAILED" : isComplete ? "DONE" : "PARTIAL",
  };
}

async function verifyFile(operator: Operator, path: string, jwks: string | undefined): Promise<Report> {
  await using file = await open(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  const keys = jwks === undefined ? await ownKeys(operator) : await readKeys(jwks);
  const { checked, head, firstProblem } = await verifyExport(file.readLines(), keys);
  const database =
    jwks === undefined && head !== undefined ? await compareWithHead(await openStore(operator), head) : "NOT_ASKED";
  const intact = firstProblem === undefined && database !== "DIFFERS";
  return {
    value: {
      userId: head?.userId ?? null,
      events: checked,
      signedAt: head?.at ?? null,
      issuer: head?.issuer ?? null,
      intact,
      firstProblem: firstProblem ?? null,
      database,
    },
    outcome: intact ? "DONE" : "FAILED",
  };
}

/** All keys there ever were: an export may be older than the published keys. */
async function ownKeys(operator: Operator): Promise<CompactVerifyGetKey> {
  const { pool } = await operator.database();
  return createLocalJWKSet({ keys: await createSigningKeyStore(pool).allPublic() });
}

async function readKeys(from: string): Promise<CompactVerifyGetKey> {
  if (/^https?:\/\//.test(from)) return createRemoteJWKSet(new URL(from));
  try {
    const { keys }: JSONWebKeySet = KeySet.parse(JSON.parse(await readFile(from, "utf8")));
    return createLocalJWKSet({ keys });
  } catch (cause) {
    throw unreadable(from, cause);
  }
}

function unreadable(path: string, cause: unknown): OperatorFault {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new OperatorFault("E_USAGE", `${path} cannot be read: ${why}.`, "Give the path of a file that is there.");
}

async function openStore(operator: Operator): Promise<AuditStore> {
  return createAuditStore((await operator.database()).pool);
}

const shown = ({ seq, at, type, sessionId, deviceId, actorId, detail }: SecurityEvent): object => ({
  seq,
  at,
  type,
  sessionId,
  deviceId,
  actorId,
  detail,
});
