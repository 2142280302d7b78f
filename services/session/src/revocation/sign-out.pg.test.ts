import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { hold, lockWaiters } from "../lock.fixture.ts";
import { dataOf, faultOf, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => system[Symbol.asyncDispose]());

const SIGN_OUT_DEVICE = `mutation ($id: ID!) {
  signOutDevice(id: $id) { receipt { seq sessionsEnded acks { replica } } devices { id isSignedIn isCurrent signOut { reason } } }
}`;
const Receipt = z.object({ receipt: z.object({ seq: z.string() }) });
const Page = z.object({
  head: z.number(),
  hasMore: z.boolean(),
  revocations: z.array(
    z.object({ seq: z.number(), sessionIds: z.array(z.string()), reason: z.string(), at: z.iso.datetime() }),
  ),
});

const readLog = async (
  after: number | null,
  acks: unknown[] = [],
  replica = "gateway-1",
): Promise<z.infer<typeof Page>> => {
  const { status, body } = await system.internal("/internal/revocations", { replica, after, acks });
  expect(status).toBe(200);
  return Page.parse(body);
};

describe("a sign-out", () => {
  it("of one device ends all its sessions, tells the device why, and leaves the others alone", async () => {
    const person = system.person();
    const phone = await person.signIn();
    const { deviceId } = phone.viewer;
    const alsoPhone = await person.signIn({ deviceId, applicationId: "bank" });
    const laptop = await person.signIn();
    expect(await laptop.data(SIGN_OUT_DEVICE, { id: deviceId })).toEqual({
      signOutDevice: {
        receipt: { seq: expect.any(String), sessionsEnded: 2, acks: [] },
        devices: [{ id: deviceId, isSignedIn: false, isCurrent: false, signOut: { reason: "SIGNED_OUT_REMOTELY" } }],
      },
    });
    for (const session of [phone, alsoPhone]) {
      const answer = await session.graphql("{ viewer { session { id } } }");
      expect(answer.errors?.[0]?.extensions).toMatchObject({
        code: "UNAUTHENTICATED",
        reason: "SESSION_ENDED",
        details: { endReason: "SIGNED_OUT_REMOTELY" },
      });
      expect(faultOf(await session.tryRefresh())).toBe("UNAUTHENTICATED SESSION_ENDED");
    }
    await laptop.refresh();
  });

  it("of oneself may be repeated", async () => {
    const phone = await system.person().signIn();
    const query =
      "mutation { signOut { receipt { sessionsEnded } devices { isCurrent isSignedIn signOut { reason } } } }";
    const devices = [{ isCurrent: true, isSignedIn: false, signOut: { reason: "SIGNED_OUT" } }];
    expect(await phone.data(query)).toEqual({ signOut: { receipt: { sessionsEnded: 1 }, devices } });
    expect(await phone.data(query)).toEqual({ signOut: { receipt: null, devices } });
  });

  it("of all other devices spares this one, and other people", async () => {
    const person = system.person();
    const [phone, tablet, laptop] = [await person.signIn(), await person.signIn(), await person.signIn()];
    const stranger = await system.person().signIn();
    // As it is by then, also where the same request has read it before.
    const { signOutOtherDevices } = await laptop.data(
      `mutation { renameDevice(id: "${phone.viewer.deviceId}", name: "Mine") { sessions { id } }
        signOutOtherDevices { receipt { sessionsEnded } devices { id isSignedIn sessions { id } } } }`,
    );
    expect(signOutOtherDevices).toEqual({
      receipt: { sessionsEnded: 2 },
      devices: expect.arrayContaining([
        { id: phone.viewer.deviceId, isSignedIn: false, sessions: [] },
        { id: tablet.viewer.deviceId, isSignedIn: false, sessions: [] },
      ]),
    });
    await laptop.refresh();
    await stranger.refresh();
  });

  it("cannot reach another person's device, session or receipt, nor tell that it is there", async () => {
    const [mine, theirs] = [await system.person().signIn(), await system.person().signIn()];
    const absent = "0195c9a0-0000-7000-8000-000000000000";
    for (const id of [theirs.viewer.deviceId, absent, "junk"]) {
      expect(faultOf(await mine.graphql(SIGN_OUT_DEVICE, { id }))).toBe("NOT_FOUND DEVICE_NOT_FOUND");
      const rename = await mine.graphql(`mutation ($id: ID!) { renameDevice(id: $id, name: "x") { id } }`, { id });
      expect(faultOf(rename)).toBe("NOT_FOUND DEVICE_NOT_FOUND");
    }
    const { viewer } = await theirs.data("{ viewer { device { isSignedIn name } } }");
    expect(viewer).toEqual({ device: { isSignedIn: true, name: "Firefox on Linux" } });

    const other = await theirs.data("mutation { signOut { receipt { seq } } }");
    const { seq } = Receipt.parse(other["signOut"]).receipt;
    for (const unknown of [seq, "0", "junk", "99999999999999999999"]) {
      const answer = await mine.graphql("query ($seq: String!) { revocationReceipt(seq: $seq) { seq } }", {
        seq: unknown,
      });
      expect(faultOf(answer)).toBe("NOT_FOUND RECEIPT_NOT_FOUND");
    }
  });

  it("from a session that has ended is refused, all but its own repetition", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    await laptop.data(SIGN_OUT_DEVICE, { id: phone.viewer.deviceId });
    for (const operation of [
      "mutation { signOutOtherDevices { receipt { seq } } }",
      `mutation { signOutDevice(id: "${laptop.viewer.deviceId}") { receipt { seq } } }`,
      `mutation { renameDevice(id: "${laptop.viewer.deviceId}", name: "mine") { id } }`,
      "{ deviceChanges { to } }",
      `{ revocationReceipt(seq: "1") { seq } }`,
    ]) {
      expect(faultOf(await phone.graphql(operation))).toBe("UNAUTHENTICATED SESSION_ENDED");
    }
    await laptop.refresh();
  });

  it("ends also a session whose start it had to wait for", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    const starting = await hold(
      system.admin,
      `WITH head AS (
           UPDATE session.user_heads SET device_rev = device_rev + 1 WHERE user_id = $1 RETURNING user_id)
       INSERT INTO session.sessions
       SELECT (jsonb_populate_record(s, jsonb_build_object('id', gen_random_uuid()))).*
         FROM session.sessions AS s JOIN head ON head.user_id = s.user_id WHERE s.id = $2`,
      [person.userId, phone.viewer.sessionId],
    );
    await using _ = starting;
    const signOut = laptop.data("mutation { signOutOtherDevices { receipt { sessionsEnded } } }");
    await lockWaiters(system.admin, 1);
    await starting[Symbol.asyncDispose]();
    expect(await signOut).toEqual({ signOutOtherDevices: { receipt: { sessionsEnded: 2 } } });
  });

  it("ends also what began after it had looked, and before it took the lock", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    const { sessionId } = phone.viewer;
    // Readers of the phone's session wait after they have taken their snapshot.
    await system.admin.query(`
      CREATE FUNCTION session.hold_reader() RETURNS boolean LANGUAGE plpgsql AS $$
      BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END $$;
      ALTER TABLE session.sessions ENABLE ROW LEVEL SECURITY;
      CREATE POLICY held ON session.sessions
        USING (CASE WHEN id = '${sessionId}' THEN session.hold_reader() ELSE true END) WITH CHECK (true)`);
    try {
      const reader = await hold(system.admin, "SELECT pg_advisory_xact_lock(1)");
      await using _ = reader;
      const signOut = laptop.data("mutation { signOutOtherDevices { receipt { sessionsEnded } } }");
      await lockWaiters(system.admin, 1);
      await system.admin.query(
        `WITH head AS (
             UPDATE session.user_heads SET device_rev = device_rev + 1 WHERE user_id = $1 RETURNING user_id)
         INSERT INTO session.sessions
         SELECT (jsonb_populate_record(s, jsonb_build_object('id', gen_random_uuid()))).*
           FROM session.sessions AS s JOIN head ON head.user_id = s.user_id WHERE s.id = $2`,
        [person.userId, sessionId],
      );
      await reader[Symbol.asyncDispose]();
      expect(await signOut).toEqual({ signOutOtherDevices: { receipt: { sessionsEnded: 2 } } });
    } finally {
      await system.admin.query(`
        DROP FUNCTION session.hold_reader CASCADE; ALTER TABLE session.sessions DISABLE ROW LEVEL SECURITY`);
    }
  });

  it("races with sign-ins without leaving a session that the log does not know", async () => {
    const person = system.person();
    const laptop = await person.signIn();
    const starts = Array.from({ length: 20 }, () => person.signIn());
    const ends = Array.from({ length: 5 }, () => laptop.data("mutation { signOutOtherDevices { receipt { seq } } }"));
    await Promise.all([...starts, ...ends]);
    await laptop.data("mutation { signOutOtherDevices { receipt { seq } } }");
    const { rows } = await system.admin.query(
      `SELECT count(*) FILTER (WHERE s.state = 'ACTIVE')::int AS live,
              count(*) FILTER (WHERE s.state = 'REVOKED')::int AS ended,
              (SELECT sum(cardinality(session_ids))::int FROM session.revocations WHERE user_id = $1) AS logged
         FROM session.sessions AS s WHERE s.user_id = $1`,
      [person.userId],
    );
    expect(rows).toEqual([{ live: 1, ended: 20, logged: 20 }]);
  });
});

