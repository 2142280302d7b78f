/** The identity subgraph over HTTP on real Postgres, called as the gateway calls it. */
import {
  createGrantVerifier,
  createIdentitySigner,
  generateKey,
  IDENTITY_HEADER,
  type Caller,
  type GrantVerifier,
  type Jwk,
} from "@continuo/access";
import { createLogger } from "@continuo/process";
import { applyUserEvents, type UserEvent } from "@continuo/signals";
import { startJobs } from "@continuo/signals/jobs";
import { createTestGateway, testViewer, type TestAnswer, type TestGateway } from "@continuo/subgraph/testing";
import { createTestDatabase, startFaultProxy, targetOf, throughProxy } from "@continuo/testkit";
import { Pool } from "pg";
import { v7 as newId } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startApp } from "./app.ts";
import { loadEnv, type Env } from "./env.ts";
import { createStandingStore } from "./user/standing.store.ts";
import { createPasswordHasher } from "./password/argon2id.ts";
import { seed } from "./seed.ts";

const PASSWORD = "seven green apples on a hill";
const SIGN_UP = "mutation ($input: SignUpInput!) { signUp(input: $input) { email } }";
const SIGN_IN = "mutation ($input: SignInWithPasswordInput!) { signInWithPassword(input: $input) { grant expiresAt } }";
const ANONYMOUS: Caller = { kind: "anonymous" };

const resources = new AsyncDisposableStack();
let subgraph: { readonly url: string };
let env: Env;
let pool: Pool;
let databaseUrl: string;
let gateway: TestGateway;
let grants: GrantVerifier;
let grantKey: { publicJwk: Jwk; privateJwk: Jwk };

beforeAll(async () => {
  gateway = await createTestGateway();
  grantKey = await generateKey("Ed25519");
  const database = resources.use(await createTestDatabase());
  databaseUrl = database.url.identity;
  pool = resources.adopt(new Pool({ connectionString: databaseUrl }), async (opened) => opened.end());
  env = loadEnv({
    PORT: "0",
    LOG_LEVEL: "silent",
    DATABASE_URL: databaseUrl,
    GATEWAY_PUBLIC_KEY: gateway.publicKey,
    GRANT_PRIVATE_KEY: JSON.stringify(grantKey.privateJwk),
  });
  subgraph = resources.use(await startApp(env));
  grants = createGrantVerifier(grantKey.publicJwk);
});
afterAll(async () => resources.disposeAsync());

const as = (caller: Caller, query: string, variables: Record<string, unknown> = {}): Promise<TestAnswer> =>
  gateway.ask(subgraph, query, { as: caller, variables });
const viewer = (userId: string): Caller => testViewer({ userId });

async function signUp(email: string, password = PASSWORD): Promise<TestAnswer> {
  return as(ANONYMOUS, SIGN_UP, { input: { email, password } });
}

async function signIn(email: string, password = PASSWORD): Promise<TestAnswer> {
  return as(ANONYMOUS, SIGN_IN, { input: { email, password } });
}

async function grantOf(answer: TestAnswer): Promise<Awaited<ReturnType<GrantVerifier["verify"]>>> {
  const { signInWithPassword } = answer.data ?? {};
  expect(signInWithPassword).toMatchObject({ grant: expect.any(String), expiresAt: expect.stringMatching(/Z$/) });
  const { grant } = Object(signInWithPassword);
  return grants.verify(grant, new Date());
}

const refusal = (answer: TestAnswer): unknown[] => answer.errors.map(({ extensions }) => extensions);

