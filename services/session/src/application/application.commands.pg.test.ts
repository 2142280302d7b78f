import { generateKey } from "@continuo/access";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { operate, type Outcome } from "../operator.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const continuo = (...argv: string[]): Promise<Outcome> => operate(system, ...argv);

describe("an operator", () => {
  it("registers an application and gives it new secrets", async () => {
    const added = await continuo("applications", "add", "orders", "--name", "Orders", "--confidential");
    expect(added).toMatchObject({ code: 0, value: { id: "orders", isConfidential: true, secret: expect.any(String) } });
    expect(await continuo("applications", "rotate-secret", "orders")).toMatchObject({ code: 3 });
    expect(await continuo("applications", "rotate-secret", "orders", "--yes")).toMatchObject({
      code: 0,
      value: { secret: expect.stringMatching(/^cnt_cs_/) },
    });
    const uri = "https://orders.example/logout";
    expect((await continuo("applications", "set-logout-uri", "orders", uri)).code).toBe(0);
    expect((await continuo("applications", "list")).value).toContainEqual(
      expect.objectContaining({ id: "orders", backchannelLogoutUri: uri }),
    );
    expect((await continuo("applications", "set-logout-uri", "orders")).code).toBe(0);
    expect(await continuo("applications", "add", "Orders!", "--name", "x")).toMatchObject({ code: 2 });
    expect(await continuo("applications", "add", "spa", "--name", "x", "--may-introspect")).toMatchObject({ code: 2 });
  });

  it("hears from a dry run what the command itself would say", async () => {
    await continuo("applications", "add", "twice", "--name", "Twice", "--confidential");
    await continuo("applications", "add", "open", "--name", "Open");
    for (const [reason, ...argv] of [
      ["APPLICATION_EXISTS", "add", "twice", "--name", "Twice"],
      ["APPLICATION_NOT_FOUND", "rotate-secret", "nobody"],
      ["APPLICATION_PUBLIC", "rotate-secret", "open"],
      ["APPLICATION_NOT_FOUND", "set-logout-uri", "nobody", "https://nobody.example/logout"],
    ] as const) {
      const refused = { code: 1, said: expect.stringContaining(reason) };
      expect(await continuo("applications", ...argv, "--dry-run")).toMatchObject(refused);
      expect(await continuo("applications", ...argv, "--yes")).toMatchObject(refused);
    }
    const dry = await continuo("applications", "rotate-secret", "twice", "--dry-run");
    expect(dry).toMatchObject({ code: 0, value: { id: "twice", dryRun: true } });
    const uri = "https://twice.example/logout";
    await continuo("applications", "set-logout-uri", "twice", uri, "--dry-run");
    expect((await continuo("applications", "list")).value).toContainEqual(
      expect.objectContaining({ id: "twice", backchannelLogoutUri: null }),
    );
  });

  it("registers an application by its keys, and replaces those, and a secret by keys, when they mean it", async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "continuo-keys-"));
    const file = async (name: string, ...jwks: object[]): Promise<string> => {
      await writeFile(join(folder.path, name), JSON.stringify({ keys: jwks }));
      return join(folder.path, name);
    };
    const [former, next] = await Promise.all([generateKey("ES256"), generateKey("Ed25519")]);
    const [kid, nextKid] = [former.publicJwk.kid, next.publicJwk.kid];
    const one = await file("one", former.publicJwk);
    const both = await file("both", former.publicJwk, next.publicJwk);
    const other = await file("other", next.publicJwk);
    const add = ["applications", "add", "billing", "--name", "Billing", "--keys", one];
    expect(await continuo(...add, "--dry-run")).toMatchObject({ code: 0, value: { keyIds: [kid], dryRun: true } });
    const { code, value } = await continuo(...add);
    expect([code, value]).toEqual([0, expect.objectContaining({ isConfidential: true, keyIds: [kid] })]);
    expect(value).not.toHaveProperty("secret");
    for (const how of ["--yes", "--dry-run"])
      expect(await continuo("applications", "rotate-secret", "billing", how)).toMatchObject({ code: 1 });

    const set = (...argv: string[]): Promise<Outcome> => continuo("applications", "set-keys", "billing", ...argv);
    expect(await set(both)).toMatchObject({ code: 0, value: { added: [nextKid], removed: [] } });
    expect(await set(other, "--dry-run")).toMatchObject({ code: 0, value: { removed: [kid], dryRun: true } });
    expect(await set(other)).toMatchObject({ code: 3 });
    expect(await set(other, "--yes")).toMatchObject({ code: 0, value: { keyIds: [nextKid], removed: [kid] } });

    await continuo("applications", "add", "shop", "--name", "Shop", "--confidential");
    expect(await continuo("applications", "set-keys", "shop", one)).toMatchObject({ code: 3 });
    const replaced = { code: 0, value: { replacesSecret: true } };
    expect(await continuo("applications", "set-keys", "shop", one, "--yes")).toMatchObject(replaced);

    const private_ = await set(await file("private", former.privateJwk));
    expect(private_).toMatchObject({ code: 2, said: expect.stringContaining("keys.0: is a private key") });
    expect(await set(join(folder.path, "none"))).toMatchObject({ code: 2, said: expect.stringContaining("cannot be") });
  });
});
