import { createIdentitySigner, generateKey, IDENTITY_HEADER } from "@continuo/access";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { dataOf, faultOf, type SignedIn } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => system[Symbol.asyncDispose]());

const Connection = z.object({
  devices: z.object({
    totalCount: z.number(),
    pageInfo: z.object({ endCursor: z.string().nullable(), hasNextPage: z.boolean() }),
    nodes: z.array(z.object({ id: z.string() })),
  }),
});
const Changes = z.object({
  from: z.string().nullable(),
  to: z.string(),
  hasMore: z.boolean(),
  devices: z.array(z.object({ id: z.string(), name: z.string(), isSignedIn: z.boolean() })),
});

async function household(count: number): Promise<[SignedIn, ...SignedIn[]]> {
  const person = system.person();
  const first = await person.signIn({ name: "Device 0" });
  const others: SignedIn[] = [];
  for (let index = 1; index < count; index += 1) {
    system.clock.advance(1_000);
    others.push(await person.signIn({ name: `Device ${index}` }));
  }
  return [first, ...others];
}

async function changesOf(device: SignedIn, since: string | null, first = 100): Promise<z.infer<typeof Changes>> {
  const { deviceChanges } = await device.data(
    `query ($since: String, $first: Int!) {
       deviceChanges(since: $since, first: $first) { from to hasMore devices { id name isSignedIn } }
     }`,
    { since, first },
  );
  return Changes.parse(deviceChanges);
}