describe("signing up and in", () => {
  test("ends in a grant for the person who signed up, a new one each time", async () => {
    expect((await signUp("Grace@Example.com")).data).toEqual({ signUp: { email: "grace@example.com" } });
    const [first, second] = [
      await grantOf(await signIn("grace@example.com")),
      await grantOf(await signIn("GRACE@example.com")),
    ];
    expect(first).toMatchObject({ acr: "aal1", amr: ["pwd"] });
    expect(second.sub).toBe(first.sub);
    expect(second.jti).not.toBe(first.jti);
    expect((await as(viewer(first.sub), "{ me { id email createdAt } }")).data).toEqual({
      me: { id: first.sub, email: "grace@example.com", createdAt: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/) },
    });
  });

  test("answers alike whether or not an address was free, and leaves its owner's password alone", async () => {
    const free = await signUp("hedy@example.com");
    const taken = await signUp("hedy@example.com", "another password for the same");
    expect(taken).toEqual(free);
    expect((await signIn("hedy@example.com", "another password for the same")).data).toBeNull();
    expect((await signIn("hedy@example.com")).errors).toEqual([]);
  });

  test("refuses alike an unknown address, a wrong password and a locked one", async () => {
    await signUp("joan@example.com");
    await signUp("lise@example.com");
    await pool.query(
      "UPDATE identity.authenticators SET failures = 100 FROM identity.users u WHERE u.id = user_id AND u.email = $1",
      ["lise@example.com"],
    );
    const unknown = await signIn("nobody@example.com");
    expect(refusal(unknown)).toEqual([{ code: "UNAUTHENTICATED", reason: "CREDENTIALS_INVALID" }]);
    expect(await signIn("joan@example.com", "not the password at all")).toEqual(unknown);
    expect(await signIn("lise@example.com")).toEqual(unknown);
  });

  test("locks nobody out of a device that they are signed in on, however often strangers guess", async () => {
    await signUp("rosa@example.com");
    const { sub } = await grantOf(await signIn("rosa@example.com"));
    await pool.query("UPDATE identity.authenticators SET failures = 50 WHERE user_id = $1", [sub]);
    const input = { email: "rosa@example.com", password: PASSWORD };
    for (const caller of [ANONYMOUS, viewer(newId())])
      expect(refusal(await as(caller, SIGN_IN, { input }))).toMatchObject([{ reason: "CREDENTIALS_INVALID" }]);
    await grantOf(await as(viewer(sub), SIGN_IN, { input }));
    await grantOf(await signIn("rosa@example.com"));
  });

  test("renews a hash that was made at a lower cost", async () => {
    await signUp("mary@example.com");
    const cheap = createPasswordHasher({ memoryKib: 1_024, passes: 1, parallelism: 1 });
    const secretOf = async (): Promise<string> =>
      (
        await pool.query<{ secret: string }>(
          "SELECT a.secret FROM identity.authenticators a JOIN identity.users u ON u.id = a.user_id WHERE u.email = $1",
          ["mary@example.com"],
        )
      ).rows[0]?.secret ?? "";
    await pool.query("UPDATE identity.authenticators SET secret = $1 WHERE secret = $2", [
      await cheap.hash(PASSWORD),
      await secretOf(),
    ]);
    await grantOf(await signIn("mary@example.com"));
    expect(await secretOf()).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    await grantOf(await signIn("mary@example.com"));
  });

  test.each([
    [{ email: "not an address", password: PASSWORD }, "INPUT_INVALID"],
    [{ email: "short@example.com", password: "too short" }, "PASSWORD_TOO_SHORT"],
    [{ email: "long@example.com", password: `${PASSWORD} x1`.repeat(20) }, "PASSWORD_TOO_LONG"],
    [{ email: "common@example.com", password: "qwertyuiop123456789" }, "PASSWORD_TOO_COMMON"],
    [{ email: "broken@example.com", password: `${PASSWORD}\ud800` }, "INPUT_INVALID"],
  ])("says what is wrong with %j: %s", async (input, reason) => {
    const answer = await as(ANONYMOUS, SIGN_UP, { input });
    expect(refusal(answer)).toEqual([expect.objectContaining({ code: "BAD_USER_INPUT", reason })]);
    expect(answer.text).not.toContain(input.password);
  });

  test("works with the demo people, however often they are seeded", async () => {
    await seed({ DATABASE_URL: databaseUrl, LOG_LEVEL: "silent" });
    await seed({ DATABASE_URL: databaseUrl, LOG_LEVEL: "silent" });
    for (const email of ["ada@example.com", "alan@example.com"]) {
      expect(await grantOf(await signIn(email, "correct horse battery staple"))).toHaveProperty("sub");
    }
  });
});

describe("changing a password", () => {
  const CHANGE = "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { user { email } } }";
  const OTHER = "eight red pears in a valley";
  const change = (caller: Caller, currentPassword: string, newPassword: string): Promise<TestAnswer> =>
    as(caller, CHANGE, { input: { currentPassword, newPassword } });

  test("takes the current one, and grants name the epoch that it raised", async () => {
    await signUp("ida@example.com");
    const before = await grantOf(await signIn("ida@example.com"));
    const answer = await change(viewer(before.sub), PASSWORD, OTHER);
    expect(answer).toMatchObject({ data: { changePassword: { user: { email: "ida@example.com" } } }, errors: [] });
    expect(answer.text).not.toContain(OTHER);
    const wrong = { code: "BAD_USER_INPUT", reason: "CURRENT_PASSWORD_WRONG" };
    expect(refusal(await change(viewer(before.sub), PASSWORD, OTHER))).toEqual([wrong]);
    expect(refusal(await signIn("ida@example.com"))).toMatchObject([{ reason: "CREDENTIALS_INVALID" }]);
    const after = await grantOf(await signIn("ida@example.com", OTHER));
    expect([before.epoch, after.epoch]).toEqual([0, 1]);
  });

  test("is for who is signed in", async () => {
    for (const caller of [ANONYMOUS, viewer(newId())])
      expect(refusal(await change(caller, PASSWORD, OTHER))).toEqual([
        { code: "UNAUTHENTICATED", reason: "SIGN_IN_REQUIRED" },
      ]);
  });
});

