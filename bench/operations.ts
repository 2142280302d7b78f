/** The operations that clients send: the text that every HTTP contender gets, and the shape of the answers we read. */
import { z } from "zod";

const operation = <Data extends z.ZodType>(name: string, query: string, Data: Data) => ({ name, query, Data });

const Anything = z.looseObject({});

export const SIGN_UP = operation(
  "SignUp",
  `mutation SignUp($email: String!, $password: String!) { signUp(input: { email: $email, password: $password }) { email } }`,
  Anything,
);

export const SIGN_IN = operation(
  "SignIn",
  `mutation SignIn($email: String!, $password: String!) { signInWithPassword(input: { email: $email, password: $password }) { grant } }`,
  z.object({ signInWithPassword: z.object({ grant: z.string() }) }),
);

export const START_SESSION = operation(
  "StartSession",
  `mutation StartSession($input: StartSessionInput!) {
  startSession(input: $input) { accessToken refreshToken session { id device { id } } }
}`,
  z.object({
    startSession: z.object({
      accessToken: z.string(),
      refreshToken: z.string(),
      session: z.object({ id: z.string(), device: z.object({ id: z.string() }) }),
    }),
  }),
);

export const ME = operation("Me", `query Me { me { id email createdAt } }`, Anything);

/** One entity completed by another subgraph. */
export const VIEWER_USER = operation("ViewerUser", "query ViewerUser { viewer { user { email } } }", Anything);

/** A list of entities, each completed by another subgraph. */
export const DEVICE_SYNC_STATUS = operation(
  "DeviceSyncStatus",
  "query DeviceSyncStatus { viewer { devices { nodes { id name syncStatus { ackedRev headRev } } } } }",
  Anything,
);

export const DEVICES = operation(
  "Devices",
  `query Devices {
  viewer {
    user { email }
    devices {
      totalCount
      nodes {
        id name platform isCurrent isSignedIn lastSeenAt
        sessions { id application { name } isCurrent state startedAt expiresAt expiresBecause }
        syncStatus { ackedRev headRev }
      }
    }
  }
}`,
  Anything,
);

/** Only the floor gets these two as GraphQL; ours has endpoints for them. */
export const CHECK = operation("Check", "{ active }", Anything);
export const REVOKE = operation("Revoke", "mutation { revoked }", Anything);

export const SESSIONS = operation(
  "Sessions",
  `query Sessions { viewer { devices { nodes { id name lastSeenAt sessions { id startedAt lastActiveAt expiresAt } } } } }`,
  Anything,
);

export const REFRESH = operation(
  "Refresh",
  `mutation Refresh($refreshToken: String!) { refreshSession(refreshToken: $refreshToken) { accessToken expiresIn refreshToken } }`,
  z.object({ refreshSession: z.object({ accessToken: z.string(), refreshToken: z.string() }) }),
);

export const PUSH = operation(
  "Push",
  `mutation Push($input: PushStateInput!) { pushState(input: $input) { outcomes { seq status rev } lastSeq headRev } }`,
  z.object({
    pushState: z.object({
      outcomes: z.array(z.object({ seq: z.number(), status: z.string() })),
      lastSeq: z.number(),
      headRev: z.number(),
    }),
  }),
);

export const PULL = operation(
  "Pull",
  `query Pull($since: String) {
  pullState(since: $since) { to epoch headRev hasMore entries { namespace key field value deleted rev } }
}`,
  z.object({
    pullState: z.object({
      to: z.string(),
      epoch: z.string(),
      headRev: z.number(),
      hasMore: z.boolean(),
      entries: z.array(z.looseObject({ key: z.string(), rev: z.number() })),
    }),
  }),
);

export const SIGN_OUT_DEVICE = operation(
  "SignOutDevice",
  `mutation SignOutDevice($id: ID!) { signOutDevice(id: $id) { receipt { seq sessionsEnded } } }`,
  z.object({ signOutDevice: z.object({ receipt: z.object({ seq: z.string(), sessionsEnded: z.literal(1) }) }) }),
);

export const STATE_CHANGES = operation(
  "StateChanges",
  `subscription StateChanges { stateChanges { to hasMore entries { namespace key field value } } }`,
  Anything,
);

/** The parsed data of an answer. Throws when the answer is an error or has another shape. */
export function dataOf<Data extends z.ZodType>(
  { Data, name }: { Data: Data; name: string },
  text: string,
): z.output<Data> {
  const answer = z.object({ data: z.unknown() }).safeParse(JSON.parse(text));
  const data = Data.safeParse(answer.data?.data);
  if (!data.success) throw new Error(`${name} was answered ${text.slice(0, 500)}`);
  return data.data;
}
