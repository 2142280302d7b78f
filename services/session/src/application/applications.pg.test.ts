import { generateKeyPairSync, randomBytes } from "node:crypto";
import { openDatabase } from "@continuo/database";
import { createLogger } from "@continuo/process";
import { createTestDatabase } from "@continuo/testkit";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PrismaClient } from "../database/generated/client.ts";
import { SignJWT } from "jose";
import type { ApplicationStore } from "./application.ts";
import { createApplicationStore } from "./application.store.ts";
import { ApplicationInput, createApplications, LogoutUri, type Applications } from "./applications.ts";
import { createAssertionStore } from "./assertion.store.ts";
import {
  createClientAuthentication,
  type AuthenticatedClient,
  type ClientCredentials,
} from "./client-authentication.ts";
import { ClientKeys } from "./client-keys.ts";

const ISSUER = "https://continuo.test";
const stack = new AsyncDisposableStack();
let store: ApplicationStore;
let applications: Applications;
let admin: Pool;
/** A process of its own. */
let replica: () => (credentials: ClientCredentials) => Promise<AuthenticatedClient>;
beforeAll(async () => {
  const database = stack.use(await createTestDatabase());
  const { pool, prisma } = stack.use(
    openDatabase({
      url: database.url.session,
      PrismaClient,
      applicationName: "test",
      poolSize: 2,
      log: createLogger({ name: "test", level: "silent" }),
    }),
  );
  store = createApplicationStore(pool, prisma);
  admin = stack.adopt(new Pool({ connectionString: database.adminUrl }), (opened) => opened.end());
  replica = () =>
    createClientAuthentication({
      applications: store,
      assertions: createAssertionStore(pool),
      issuer: ISSUER,
      now: () => new Date(),
    });
  applications = createApplications({ store, randomBytes, now: () => new Date("2026-01-01T00:00:00Z") });
});
afterAll(() => stack.disposeAsync());

const like = (id: string, more: Partial<ApplicationInput> = {}): ApplicationInput => ({
  id,
  name: "An application",
  isConfidential: true,
  jwks: null,
  mayIntrospect: false,
  backchannelLogoutUri: null,
  ...more,
});

const invalid = { code: "UNAUTHENTICATED", reason: "CLIENT_INVALID" };

/** A client's key, and what it signs with it. */
function newKey(kid: string): { jwk: object; sign: (clientId: string) => Promise<string> } {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  return {
    jwk: { ...publicKey.export({ format: "jwk" }), kid },
    sign: (clientId) =>
      new SignJWT({ iss: clientId, sub: clientId, aud: ISSUER, jti: randomBytes(16).toString("hex") })
        .setProtectedHeader({ alg: "Ed25519", kid })
        .setExpirationTime("1 minute")
        .sign(privateKey),
  };
}