describe("a person", () => {
  test("as an entity is readable by themself alone, and others are null beside them", async () => {
    await signUp("emmy@example.com");
    await signUp("sofia@example.com");
    const [emmy, sofia] = [
      await grantOf(await signIn("emmy@example.com")),
      await grantOf(await signIn("sofia@example.com")),
    ];
    const people = [emmy.sub, sofia.sub, newId(), "not-a-uuid", emmy.sub].map((id) => ({ __typename: "User", id }));
    const own = { email: "emmy@example.com" };
    const answer = await gateway.entities(subgraph, people, "email", { as: viewer(emmy.sub) });
    expect(answer).toMatchObject({ data: { _entities: [own, null, null, null, own] }, errors: [] });
    expect((await gateway.entities(subgraph, people, "email", { as: ANONYMOUS })).data).toEqual({
      _entities: [null, null, null, null, null],
    });
  });

  test("who is not signed in, or disabled, is nobody", async () => {
    expect((await as(ANONYMOUS, "{ me { id } }")).data).toEqual({ me: null });
    await signUp("gone@example.com");
    const { sub } = await grantOf(await signIn("gone@example.com"));
    await pool.query("UPDATE identity.users SET disabled_at = now() WHERE id = $1", [sub]);
    expect((await as(viewer(sub), "{ me { id } }")).data).toEqual({ me: null });
  });
});

test("that somebody was disabled reaches whoever works on it, though nobody was told that there is something", async () => {
  await signUp("disabled@example.com");
  const { sub, epoch } = await grantOf(await signIn("disabled@example.com"));
  expect(epoch).toBe(0);
  const logger = createLogger({ name: "test", level: "silent" });
  await using jobs = await startJobs({ databaseUrl, logger });
  const heard = Promise.withResolvers<UserEvent>();
  await using _ = await jobs.work(
    applyUserEvents,
    async (event) => void (event.userId === sub && heard.resolve(event)),
  );
  await createStandingStore(pool).disable(sub, new Date(), [0]);
  expect(await heard.promise).toEqual({ userId: sub, epoch: 1, because: "DISABLED" });
  expect(refusal(await signIn("disabled@example.com"))).toEqual([
    { code: "UNAUTHENTICATED", reason: "CREDENTIALS_INVALID" },
  ]);
});

describe("a caller other than the gateway", () => {
  test.each<[string, () => Promise<Record<string, string>>]>([
    ["without an identity", async () => ({ [IDENTITY_HEADER]: "" })],
    [
      "with an access token",
      async () => ({ [IDENTITY_HEADER]: "", authorization: "Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln" }),
    ],
    ["with a plain header", async () => ({ [IDENTITY_HEADER]: JSON.stringify({ kind: "service", name: "gateway" }) })],
    [
      "with an identity signed by another key",
      async () => ({
        [IDENTITY_HEADER]: await createIdentitySigner((await generateKey("Ed25519")).privateJwk).sign(ANONYMOUS),
      }),
    ],
    [
      "with an identity signed by our own grant key",
      async () => ({ [IDENTITY_HEADER]: await createIdentitySigner(grantKey.privateJwk).sign(ANONYMOUS) }),
    ],
  ])("%s is refused before anything runs, and sees no stack", async (_case, headers) => {
    const answer = await gateway.ask(subgraph, SIGN_UP, {
      variables: { input: { email: "x@example.com", password: PASSWORD } },
      headers: await headers(),
    });
    expect(answer.status).toBe(401);
    expect(refusal(answer)).toEqual([
      { code: "UNAUTHENTICATED", reason: "INTERNAL_IDENTITY_REQUIRED", requestId: expect.any(String) },
    ]);
    expect(answer.text).not.toMatch(/\bat \S+:\d+|node_modules|stack/);
  });
});

test("a document or variable that does not fit gets a code and a reason", async () => {
  const unknownField = await as(ANONYMOUS, "{ me { shoeSize } }");
  expect(refusal(unknownField)).toEqual([{ code: "BAD_USER_INPUT", reason: "DOCUMENT_INVALID" }]);
  const wrongType = await as(ANONYMOUS, SIGN_UP, { input: { email: 1, password: PASSWORD } });
  expect(refusal(wrongType)).toEqual([{ code: "BAD_USER_INPUT", reason: "VARIABLES_INVALID" }]);
});

test("a database that is away is UNAVAILABLE, by hand-written SQL and by Prisma alike, and is found again", async () => {
  await using proxy = await startFaultProxy(targetOf(databaseUrl, 5432));
  await using app = await startApp({ ...env, DATABASE_URL: throughProxy(databaseUrl, proxy) });
  const ask = (caller: Caller, query: string, variables: Record<string, unknown> = {}): Promise<TestAnswer> =>
    gateway.ask(app, query, { as: caller, variables });
  const user = viewer(newId());
  const credentials = { input: { email: "away@example.com", password: PASSWORD } };
  const away = [{ extensions: { code: "UNAVAILABLE", reason: "DEPENDENCY_UNAVAILABLE" } }];

  proxy.down();
  expect((await ask(ANONYMOUS, SIGN_IN, credentials)).errors).toMatchObject(away);
  expect((await ask(user, "{ me { email } }")).errors).toMatchObject(away);
  proxy.heal();
  expect((await ask(user, "{ me { email } }")).errors).toEqual([]);
});
