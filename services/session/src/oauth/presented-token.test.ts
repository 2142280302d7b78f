import { AppError } from "@continuo/errors";
import { expect, it } from "vitest";
import { createPresentedTokens } from "./presented-token.ts";

it("a token that cannot be judged for want of keys is not taken for a bad one", async () => {
  const away = new AppError("UNAVAILABLE", "KEYS_UNAVAILABLE", "The signing keys cannot be read right now.");
  const bad = new AppError("UNAUTHENTICATED", "TOKEN_INVALID", "The access token is not valid.");
  const tokens = createPresentedTokens({
    accessTokens: { verify: (token) => Promise.reject(token === "bad" ? bad : away) },
    refreshTokens: { decode: () => undefined },
    grants: { read: async () => undefined, sessionOf: async () => undefined },
    now: () => new Date(),
  });
  expect(await tokens.read("bad")).toBeUndefined();
  await expect(tokens.read("any")).rejects.toBe(away);
});