describe("a sign-out by an access token (RFC 7009)", () => {
  it("is its owner's own, in the log and in what they see of it", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    const query = "mutation ($form: String!) { answerOAuth(endpoint: REVOCATION, form: $form) { status } }";
    const form = `client_id=continuo&token=${phone.tokens.accessToken}&token_type_hint=access_token`;
    await system.graphql({ kind: "anonymous" }, query, { form });
    const { rows } = await system.admin.query(
      "SELECT actor_id, reason FROM session.revocations WHERE $1 = ANY (session_ids)",
      [phone.viewer.sessionId],
    );
    expect(rows).toEqual([{ actor_id: person.userId, reason: "SIGNED_OUT" }]);
    expect(
      await laptop.data("{ viewer { securityEvents(first: 1) { nodes { type byOwner session { id } } } } }"),
    ).toEqual({
      viewer: {
        securityEvents: { nodes: [{ type: "SESSION_ENDED", byOwner: true, session: { id: phone.viewer.sessionId } }] },
      },
    });
  });
});

describe("a sign-out by refresh tokens that come at once", () => {
  const signOut = async ({ tokens, viewer }: SignedIn): Promise<unknown> => {
    const { applicationId } = viewer;
    const form = `client_id=${applicationId}&token=${tokens.refreshToken}`;
    const query = "mutation ($form: String!) { answerOAuth(endpoint: REVOCATION, form: $form) { status body } }";
    return dataOf(await system.graphql({ kind: "anonymous" }, query, { form }))["answerOAuth"];
  };

  it("ends each token's session, several of one person among them, and none beside", async () => {
    const [one, other] = [system.person(), system.person()];
    const signedIn = [
      await one.signIn(),
      await one.signIn(),
      await one.signIn({ applicationId: "bank" }),
      await other.signIn(),
    ];
    const staying = [await one.signIn(), await other.signIn()];
    const [first] = signedIn;
    if (first === undefined) throw new Error("nobody signed in");
    const answers = await Promise.all([...signedIn, first].map(signOut));
    expect(answers).toEqual(answers.map(() => ({ status: 200, body: "" })));

    const { rows } = await system.admin.query<Record<string, unknown>>(
      `SELECT s.id, s.end_reason AS reason, s.ended_by = s.user_id AS themselves, g.state AS grant,
              (SELECT count(*)::int FROM session.revocations AS r
                WHERE s.id = ANY (r.session_ids) AND r.kind = 'SESSION' AND r.key = s.id::text) AS logged
         FROM session.sessions AS s JOIN session.grants AS g ON g.session_id = s.id WHERE s.user_id = ANY ($1)`,
      [[one.userId, other.userId]],
    );
    const ended = { reason: "SIGNED_OUT", themselves: true, grant: "REVOKED", logged: 1 };
    const live = { reason: null, themselves: null, grant: "ACTIVE", logged: 0 };
    const expected = new Map<string, unknown>(signedIn.map(({ viewer }) => [viewer.sessionId, ended]));
    for (const { viewer } of staying) expected.set(viewer.sessionId, live);
    expect(new Map(rows.map(({ id, ...row }) => [id, row]))).toEqual(expected);
  });
});

