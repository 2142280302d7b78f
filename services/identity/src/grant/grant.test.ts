import { createGrantSigner, createGrantVerifier, generateKey } from "@continuo/access";
import { v7 as newId } from "uuid";
import { expect, test } from "vitest";
import { createGrants } from "./grant.ts";

test("a grant says who authenticated how and when, and lasts a minute", async () => {
  const { publicJwk, privateJwk } = await generateKey("Ed25519");
  const [userId, jti] = [newId(), newId()];
  const now = new Date("2026-11-24T06:00:00.900Z");
  const issued = await createGrants(createGrantSigner(privateJwk), () => jti).issue(
    { userId, epoch: 2, acr: "aal1", amr: ["pwd"] },
    now,
  );
  const claims = await createGrantVerifier(publicJwk).verify(issued.grant, now);
  expect(claims).toMatchObject({ jti, sub: userId, epoch: 2, acr: "aal1", amr: ["pwd"], auth_time: 1_795_500_000 });
  expect(issued.expiresAt).toEqual(new Date("2026-11-24T06:01:00.000Z"));
  expect(claims.exp * 1000).toBe(issued.expiresAt.getTime());
});
