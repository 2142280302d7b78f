/** People made for a benchmark, through the public graph like anybody: they sign up, sign in, and have devices. */
import { randomBytes, randomUUID } from "node:crypto";
import { z } from "zod";
import { wireRequest, type GraphQLClient } from "./drivers/graphql-client.ts";
import { dataOf, PULL, PUSH, SIGN_IN, SIGN_UP, START_SESSION } from "./operations.ts";
import type { Subject } from "./subject.ts";
import { nextChanges, pushInput, type Replica } from "./replica.ts";

/** The application that they use; its policy is for benchmarks. */
export const APPLICATION = "bench";

/** A person signed in on a device. */
export interface SignedIn {
  readonly email: string;
  readonly userId: string;
  readonly deviceId: string;
  readonly sessionId: string;
  readonly accessToken: string;
  readonly refreshToken: string;
}

const PASSWORD = "a password for benchmarks only";
/** Password hashing is slow on purpose: more at once would only queue. */
const AT_ONCE = 4;

/** Signs up new people, each signed in on a first device. */
export async function signUpPeople(client: GraphQLClient, count: number): Promise<SignedIn[]> {
  return inTurn(count, async () => {
    const email = `bench-${randomBytes(8).toString("hex")}@example.com`;
    await client.post(wireRequest(SIGN_UP, { email, password: PASSWORD }));
    return signIn(client, email);
  });
}

/** Signs in on a new device. */
export async function signIn(client: GraphQLClient, email: string): Promise<SignedIn> {
  const proof = await client.post(wireRequest(SIGN_IN, { email, password: PASSWORD }));
  const { grant } = dataOf(SIGN_IN, proof).signInWithPassword;
  return startSession(client, grant, email);
}

async function startSession(client: GraphQLClient, grant: string, email: string): Promise<SignedIn> {
  const device = { name: "Bench device", platform: "PHONE" };
  const input = { grant, applicationId: APPLICATION, device };
  const begun = await client.post(wireRequest(START_SESSION, { input }));
  const { accessToken, refreshToken, session } = dataOf(START_SESSION, begun).startSession;
  const userId = subjectOf(accessToken);
  return { email, userId, deviceId: session.device.id, sessionId: session.id, accessToken, refreshToken };
}

/** New users without a password, each signed in on `sessionsEach` devices. */
export async function startSessions(
  client: GraphQLClient,
  subject: Pick<Subject, "signInGrant">,
  { people, sessionsEach }: { people: number; sessionsEach: number },
): Promise<SignedIn[][]> {
  const users = Array.from({ length: people }, () => randomUUID());
  const started = await inTurn(people * sessionsEach, async (index) => {
    const userId = users[index % people] ?? "";
    return startSession(client, await subject.signInGrant(userId), "");
  });
  return users.map((userId) => started.filter((session) => session.userId === userId));
}

/** Signs each of those users in on one more device, in order. */
export async function signInAgain(
  client: GraphQLClient,
  subject: Pick<Subject, "signInGrant">,
  userIds: readonly string[],
): Promise<SignedIn[]> {
  return inTurn(userIds.length, async (index) =>
    startSession(client, await subject.signInGrant(userIds[index] ?? ""), ""),
  );
}

/** A replica of each person's state that has pushed `count` changes. */
export async function openReplicas(
  client: GraphQLClient,
  people: readonly SignedIn[],
  count: number,
): Promise<Replica[]> {
  return inTurn(people.length, async (index) => {
    const person = people[index];
    if (!person) throw new RangeError("no such person");
    const { accessToken, userId } = person;
    const { epoch, headRev } = dataOf(PULL, await client.post(wireRequest(PULL, {}, accessToken))).pullState;
    const replica: Replica = { accessToken, userId, clientId: randomUUID(), epoch, lastSeq: 0, headRev };
    const now = Date.now();
    const input = pushInput(replica, nextChanges(0, count, now), now);
    const { pushState } = dataOf(PUSH, await client.post(wireRequest(PUSH, { input }, accessToken)));
    return { ...replica, lastSeq: pushState.lastSeq, headRev: pushState.headRev };
  });
}

/** Makes `count` things, a few at a time, and returns them in order. */
export async function inTurn<Thing>(count: number, make: (index: number) => Promise<Thing>): Promise<Thing[]> {
  const made: Thing[] = [];
  for (let from = 0; from < count; from += AT_ONCE) {
    const batch = Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, index) => make(from + index));
    made.push(...(await Promise.all(batch)));
  }
  return made;
}

function subjectOf(accessToken: string): string {
  const payload: unknown = JSON.parse(Buffer.from(accessToken.split(".")[1] ?? "", "base64url").toString());
  return z.object({ sub: z.string() }).parse(payload).sub;
}
