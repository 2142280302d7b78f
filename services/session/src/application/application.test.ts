import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  type Application,
  CLIENT_SECRET_PREFIX,
  createClientAuthentication,
  createClientSecret,
} from "./application.ts";

const { secret, secretHash } = createClientSecret(randomBytes);
const like = (id: string, hash: Buffer | null): Application => ({
  id,
  name: id,
  createdAt: new Date(),
  secretHash: hash,
  mayIntrospect: false,
  backchannelLogoutUri: null,
});
const known = [like("app", null), like("bff", secretHash)];
const authenticate = createClientAuthentication({ find: async (id) => known.find((each) => each.id === id) });

describe("a client secret", () => {
  it("has 256 random bits, a prefix for scanners, and is kept as a hash", () => {
    expect(secret).toMatch(new RegExp(`^${CLIENT_SECRET_PREFIX}[\\w-]{43}$`));
    expect(secretHash).toHaveLength(32);
    expect(createClientSecret(randomBytes).secret).not.toBe(secret);
  });
});

describe("a client", () => {
  it("is known by its name when it is public, by its secret when it is confidential", async () => {
    expect((await authenticate({ id: "app" })).id).toBe("app");
    expect((await authenticate({ id: "bff", secret })).id).toBe("bff");
  });

  it("is looked up once when it is public, and each time when its secret may have been replaced", async () => {
    const asked: string[] = [];
    const ask = createClientAuthentication({
      async find(id) {
        asked.push(id);
        return known.find((each) => each.id === id);
      },
    });
    for (const credentials of [{ id: "app" }, { id: "bff", secret }, { id: "app" }, { id: "bff", secret }])
      await ask(credentials);
    await expect(ask({ id: "app", secret })).rejects.toMatchObject({ reason: "CLIENT_INVALID" });
    expect(asked).toEqual(["app", "bff", "bff", "app"]);
  });

  it.each([
    ["is unknown", { id: "nobody" }],
    ["has a name that no application can have", { id: "App\0" }],
    ["keeps its secret back", { id: "bff" }],
    ["shows a wrong one", { id: "bff", secret: `${secret}x` }],
    ["shows one though it is public", { id: "app", secret }],
  ])("is refused in the same words when it %s", async (_what, credentials) => {
    await expect(authenticate(credentials)).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "CLIENT_INVALID",
      message: "The client is unknown, or its secret is wrong or missing.",
    });
  });
});
