/** Replacing the master key while people are signed in, with processes from before, during and after side by side. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { faultOf, SignedIn, tokensIn, type Graph } from "../person.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";
import { startWorkers } from "../worker-app.ts";
import { WEBHOOK_SEAL } from "../webhook/webhook.ts";
import { WorkerEnv } from "../env.ts";
import { createSeal } from "./seal.ts";
import { createRefreshTokenCodec } from "../token/refresh-token.ts";

let system: System;
/** `between` has the new key only as its second; `after` uses it as its current key. */
let between: Graph;
let after: Graph;
let former: Buffer<ArrayBuffer>;
let fresh: Buffer<ArrayBuffer>;

beforeAll(async () => {
  system = await startSystem();
  former = system.env.MASTER_KEY[0];
  const { currentKeyId } = createRefreshTokenCodec([former]);
  do fresh = randomBytes(32);
  while (createRefreshTokenCodec([fresh]).currentKeyId === currentKeyId);
  between = await system.replica({ MASTER_KEY: [former, fresh] });
  after = await system.replica({ MASTER_KEY: [fresh, former] });
});
afterAll(async () => system[Symbol.asyncDispose]());

async function keyIdOf({ viewer }: SignedIn): Promise<number | undefined> {
  const sql = "SELECT key_id AS id FROM session.grants WHERE session_id = $1";
  return (await system.admin.query<{ id: number }>(sql, [viewer.sessionId])).rows[0]?.id;
}

describe("the master key", () => {
  it("is replaced without signing anybody out, and a session goes over when it is refreshed", async () => {
    const laptop = await system.person().signIn();
    const afterwards = new SignedIn(after, laptop.tokens);
    expect(await keyIdOf(laptop)).toBe(createRefreshTokenCodec([former]).currentKeyId);
    const second = await afterwards.refresh();
    expect(await keyIdOf(laptop)).toBe(createRefreshTokenCodec([fresh]).currentKeyId);
    const third = await new SignedIn(between, laptop.tokens).refresh(second.refreshToken);
    expect(faultOf(await afterwards.tryRefresh(third.refreshToken))).toBeUndefined();
  });

  it("may change between a refresh and its repeat: the successor is the same", async () => {
    const laptop = await system.person().signIn();
    const [here, there] = [new SignedIn(between, laptop.tokens), new SignedIn(after, laptop.tokens)];
    const answers = await Promise.all([here, there, here, there].map((process) => process.tryRefresh()));
    expect(new Set(answers.map((answer) => tokensIn(answer).refreshToken)).size).toBe(1);
  });

  it("leaves reuse found, whichever process it comes to", async () => {
    const laptop = await system.person().signIn();
    const second = await new SignedIn(after, laptop.tokens).refresh();
    await new SignedIn(between, laptop.tokens).refresh(second.refreshToken);
    expect(faultOf(await laptop.tryRefresh())).toBe("UNAUTHENTICATED REFRESH_TOKEN_REUSED");
  });

  it("is replaced under webhooks' secrets too when a worker starts with the new one in front", async () => {
    const id = "01a22e16-c4e2-76a6-aa51-85dff4910994";
    const sealOf = (...masterKeys: [Buffer, ...Buffer[]]) =>
      createSeal({ masterKeys, purpose: WEBHOOK_SEAL, randomBytes });
    // The second is on its way out: messages are signed with it until its receiver has the first.
    const secrets = [randomBytes(32), randomBytes(32)];
    await system.admin.query(
      `INSERT INTO session.webhooks (id, url, sealed_secret, former_sealed_secret, former_until, created_at)
       VALUES ($1, 'https://example.com', $2, $3, now() + interval '1 day', now())`,
      [id, ...secrets.map((secret) => sealOf(former).close(secret, id))],
    );
    const env = WorkerEnv.parse({
      JOBS: "deliver-notices",
      TOKEN_ISSUER: "https://example.com",
      LOG_LEVEL: "silent",
      DATABASE_URL: system.env.DATABASE_URL,
      MASTER_KEY: [fresh, former].map((key) => key.toString("base64url")).join(),
    });
    await using _ = await startWorkers(env);
    const { rows } = await system.admin.query<{ sealed: Buffer[] }>(
      "SELECT ARRAY[sealed_secret, former_sealed_secret] AS sealed FROM session.webhooks WHERE id = $1",
      [id],
    );
    expect(rows[0]?.sealed.map((sealed) => sealOf(fresh).open(sealed, id))).toEqual(secrets);
  });

  it("is no longer good once it is not among them, and neither process nor worker starts that cannot open the signing key", async () => {
    const laptop = await system.person().signIn();
    const { refreshToken } = await new SignedIn(after, laptop.tokens).refresh();
    expect(faultOf(await laptop.tryRefresh(refreshToken))).toBe("UNAUTHENTICATED REFRESH_TOKEN_INVALID");
    const refusal = { code: "E_MASTER_KEY", message: expect.stringContaining("MASTER_KEY does not open") };
    await expect(system.replica({ MASTER_KEY: [fresh] })).rejects.toMatchObject(refusal);
    const env = WorkerEnv.parse({
      JOBS: "retain",
      LOG_LEVEL: "silent",
      DATABASE_URL: system.env.DATABASE_URL,
      MASTER_KEY: fresh.toString("base64url"),
    });
    await expect(startWorkers(env)).rejects.toMatchObject(refusal);
  });
});
