/** Tries the main use case on a system that has just started: sign in, watch, push, see the change arrive, sign out. */
import { SetupError } from "@continuo/process";
import { createClient } from "graphql-ws";
import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";

const EMAIL = "self-check@continuo.localhost";
const READY_WITHIN_MS = 10_000;
const ARRIVES_WITHIN_MS = 5_000;

const Grant = z.object({ signInWithPassword: z.object({ grant: z.string() }) });
const Started = z.object({
  startSession: z.object({ accessToken: z.string(), session: z.object({ device: z.object({ id: z.string() }) }) }),
});
const Pulled = z.object({
  pullState: z.object({ epoch: z.string(), to: z.string(), headRev: z.number(), lastSeq: z.number() }),
});
type Replica = z.infer<typeof Pulled>["pullState"] & { readonly clientId: string };
const Changed = z.object({ stateChanges: z.object({ entries: z.array(z.object({ value: z.unknown() })) }) });

/** Throws SetupError E_SELF_CHECK with the step that failed. */
export async function selfCheck(options: { url: string; password: string; directory: string }): Promise<void> {
  const { url, password, directory } = options;
  let step = "becoming ready";
  try {
    await becomeReady(url);
    step = "signing up and in";
    // A user of its own, so that the demo users' devices and state stay theirs; the first start signs it up.
    const { signInWithPassword } = await signIn(url, password).catch(async () => {
      const input = { email: EMAIL, password };
      await ask(url, `mutation ($input: SignUpInput!) { signUp(input: $input) { email } }`, { input });
      return signIn(url, password);
    });
    step = "starting a session";
    const { startSession } = Started.parse(
      await ask(
        url,
        `mutation ($input: StartSessionInput!) { startSession(input: $input) { accessToken session { device { id } } } }`,
        {
          input: {
            grant: signInWithPassword.grant,
            applicationId: "continuo",
            device: { id: await knownDevice(directory), name: "Self-check", platform: "OTHER" },
          },
        },
      ),
    );
    // One replica for the device, with the device's id: otherwise each start would add one, and a device may only have so many.
    const clientId = startSession.session.device.id;
    await writeFile(deviceFile(directory), clientId);
    const token = startSession.accessToken;
    step = "reading state";
    const { pullState } = Pulled.parse(
      await ask(
        url,
        `query ($clientId: ID) { pullState(clientId: $clientId) { epoch to headRev lastSeq } }`,
        { clientId },
        token,
      ),
    );
    step = "a change arriving live on a second connection";
    await seeItArrive(url, token, { ...pullState, clientId });
    step = "signing out";
    await ask(url, `mutation { signOut { receipt { seq } } }`, {}, token);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SetupError(
      "E_SELF_CHECK",
      `Everything started, but ${step} did not work: ${why}`,
      `Read ${join(directory, "logs/continuo.log")}.`,
      cause,
    );
  }
}

async function signIn(url: string, password: string): Promise<z.infer<typeof Grant>> {
  const query = `mutation ($input: SignInWithPasswordInput!) { signInWithPassword(input: $input) { grant } }`;
  return Grant.parse(await ask(url, query, { input: { email: EMAIL, password } }));
}

async function becomeReady(url: string): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  for (;;) {
    const answer = await fetch(`${url}/ready`);
    if (answer.ok) return;
    if (performance.now() > deadline) throw new Error(await answer.text());
    await delay(20);
  }
}

async function seeItArrive(url: string, token: string, pulled: Replica): Promise<void> {
  const value = randomUUID();
  const client = createClient({
    url: `${url.replace(/^http/, "ws")}/graphql`,
    connectionParams: { authorization: `Bearer ${token}` },
    retryAttempts: 0,
  });
  const changes = client.iterate({
    query: `subscription ($since: String) { stateChanges(since: $since) { entries { value } } }`,
    variables: { since: pulled.to },
  });
  const late = setTimeout(() => void client.dispose(), ARRIVES_WITHIN_MS);
  try {
    await changes.next();
    await push(url, token, pulled, value);
    for await (const { data, errors } of changes) {
      if (errors) throw new Error(errors[0]?.message);
      if (Changed.parse(data).stateChanges.entries.some((entry) => entry.value === value)) return;
    }
    throw new Error(`it did not arrive within ${ARRIVES_WITHIN_MS / 1_000} s`);
  } finally {
    clearTimeout(late);
    await client.dispose();
  }
}

async function push(
  url: string,
  token: string,
  { clientId, epoch, headRev, lastSeq }: Replica,
  value: string,
): Promise<void> {
  const now = Date.now();
  const op = {
    seq: lastSeq + 1,
    namespace: "preferences",
    key: "self-check",
    field: "mark",
    payload: { type: "SET", value },
    stamp: { ms: now, counter: 0 },
    baseRev: headRev,
  };
  await ask(
    url,
    `mutation ($input: PushStateInput!) { pushState(input: $input) { lastSeq } }`,
    { input: { clientId, epoch, clientNow: now, baseRev: headRev, ops: [op] } },
    token,
  );
}

const Answer = z.object({
  data: z.unknown().optional(),
  errors: z.array(z.object({ message: z.string() })).optional(),
});

async function ask(url: string, query: string, variables: Record<string, unknown>, token?: string): Promise<unknown> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = Answer.parse(await response.json());
  if (errors?.[0]) throw new Error(errors[0].message);
  return data;
}

const deviceFile = (directory: string): string => join(directory, "self-check-device");

/** Every start signs in on the same device, so that one row stands for all of them. */
async function knownDevice(directory: string): Promise<string | undefined> {
  const text = await readFile(deviceFile(directory), "utf8").catch(() => undefined);
  // A start that died while writing the file may have left it empty.
  return z.uuid().safeParse(text).data;
}