describe("the viewer's devices", () => {
  it("come with their sessions in at most two statements, ten of them as well as one", async () => {
    const [device] = await household(10);
    const query = `{ viewer { session { id } devices { totalCount nodes {
      id name platform isCurrent isSignedIn lastSeenAt sessions { id state lastActiveAt expiresAt isCurrent device { id } } } } } }`;
    const statements = vi.spyOn(Pool.prototype, "query");
    const { viewer } = await device.data(query);
    // The pokes of the sign-ins may come as late as now.
    const count = statements.mock.calls.filter(([asked]) => !JSON.stringify(asked).includes("pg_notify")).length;
    statements.mockRestore();
    expect(Connection.pick({}).loose().parse(viewer)).toMatchObject({ devices: { totalCount: 10 } });
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThanOrEqual(2);
  });

  it("are paged, the current one first and the others by last use, also where two were used at the same moment", async () => {
    const [current, ...people] = await household(7);
    const others = people.map(({ viewer }) => viewer.deviceId);
    const together = others.splice(-2).toSorted();
    await system.admin.query("UPDATE session.devices SET last_seen_at = $2 WHERE id = ANY ($1)", [
      together,
      system.clock.now,
    ]);
    const expected = [current.viewer.deviceId, ...together.toReversed(), ...others.toReversed()];
    for (const first of [1, 3, 7, 100]) {
      const seen: string[] = [];
      let after: string | null = null;
      for (;;) {
        const { viewer } = await current.data(
          `query ($first: Int!, $after: String) {
             viewer { devices(first: $first, after: $after) { totalCount pageInfo { endCursor hasNextPage } nodes { id } } }
           }`,
          { first, after },
        );
        const page: z.infer<typeof Connection>["devices"] = Connection.parse(viewer).devices;
        expect(page.totalCount).toBe(7);
        seen.push(...page.nodes.map(({ id }) => id));
        after = page.pageInfo.endCursor;
        if (!page.pageInfo.hasNextPage) break;
      }
      expect(seen).toEqual(expected);
    }
    const encoded = ["1.junk", `1.${"-".repeat(36)}`].map((text) => Buffer.from(text).toString("base64url"));
    for (const after of ["junk", "", ...encoded]) {
      const answer = await current.graphql(
        `query ($after: String) { viewer { devices(after: $after) { totalCount } } }`,
        { after },
      );
      expect(faultOf(answer)).toBe("BAD_USER_INPUT CURSOR_INVALID");
    }
    expect(faultOf(await current.graphql("{ viewer { devices(first: 101) { totalCount } } }"))).toBe(
      "BAD_USER_INPUT INPUT_INVALID",
    );
  });

  it("show the sessions of a device newest first, those that live as those that have ended", async () => {
    const person = system.person();
    const laptop = await person.signIn();
    const { deviceId, sessionId } = laptop.viewer;
    system.clock.advance(1_000);
    const bank = await person.signIn({ deviceId, applicationId: "bank" });
    const newestFirst = [bank.viewer.sessionId, sessionId].map((id) => ({ id }));
    const { viewer } = await laptop.data(
      "{ viewer { device { sessions { id } ended: sessions(ended: true) { id } } devices { nodes { sessions { id } } } } }",
    );
    expect(viewer).toEqual({
      device: { sessions: newestFirst, ended: newestFirst },
      devices: { nodes: [{ sessions: newestFirst }] },
    });
  });

  it("show the newest hundred sessions of a device, however many there are", async () => {
    const laptop = await system.person().signIn();
    const { sessionId } = laptop.viewer;
    const later = async (end: string | null): Promise<void> =>
      void (await system.admin.query(
        `INSERT INTO session.sessions
         SELECT (jsonb_populate_record(s, jsonb_build_object('id', gen_random_uuid(), 'started_at', s.started_at + n * interval '1 ms')
                  || CASE WHEN $2::text IS NULL THEN '{}' ELSE
                       jsonb_build_object('state', 'REVOKED', 'ended_at', s.started_at, 'end_reason', $2::text) END)).*
           FROM session.sessions AS s, generate_series(1, 100) AS n WHERE s.id = $1`,
        [sessionId, end],
      ));
    const Sessions = z.array(z.object({ id: z.string() }));
    const shown = async (): Promise<[live: string[], all: string[]]> => {
      const { viewer } = await laptop.data(
        "{ viewer { device { sessions { id } all: sessions(ended: true) { id } } } }",
      );
      const { sessions, all } = z
        .object({ device: z.object({ sessions: Sessions, all: Sessions }) })
        .parse(viewer).device;
      return [sessions.map(({ id }) => id), all.map(({ id }) => id)];
    };
    await later("SIGNED_OUT");
    const [live, all] = await shown();
    expect(live).toEqual([sessionId]);
    expect(all).toHaveLength(100);
    expect(all).not.toContain(sessionId);
    await later(null);
    const [manyLive] = await shown();
    expect(manyLive).toHaveLength(100);
    expect(manyLive).not.toContain(sessionId);
  });

  it("show a lapsed session as expired at its deadline, though no worker has said so", async () => {
    const person = system.person();
    const bank = await person.signIn({ applicationId: "bank" });
    const deadline = new Date(system.clock.now.getTime() + 6_000).toISOString();
    const laptop = await person.signIn();
    system.clock.advance(60_000);
    const { viewer } = await laptop.data(`{ viewer { devices { nodes { id isSignedIn
      sessions { id } ended: sessions(ended: true) { id state endedAt endReason }
      signOut { requestedAt reason lockedOutAt effectiveBy confirmedAt } } } } }`);
    expect(viewer).toMatchObject({
      devices: {
        nodes: [
          { id: laptop.viewer.deviceId, isSignedIn: true, signOut: null },
          {
            id: bank.viewer.deviceId,
            isSignedIn: false,
            sessions: [],
            ended: [{ id: bank.viewer.sessionId, state: "EXPIRED", endedAt: deadline, endReason: "IDLE" }],
            signOut: {
              requestedAt: deadline,
              reason: "IDLE",
              lockedOutAt: deadline,
              effectiveBy: deadline,
              confirmedAt: null,
            },
          },
        ],
      },
    });
    expect(faultOf(await bank.graphql("{ viewer { session { id } } }"))).toBe("UNAUTHENTICATED SESSION_ENDED");
  });
});

describe("a device's name", () => {
  it("is what its owner says, trimmed and composed, for all devices to see", async () => {
    const [laptop, phone] = await household(2);
    const { renameDevice } = await laptop.data(
      `mutation ($id: ID!) { renameDevice(id: $id, name: "  Oma’s Handy 📱 ") { name detectedName isCurrent isSignedIn } }`,
      { id: phone?.viewer.deviceId },
    );
    expect(renameDevice).toEqual({
      name: "Oma’s Handy 📱",
      detectedName: "Device 1",
      isCurrent: false,
      isSignedIn: true,
    });
    const rename = (name: string): ReturnType<typeof laptop.graphql> =>
      laptop.graphql("mutation ($id: ID!, $name: String!) { renameDevice(id: $id, name: $name) { name } }", {
        id: laptop.viewer.deviceId,
        name,
      });
    for (const name of ["", "   ", "x".repeat(65), "📱".repeat(65), "a\u0007b"])
      expect(faultOf(await rename(name))).toBe("BAD_USER_INPUT INPUT_INVALID");
    for (const [name, shown] of [
      ["📱".repeat(64), "📱".repeat(64)],
      ["Cafe\u0301", "Caf\u00e9"],
    ] as const)
      expect(dataOf(await rename(name))).toEqual({ renameDevice: { name: shown } });
  });
});

