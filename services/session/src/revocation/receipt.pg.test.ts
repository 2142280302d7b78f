/** Which replicas a receipt waits for: those that may still accept the sessions that it ended. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { startSystem, type System } from "../system.fixture.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;

let system: System;
beforeAll(async () => {
  system = await startSystem();
  const { admin } = system;
  const policy = async (id: string, version: number, state: string, posture: string): Promise<unknown> =>
    admin.query(
      `INSERT INTO session.policies
       SELECT (jsonb_populate_record(p, jsonb_build_object(
                'application_id', $1::text, 'version', $2::int, 'state', $3::text, 'posture', $4::text))).*
         FROM session.policies AS p WHERE p.application_id = 'continuo' AND p.version = 1`,
      [id, version, state, posture],
    );
  await admin.query(
    "INSERT INTO session.applications VALUES ('open', 'Open', now()), ('tightened', 'Tightened', now())",
  );
  await policy("open", 1, "ACTIVE", "OPEN");
  await policy("tightened", 1, "RETIRED", "OPEN");
  await policy("tightened", 2, "ACTIVE", "STRICT");
  await policy("continuo", 2, "DRAFT", "OPEN");
});
afterAll(async () => system[Symbol.asyncDispose]());

const Payload = z.object({ signOutDevice: z.object({ receipt: z.object({ seq: z.string() }) }) });
const Receipt = z.object({
  revocationReceipt: z.object({
    pendingReplicas: z.array(z.string()),
    completedAt: z.string().nullable(),
    acks: z.array(z.object({ replica: z.string() })),
  }),
});

interface SignedOut {
  readonly seq: number;
  receipt(): Promise<z.infer<typeof Receipt>["revocationReceipt"]>;
  lockedOutAt(): Promise<unknown>;
}

/** A phone of this application is signed out. */
async function signOut(applicationId: string): Promise<SignedOut> {
  const person = system.person();
  const [phone, laptop] = [await person.signIn({ applicationId }), await person.signIn()];
  const id = phone.viewer.deviceId;
  const answer = await laptop.data("mutation ($id: ID!) { signOutDevice(id: $id) { receipt { seq } } }", { id });
  const { seq } = Payload.parse(answer).signOutDevice.receipt;
  return {
    seq: Number(seq),
    async receipt() {
      const query = `query ($seq: String!) {
        revocationReceipt(seq: $seq) { pendingReplicas completedAt acks { replica } } }`;
      return Receipt.parse(await laptop.data(query, { seq })).revocationReceipt;
    },
    async lockedOutAt() {
      const { viewer } = await laptop.data("{ viewer { devices { nodes { id signOut { lockedOutAt } } } } }");
      const nodes = z.object({ devices: z.object({ nodes: z.array(z.looseObject({ id: z.string() })) }) });
      const device = nodes.parse(viewer).devices.nodes.find((each) => each.id === id);
      return z.object({ signOut: z.object({ lockedOutAt: z.string().nullable() }) }).parse(device).signOut.lockedOutAt;
    },
  };
}

const hear = async (replica: string, ...seqs: number[]): Promise<void> => {
  const acks = seqs.map((seq) => ({ seq, socketsClosed: 0 }));
  expect((await system.internal("/internal/revocations", { replica, after: 0, acks })).status).toBe(200);
};
const leave = async (replica: string, ...seqs: number[]): Promise<void> => {
  const acks = seqs.map((seq) => ({ seq, socketsClosed: 0 }));
  expect((await system.internal("/internal/revocations/leave", { replica, acks })).status).toBe(204);
};

it.each([
  ["continuo", 10 * SECOND_MS],
  ["open", 16 * MINUTE_MS],
  ["tightened", 16 * MINUTE_MS],
])(
  "waits for a gateway that has fallen silent, while its tokens' posture may have it let them in: %s",
  async (id, silentMs) => {
    await hear("silent");
    system.clock.advance(2_500);
    const signedOut = await signOut(id);
    await hear("other", signedOut.seq);
    expect(await signedOut.receipt()).toMatchObject({ pendingReplicas: ["silent"], completedAt: null });
    expect(await signedOut.lockedOutAt()).toBeNull();

    system.clock.advance(silentMs - 2_501);
    expect(await signedOut.receipt()).toMatchObject({ pendingReplicas: ["silent"], completedAt: null });
    system.clock.advance(1);
    const { pendingReplicas, completedAt } = await signedOut.receipt();
    expect([pendingReplicas, completedAt]).toEqual([[], expect.any(String)]);
    await leave("silent");
    await leave("other");
  },
);

it("does not wait for a gateway that has taken its leave, and takes its last word", async () => {
  await Promise.all(["staying", "leaving"].map((replica) => hear(replica)));
  const signedOut = await signOut("open");
  await hear("staying", signedOut.seq);
  expect((await signedOut.receipt()).pendingReplicas).toEqual(["leaving"]);
  await leave("leaving", signedOut.seq);
  expect(await signedOut.receipt()).toMatchObject({
    pendingReplicas: [],
    completedAt: expect.any(String),
    acks: expect.arrayContaining([{ replica: "leaving" }]),
  });
  const next = await signOut("open");
  await hear("staying", next.seq);
  expect((await next.receipt()).pendingReplicas).toEqual([]);
  expect(await next.lockedOutAt()).toEqual(expect.any(String));
});