describe("the revocation log", () => {
  it("gives a gateway what is new, in the order of commits, and proves what it applied", async () => {
    const person = system.person();
    const [phone, laptop] = [await person.signIn(), await person.signIn()];
    const { head } = await readLog(null);
    const answer = await laptop.data(SIGN_OUT_DEVICE, { id: phone.viewer.deviceId });
    const { seq } = Receipt.parse(answer["signOutDevice"]).receipt;
    const page = await readLog(head);
    expect(page).toEqual({
      head: Number(seq),
      hasMore: false,
      revocations: [
        {
          seq: Number(seq),
          sessionIds: [phone.viewer.sessionId],
          reason: "SIGNED_OUT_REMOTELY",
          at: system.clock.now.toISOString(),
        },
      ],
    });

    const signOut = async (): Promise<unknown> => {
      const { viewer } = await laptop.data(
        "{ viewer { devices { nodes { id signOut { lockedOutAt confirmedAt requestedAt effectiveBy } } } } }",
      );
      return z
        .object({ devices: z.object({ nodes: z.array(z.object({ id: z.string(), signOut: z.unknown() })) }) })
        .parse(viewer)
        .devices.nodes.find(({ id }) => id === phone.viewer.deviceId)?.signOut;
    };
    const requestedAt = system.clock.now.toISOString();
    const effectiveBy = new Date(system.clock.now.getTime() + 300_000).toISOString();
    await readLog(page.head, [], "gateway-2");
    expect(await signOut()).toEqual({ requestedAt, effectiveBy, lockedOutAt: null, confirmedAt: null });

    system.clock.advance(40);
    await readLog(page.head, [{ seq: Number(seq), socketsClosed: 2 }], "gateway-1");
    const confirmedAt = system.clock.now.toISOString();
    expect(await signOut()).toEqual({ requestedAt, effectiveBy, lockedOutAt: null, confirmedAt });

    system.clock.advance(40);
    await readLog(page.head, [{ seq: Number(seq), socketsClosed: 0 }], "gateway-2");
    const lockedOutAt = system.clock.now.toISOString();
    expect(await signOut()).toEqual({ requestedAt, effectiveBy, lockedOutAt, confirmedAt });

    system.clock.advance(40);
    await readLog(
      page.head,
      [
        { seq: Number(seq), socketsClosed: 9 },
        { seq: 999_999, socketsClosed: 1 },
      ],
      "gateway-2",
    );
    const receipt = await laptop.data(
      "query ($seq: String!) { revocationReceipt(seq: $seq) { seq sessionsEnded at acks { replica at socketsClosed } } }",
      { seq },
    );
    expect(receipt).toEqual({
      revocationReceipt: {
        seq,
        sessionsEnded: 1,
        at: requestedAt,
        acks: [
          { replica: "gateway-1", at: confirmedAt, socketsClosed: 2 },
          { replica: "gateway-2", at: lockedOutAt, socketsClosed: 0 },
        ],
      },
    });
  });

  it("completes a receipt once the last gateway that is there has confirmed, and waits for none that fell silent", async () => {
    const [phone, watcher] = await (async (person) => [await person.signIn(), await person.signIn()])(system.person());
    // Silences every replica heard of before; these two poll every second, as gateways do.
    for (let second = 0; second <= 10; second += 1) {
      system.clock.advance(1_001);
      for (const replica of ["slow", "quick"]) await readLog(null, [], replica);
    }
    const answer = await watcher.data(SIGN_OUT_DEVICE, { id: phone.viewer.deviceId });
    const seq = Receipt.parse(answer["signOutDevice"]).receipt.seq;
    const receipt = async (): Promise<unknown> =>
      (
        await watcher.data(
          "query ($seq: String!) { revocationReceipt(seq: $seq) { completedAt pendingReplicas acks { latencyMs } } }",
          { seq },
        )
      )["revocationReceipt"];
    const confirm = async (replica: string, after: number): Promise<string> => {
      system.clock.advance(after);
      await readLog(null, [{ seq: Number(seq), socketsClosed: 0 }], replica);
      return system.clock.now.toISOString();
    };
    const byQuick = await confirm("quick", 40);
    expect(await receipt()).toEqual({ completedAt: null, pendingReplicas: ["slow"], acks: [{ latencyMs: 40 }] });
    system.clock.advance(9_959);
    expect(await receipt()).toMatchObject({ completedAt: null, pendingReplicas: ["slow"] });
    system.clock.advance(1);
    expect(await receipt()).toMatchObject({ completedAt: byQuick, pendingReplicas: [] });
    const bySlow = await confirm("slow", 5);
    expect(await receipt()).toEqual({
      completedAt: bySlow,
      pendingReplicas: [],
      acks: [{ latencyMs: 40 }, { latencyMs: 10_005 }],
    });
  });

  it("gives a gateway that starts all that may still matter, and no more", async () => {
    const session = await system.person().signIn();
    await session.data("mutation { signOut { receipt { seq } } }");
    const mentions = async (): Promise<boolean> =>
      (await readLog(null)).revocations.some(({ sessionIds }) => sessionIds.includes(session.viewer.sessionId));
    expect(await mentions()).toBe(true);
    system.clock.advance(15 * 60_000 + 59_000);
    expect(await mentions()).toBe(true);
    system.clock.advance(2_000);
    expect(await mentions()).toBe(false);
  });

  it("of a database that was put back is read anew, also when it has grown past the old one, and proves nothing of that", async () => {
    const replica = "gateway-1";
    const read = async (after: number, at: string, acks: unknown[] = []): Promise<unknown> =>
      (await system.internal("/internal/revocations", { replica, after, at, acks })).body;
    const [lost, later] = [await system.person().signIn(), await system.person().signIn()];
    await lost.data("mutation { signOut { receipt { seq } } }");
    const { head, revocations } = await readLog(null);
    const at = revocations.at(-1)?.at ?? "";
    expect(await read(head, at)).toMatchObject({ continues: true, revocations: [] });

    await system.admin.query(
      "WITH gone AS (DELETE FROM session.revocations WHERE seq = $1) UPDATE session.revocation_head SET seq = $1 - 1",
      [head],
    );
    expect(await read(head, at)).toMatchObject({ continues: false, head: head - 1 });
    system.clock.advance(1_000);
    const { seq } = Receipt.parse((await later.data("mutation { signOut { receipt { seq } } }"))["signOut"]).receipt;
    expect(Number(seq)).toBe(head);
    expect(await read(head, at, [{ seq: head, socketsClosed: 1 }])).toMatchObject({
      continues: false,
      revocations: expect.arrayContaining([expect.objectContaining({ sessionIds: [later.viewer.sessionId] })]),
    });
    const { rows } = await system.admin.query("SELECT replica FROM session.revocation_acks WHERE seq = $1", [head]);
    expect(rows).toEqual([]);
  });

  it("comes in pages of 1000 that chain", async () => {
    const { head } = await readLog(null);
    await system.admin.query(
      `INSERT INTO session.revocations (seq, kind, key, session_ids, reason, at)
       SELECT $1::bigint + n, 'SESSION', '', ARRAY[gen_random_uuid()], 'IDLE', $2 FROM generate_series(1, 1500) AS n`,
      [head, system.clock.now],
    );
    await system.admin.query("UPDATE session.revocation_head SET seq = seq + 1500");
    const first = await readLog(head);
    const second = await readLog(head + 1_000);
    expect([first.hasMore, first.revocations.length, second.hasMore, second.revocations.length]).toEqual([
      true,
      1_000,
      false,
      500,
    ]);
    const seqs = [...first.revocations, ...second.revocations].map(({ seq }) => seq);
    expect(seqs).toEqual(Array.from({ length: 1_500 }, (_, index) => head + 1 + index));
  });

  it("comes in pages that no gateway chokes on, also where entries ended thousands of sessions", async () => {
    const { head } = await readLog(null);
    await system.admin.query(
      `INSERT INTO session.revocations (seq, kind, key, session_ids, reason, at)
       SELECT $1::bigint + n, 'USER', '', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 30000) WHERE n > 0), 'IDLE', $2
         FROM generate_series(1, 3) AS n`,
      [head, system.clock.now],
    );
    await system.admin.query("UPDATE session.revocation_head SET seq = seq + 3");
    const seqsAfter = async (after: number): Promise<unknown> => {
      const { hasMore, revocations } = await readLog(after);
      return [hasMore, ...revocations.map(({ seq }) => seq)];
    };
    expect(await seqsAfter(head)).toEqual([true, head + 1, head + 2]);
    expect(await seqsAfter(head + 2)).toEqual([false, head + 3]);
    await system.admin.query("UPDATE session.revocations SET session_ids = '{}' WHERE seq > $1", [head]);
  });

  it("is read without a write, but for one every two seconds that says who was heard of", async () => {
    const written = async (): Promise<unknown[]> =>
      (await system.admin.query("SELECT xmin, xmax FROM session.gateway_replicas WHERE name = 'reader'")).rows;
    await readLog(0, [], "reader");
    const first = await written();
    system.clock.advance(1_999);
    await readLog(0, [], "reader");
    expect(await written()).toEqual(first);
    system.clock.advance(2);
    await readLog(0, [], "reader");
    expect(await written()).not.toEqual(first);
  });

  it("shows no number before all lower ones, however slow their transactions are", async () => {
    const [slow, quick] = [await system.person().signIn(), await system.person().signIn()];
    const { head } = await readLog(null);
    // The slow one has written its row but not committed.
    const committing = await hold(
      system.admin,
      `WITH head AS (UPDATE session.revocation_head SET seq = seq + 1 RETURNING seq)
       INSERT INTO session.revocations (seq, kind, key, session_ids, reason, at)
       SELECT seq, 'SESSION', '', ARRAY[$1::uuid], 'SIGNED_OUT', $2::timestamptz FROM head`,
      [slow.viewer.sessionId, system.clock.now],
    );
    await using _ = committing;
    const next = quick.data("mutation { signOut { receipt { seq } } }");
    await lockWaiters(system.admin, 1);
    expect(await readLog(head)).toMatchObject({ head, revocations: [] });
    await committing[Symbol.asyncDispose]();
    await next;
    const { revocations } = await readLog(head);
    expect(revocations.map(({ seq, sessionIds }) => [seq, sessionIds])).toEqual([
      [head + 1, [slow.viewer.sessionId]],
      [head + 2, [quick.viewer.sessionId]],
    ]);
  });
});