describe("the changes of devices", () => {
  it("chain without a gap, whatever the size of a batch", async () => {
    const [laptop, ...others] = await household(6);
    const whole = await changesOf(laptop, null);
    expect(whole).toMatchObject({ from: null, to: "6", hasMore: false });
    expect(whole.devices.map(({ name }) => name)).toEqual([0, 1, 2, 3, 4, 5].map((index) => `Device ${index}`));
    expect(await changesOf(laptop, whole.to)).toEqual({ from: "6", to: "6", hasMore: false, devices: [] });

    await laptop.data("mutation { signOutOtherDevices { receipt { seq } } }");
    await laptop.data(`mutation ($id: ID!) { renameDevice(id: $id, name: "Mine") { id } }`, {
      id: laptop.viewer.deviceId,
    });
    for (const first of [1, 2, 5, 100]) {
      const seen: string[] = [];
      let since = whole.to;
      for (;;) {
        const batch = await changesOf(laptop, since, first);
        expect(batch.from).toBe(since);
        since = batch.to;
        seen.push(...batch.devices.map(({ id, isSignedIn }) => `${id} ${isSignedIn}`));
        if (!batch.hasMore) break;
      }
      expect(seen.toSorted()).toEqual(
        [...others.map(({ viewer }) => `${viewer.deviceId} false`), `${laptop.viewer.deviceId} true`].toSorted(),
      );
    }
  });

  it("are all told though the log is ahead of the last of them, as of somebody who stepped up in vain", async () => {
    const [laptop] = await household(2);
    await system.admin.query("UPDATE session.user_heads SET device_rev = device_rev + 1 WHERE user_id = $1", [
      laptop.viewer.userId,
    ]);
    for (const since of [null, "1", "2", "3"]) expect(await changesOf(laptop, since)).toMatchObject({ hasMore: false });
  });

  it("are refused after a cursor that was never given", async () => {
    const [laptop] = await household(1);
    for (const since of ["junk", "-1", "999", "1.5"]) {
      const answer = await laptop.graphql("query ($since: String) { deviceChanges(since: $since) { to } }", { since });
      expect(faultOf(answer)).toBe("BAD_USER_INPUT CURSOR_INVALID");
    }
  });

  it("miss nothing of many writers at once", async () => {
    const [laptop, ...others] = await household(4);
    const writers = others.flatMap(({ viewer }, writer) =>
      Array.from({ length: 10 }, (_, round) =>
        laptop.data("mutation ($id: ID!, $name: String!) { renameDevice(id: $id, name: $name) { id } }", {
          id: viewer.deviceId,
          name: `${writer} ${round}`,
        }),
      ),
    );
    const known = new Map<string, string>();
    let since: string | null = null;
    let writing = true;
    const done = Promise.all(writers).finally(() => {
      writing = false;
    });
    for (let last = false; !last;) {
      last = !writing;
      const batch: z.infer<typeof Changes> = await changesOf(laptop, since, 2);
      since = batch.to;
      for (const { id, name } of batch.devices) known.set(id, name);
      last &&= !batch.hasMore;
    }
    await done;
    const whole = await changesOf(laptop, null);
    expect(Object.fromEntries(known)).toEqual(Object.fromEntries(whole.devices.map(({ id, name }) => [id, name])));
  });
});