describe("an application", () => {
  it("is registered once, and its secret is shown once", async () => {
    const { application, secret } = await applications.add(like("bff", { mayIntrospect: true }));
    const { jwks: _, ...input } = like("bff", { mayIntrospect: true });
    expect(application).toEqual({
      ...input,
      keyIds: null,
      createdAt: new Date("2026-01-01T00:00:00Z"),
    });
    await expect(applications.add(like("bff"))).rejects.toMatchObject({ reason: "APPLICATION_EXISTS" });
    expect(await applications.list()).toContainEqual(application);
    expect(JSON.stringify(await applications.list())).not.toContain("ecretHash");
    const authenticate = replica();
    expect((await authenticate({ id: "bff", secret: secret ?? "" })).mayIntrospect).toBe(true);
  });

  it("is refused under its former secret as soon as that is replaced", async () => {
    const { secret } = await applications.add(like("replaced"));
    const fresh = await applications.rotateSecret("replaced");
    const authenticate = replica();
    expect((await authenticate({ id: "replaced", secret: fresh })).id).toBe("replaced");
    await expect(authenticate({ id: "replaced", secret: secret ?? "" })).rejects.toMatchObject({
      reason: "CLIENT_INVALID",
    });
  });

  it("without a secret stays public", async () => {
    expect((await applications.add(like("spa", { isConfidential: false }))).secret).toBeNull();
    await expect(applications.rotateSecret("spa")).rejects.toMatchObject({ reason: "APPLICATION_PUBLIC" });
    await expect(applications.rotateSecret("nobody")).rejects.toMatchObject({ reason: "APPLICATION_NOT_FOUND" });
  });

  it("authenticates by its keys alone, in place of a secret, until they are replaced", async () => {
    const [former, next] = [newKey("former"), newKey("next")];
    const { secret } = await applications.add(like("keyed"));
    const both = ClientKeys.parse({ keys: [former.jwk, next.jwk] });
    const change = { keyIds: ["former", "next"], added: ["former", "next"], removed: [], replacesSecret: true };
    expect(await applications.tryKeys("keyed", both)).toEqual(change);
    await applications.setKeys("keyed", both);
    const authenticate = replica();
    await expect(authenticate({ id: "keyed", secret: secret ?? "" })).rejects.toMatchObject(invalid);
    await expect(applications.rotateSecret("keyed")).rejects.toMatchObject({ reason: "APPLICATION_HAS_KEYS" });
    for (const { sign } of [former, next])
      expect((await authenticate({ assertion: await sign("keyed") })).id).toBe("keyed");

    const alone = ClientKeys.parse({ keys: [next.jwk] });
    expect(await applications.tryKeys("keyed", alone)).toMatchObject({ added: [], removed: ["former"] });
    await applications.setKeys("keyed", alone);
    await expect(authenticate({ assertion: await former.sign("keyed") })).rejects.toMatchObject(invalid);
    expect((await authenticate({ assertion: await next.sign("keyed") })).id).toBe("keyed");
    expect(await applications.list()).toContainEqual(expect.objectContaining({ id: "keyed", keyIds: ["next"] }));
  });

  it("may begin with keys, gets no secret then, and a public one gets none of either", async () => {
    const { jwk } = newKey("only");
    const jwks = ClientKeys.parse({ keys: [jwk] });
    expect(await applications.add(like("born", { jwks, mayIntrospect: true }))).toMatchObject({
      secret: null,
      application: { isConfidential: true, keyIds: ["only"] },
    });
    await applications.add(like("open", { isConfidential: false }));
    await expect(applications.setKeys("open", jwks)).rejects.toMatchObject({ reason: "APPLICATION_PUBLIC" });
    await expect(applications.tryKeys("open", jwks)).rejects.toMatchObject({ reason: "APPLICATION_PUBLIC" });
    await expect(applications.setKeys("nobody", jwks)).rejects.toMatchObject({ reason: "APPLICATION_NOT_FOUND" });
    const both = "UPDATE session.applications SET secret_hash = 'x' WHERE id = 'born'";
    await expect(admin.query(both)).rejects.toThrow("applications_authentication_check");
  });

  it("is let in once for each assertion, however many replicas are shown it at the same moment", async () => {
    const { jwk, sign } = newKey("raced");
    await applications.add(like("raced", { jwks: ClientKeys.parse({ keys: [jwk] }) }));
    const assertion = await sign("raced");
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => replica()({ assertion })));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const { rows } = await admin.query<{ seconds: number }>(
      "SELECT extract(epoch FROM max(good_until) - now())::float8 AS seconds FROM session.used_client_assertions",
    );
    // Its minute, and the one that clocks may differ by.
    expect(rows[0]?.seconds).toBeGreaterThan(100);
    expect(rows[0]?.seconds).toBeLessThan(121);
  });

  it("hears of ended sessions where it says, until it says nowhere", async () => {
    await applications.add(like("listens"));
    await applications.setLogoutUri("listens", "https://app.example.com/logout");
    expect((await store.find("listens"))?.backchannelLogoutUri).toBe("https://app.example.com/logout");
    await applications.setLogoutUri("listens", null);
    expect((await store.find("listens"))?.backchannelLogoutUri).toBeNull();
    await expect(applications.setLogoutUri("nobody", null)).rejects.toMatchObject({ reason: "APPLICATION_NOT_FOUND" });
  });
});

describe("what an operator says of an application", () => {
  it("has an id that fits everywhere, and lets none without a secret introspect", () => {
    expect(ApplicationInput.safeParse(like("my-app.2")).success).toBe(true);
    for (const id of ["", "My", "a b", "-a", "a".repeat(64)])
      expect(ApplicationInput.safeParse(like(id)).success).toBe(false);
    expect(ApplicationInput.safeParse(like("a", { isConfidential: false, mayIntrospect: true })).success).toBe(false);
    const jwks = ClientKeys.parse({ keys: [newKey("a").jwk] });
    expect(ApplicationInput.safeParse(like("a", { isConfidential: false, jwks })).success).toBe(false);
  });

  it("sends word of sign-outs over https alone, or within this machine", () => {
    for (const uri of ["https://a.example/b", "http://127.0.0.1:3000/b", "http://localhost/b", "http://[::1]/b"])
      expect(LogoutUri.safeParse(uri).success).toBe(true);
    for (const uri of [
      "http://a.example/b",
      "https://a.example/b#c",
      "ftp://a.example",
      "b",
      "http://localhost.evil.com/",
    ])
      expect(LogoutUri.safeParse(uri).success).toBe(false);
  });
});
