import { randomBytes } from "node:crypto";
import { openDatabase } from "@continuo/database";
import { createLogger } from "@continuo/process";
import { createTestDatabase } from "@continuo/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PrismaClient } from "../database/generated/client.ts";
import { createClientAuthentication, type ApplicationStore } from "./application.ts";
import { createApplicationStore } from "./application.store.ts";
import { ApplicationInput, createApplications, LogoutUri, type Applications } from "./applications.ts";

const stack = new AsyncDisposableStack();
let store: ApplicationStore;
let applications: Applications;
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
  applications = createApplications({ store, randomBytes, now: () => new Date("2026-01-01T00:00:00Z") });
});
afterAll(() => stack.disposeAsync());

const like = (id: string, more: Partial<ApplicationInput> = {}): ApplicationInput => ({
  id,
  name: "An application",
  isConfidential: true,
  mayIntrospect: false,
  backchannelLogoutUri: null,
  ...more,
});

describe("an application", () => {
  it("is registered once, and its secret is shown once", async () => {
    const { application, secret } = await applications.add(like("bff", { mayIntrospect: true }));
    expect(application).toEqual({
      ...like("bff", { mayIntrospect: true }),
      createdAt: new Date("2026-01-01T00:00:00Z"),
    });
    await expect(applications.add(like("bff"))).rejects.toMatchObject({ reason: "APPLICATION_EXISTS" });
    expect(await applications.list()).toContainEqual(application);
    expect(JSON.stringify(await applications.list())).not.toContain("ecretHash");
    const authenticate = createClientAuthentication(store);
    expect((await authenticate({ id: "bff", secret: secret ?? "" })).mayIntrospect).toBe(true);
  });

  it("is refused under its former secret as soon as that is replaced", async () => {
    const { secret } = await applications.add(like("replaced"));
    const fresh = await applications.rotateSecret("replaced");
    const authenticate = createClientAuthentication(store);
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