describe("the subgraph", () => {
  it("resolves a device or session by reference for its owner, and for nobody else", async () => {
    const [mine, theirs] = [await system.person().signIn(), await system.person().signIn()];
    const representations = [mine, theirs].flatMap(({ viewer }) => [
      { __typename: "Device", id: viewer.deviceId },
      { __typename: "Session", id: viewer.sessionId },
    ]);
    const query = `query ($representations: [_Any!]!) {
      _entities(representations: $representations) { ... on Device { id name } ... on Session { id state } ... on Application { id name } }
    }`;
    const all = [...representations, { __typename: "Device", id: "junk" }, { __typename: "Application", id: "bank" }];
    expect(await mine.data(query, { representations: all })).toEqual({
      _entities: [
        { id: mine.viewer.deviceId, name: "Firefox on Linux" },
        { id: mine.viewer.sessionId, state: "ACTIVE" },
        null,
        null,
        null,
        { id: "bank", name: "Strict Bank" },
      ],
    });
    const anonymous = await system.graphql({ kind: "anonymous" }, query, { representations });
    expect(anonymous.data).toEqual({ _entities: [null, null, null, null] });
    await mine.data("mutation { signOut { receipt { seq } } }");
    for (const own of representations.slice(0, 2))
      expect(faultOf(await mine.graphql(query, { representations: [own] }))).toBe("UNAUTHENTICATED SESSION_ENDED");
  });

  it("knows no viewer when nobody is signed in", async () => {
    expect((await system.graphql({ kind: "anonymous" }, "{ viewer { session { id } } }")).data).toEqual({
      viewer: null,
    });
    for (const operation of [
      "{ deviceChanges { to } }",
      "mutation { signOut { receipt { seq } } }",
      "mutation { signOutOtherDevices { receipt { seq } } }",
      `mutation { renameDevice(id: "x", name: "x") { id } }`,
    ]) {
      expect(faultOf(await system.graphql({ kind: "anonymous" }, operation))).toBe("UNAUTHENTICATED SIGN_IN_REQUIRED");
    }
  });

  it("refuses whoever is not the gateway: no word, a public token, a forged word", async () => {
    const { tokens } = await system.person().signIn();
    const stranger = createIdentitySigner((await generateKey("Ed25519")).privateJwk);
    const forged = await stranger.sign({ kind: "service", name: "gateway" });
    const body = JSON.stringify({ query: "{ viewer { session { id } } }" });
    const headers = [
      {},
      { authorization: `Bearer ${tokens.accessToken}` },
      { [IDENTITY_HEADER]: tokens.accessToken },
      { [IDENTITY_HEADER]: forged },
    ];
    for (const path of ["/graphql", "/internal/revocations", "/internal/revocations/leave", "/internal/activity"]) {
      for (const each of headers) {
        const response = await fetch(new URL(path, system.url), {
          method: "POST",
          headers: { "content-type": "application/json", ...each },
          body,
        });
        expect(response.status).toBe(401);
        const text = await response.text();
        expect(text).toContain("INTERNAL_IDENTITY_REQUIRED");
        expect(text).not.toContain(" at ");
      }
    }
  });

  it("answers its internal endpoints to the gateway alone, and says what is wrong with a request", async () => {
    const { viewer } = await system.person().signIn();
    const request = { replica: "r", after: null, acks: [] };
    for (const caller of [
      { kind: "viewer", viewer },
      { kind: "anonymous" },
      { kind: "service", name: "user-state" },
    ] as const) {
      expect(await system.internal("/internal/revocations", request, caller)).toMatchObject({
        status: 403,
        body: { errors: [{ extensions: { code: "FORBIDDEN", reason: "SERVICE_ONLY" } }] },
      });
    }
    for (const bad of [{}, { ...request, after: "x" }, { ...request, acks: [{ seq: -1, socketsClosed: 0 }] }, null]) {
      expect(await system.internal("/internal/revocations", bad)).toMatchObject({
        status: 400,
        body: { errors: [{ extensions: { code: "BAD_USER_INPUT" } }] },
      });
    }
  });

  it("publishes its keys without private parts, to be kept for five minutes", async () => {
    const response = await fetch(new URL("/.well-known/jwks.json", system.url));
    expect(response.headers.get("cache-control")).toBe("public, max-age=300");
    expect(await response.json()).toEqual({
      keys: [
        {
          kty: "EC",
          crv: "P-256",
          alg: "ES256",
          use: "sig",
          kid: expect.any(String),
          x: expect.any(String),
          y: expect.any(String),
        },
      ],
    });
  });
});
