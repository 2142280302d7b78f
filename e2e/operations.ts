/** The story's operations on the graph, each with the shape of its answer. */
import { z } from "zod";

export interface Operation<Data> {
  readonly text: string;
  readonly data: z.ZodType<Data>;
}

function operation<Data>(text: string, data: z.ZodType<Data>): Operation<Data> {
  return { text, data };
}

const tokens = z.object({
  accessToken: z.string(),
  refreshToken: z.string(),
  expiresIn: z.number(),
  session: z.object({ id: z.string(), device: z.object({ id: z.string() }) }),
});
const TOKENS = `{ accessToken refreshToken expiresIn session { id device { id } } }`;

export const SIGN_UP = operation(
  `mutation ($input: SignUpInput!) { signUp(input: $input) { email } }`,
  z.object({ signUp: z.object({ email: z.string() }) }),
);

export const SIGN_IN = operation(
  `mutation ($input: SignInWithPasswordInput!) { signInWithPassword(input: $input) { grant } }`,
  z.object({ signInWithPassword: z.object({ grant: z.string() }) }),
);

export const START_SESSION = operation(
  `mutation ($input: StartSessionInput!) { startSession(input: $input) ${TOKENS} }`,
  z.object({ startSession: tokens }),
);

export const REFRESH = operation(
  `mutation ($token: String!) { refreshSession(refreshToken: $token) ${TOKENS} }`,
  z.object({ refreshSession: tokens }),
);

export const ME = operation(
  `{ me { id email } }`,
  z.object({ me: z.object({ id: z.string(), email: z.string() }).nullable() }),
);

const entry = z.object({
  namespace: z.string(),
  key: z.string(),
  field: z.string(),
  value: z.unknown(),
  deleted: z.boolean(),
  rev: z.number(),
});
const batch = z.object({
  from: z.string().nullable(),
  to: z.string(),
  hasMore: z.boolean(),
  headRev: z.number(),
  epoch: z.string(),
  reset: z.string().nullable(),
  entries: z.array(entry),
});
export type Batch = z.infer<typeof batch>;
const BATCH = `{ from to hasMore headRev epoch reset entries { namespace key field value deleted rev } }`;

export const PULL = operation(
  `query ($since: String, $clientId: ID) { pullState(since: $since, clientId: $clientId) ${BATCH} }`,
  z.object({ pullState: batch }),
);

export const STATE_CHANGES = operation(
  `subscription ($since: String) { stateChanges(since: $since) ${BATCH} }`,
  z.object({ stateChanges: batch }),
);

const outcome = z.object({ seq: z.number(), status: z.string(), reason: z.string().nullable() });
export const PUSH = operation(
  `mutation ($input: PushStateInput!) { pushState(input: $input) { lastSeq headRev stop outcomes { seq status reason } } }`,
  z.object({
    pushState: z.object({
      lastSeq: z.number(),
      headRev: z.number(),
      stop: z.string().nullable(),
      outcomes: z.array(outcome),
    }),
  }),
);

const device = z.object({
  id: z.string(),
  name: z.string(),
  platform: z.string(),
  isCurrent: z.boolean(),
  isSignedIn: z.boolean(),
  sessions: z.array(
    z.object({
      id: z.string(),
      state: z.string(),
      endReason: z.string().nullable(),
      application: z.object({ id: z.string() }),
    }),
  ),
  syncStatus: z.object({ ackedRev: z.number(), headRev: z.number() }).nullable(),
  signOut: z
    .object({
      reason: z.string(),
      requestedAt: z.string(),
      lockedOutAt: z.string().nullable(),
      confirmedAt: z.string().nullable(),
    })
    .nullable(),
});
export type DeviceRow = z.infer<typeof device>;
const DEVICE = `id name platform isCurrent isSignedIn sessions(ended: true) { id state endReason application { id } }
  syncStatus { ackedRev headRev } signOut { reason requestedAt lockedOutAt confirmedAt }`;

export const DEVICES = operation(
  `{ viewer { devices { nodes { ${DEVICE} } } } }`,
  z.object({ viewer: z.object({ devices: z.object({ nodes: z.array(device) }) }).nullable() }),
);

export const DEVICE_CHANGED = operation(
  `subscription { deviceChanged { from to devices { ${DEVICE} } } }`,
  z.object({ deviceChanged: z.object({ from: z.string().nullable(), to: z.string(), devices: z.array(device) }) }),
);

const signOut = z.object({
  receipt: z.object({ seq: z.string(), at: z.string(), sessionsEnded: z.number() }).nullable(),
});
const SIGN_OUT = `{ receipt { seq at sessionsEnded } devices { id isSignedIn } }`;

export const SIGN_OUT_DEVICE = operation(
  `mutation ($id: ID!) { signOutDevice(id: $id) ${SIGN_OUT} }`,
  z.object({ signOutDevice: signOut }),
);

export const SIGN_OUT_EVERYWHERE = operation(
  `mutation { signOutEverywhere ${SIGN_OUT} }`,
  z.object({ signOutEverywhere: signOut }),
);

/** Both in one request; the second runs once the first is done. */
export const CHANGE_PASSWORD_AND_SIGN_OUT_OTHERS = operation(
  `mutation ($input: ChangePasswordInput!) {
    changePassword(input: $input) { user { email } }
    signOutOtherDevices ${SIGN_OUT}
  }`,
  z.object({
    changePassword: z.object({ user: z.object({ email: z.string() }) }),
    signOutOtherDevices: signOut,
  }),
);

export const ERASE_STATE = operation(
  `mutation { eraseState { namespaces { namespace entries } } }`,
  z.object({ eraseState: z.object({ namespaces: z.array(z.object({ namespace: z.string(), entries: z.number() })) }) }),
);

export const RECEIPT = operation(
  `query ($seq: String!) {
    revocationReceipt(seq: $seq) { completedAt pendingReplicas acks { replica latencyMs socketsClosed } }
  }`,
  z.object({
    revocationReceipt: z.object({
      completedAt: z.string().nullable(),
      pendingReplicas: z.array(z.string()),
      acks: z.array(z.object({ replica: z.string(), latencyMs: z.number(), socketsClosed: z.number() })),
    }),
  }),
);
