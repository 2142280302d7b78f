import type { Caller } from "@continuo/access";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createUsers, Email, type User } from "./user.ts";

describe("an e-mail address", () => {
  test.each([
    [" Ada@Example.COM ", "ada@example.com"],
    ["ÅSA@bücher.example", "åsa@bücher.example"],
    ["cafe\u0301@example.com", "caf\u00e9@example.com"],
    ["o'brien+films@example.co.uk", "o'brien+films@example.co.uk"],
  ])("%j is understood as %j", (given, understood) => {
    expect(Email.parse(given)).toBe(understood);
  });

  test.each([
    "",
    "ada",
    "@example.com",
    "ada@",
    "a da@example.com",
    "ada@example.com\u0000",
    "a\u200bda@example.com",
    "ada@b@example.com",
    `${"x".repeat(65)}@example.com`,
    `ada@${"x".repeat(260)}`,
  ])("%j is none", (given) => {
    expect(Email.safeParse(given).success).toBe(false);
  });

  test("understood once means the same when understood again", () => {
    const understood = fc
      .string({ unit: "grapheme" })
      .map((local) => Email.safeParse(`${local}@example.com`))
      .filter(({ success }) => success);
    const again = fc.property(understood, ({ data }) => Email.parse(data) === data);
    expect(fc.check(again)).toMatchObject({ failed: false });
  });
});

describe("a person", () => {
  const ada: User = { id: "0199a1c2-0000-7000-8000-000000000001", email: "ada@example.com", createdAt: new Date(0) };
  const store = () => {
    const asked: string[] = [];
    return { asked, loadUser: async (id: string) => (asked.push(id), id === ada.id ? ada : null) };
  };
  const caller = (userId: string): Caller => ({
    kind: "viewer",
    viewer: {
      userId,
      sessionId: "s",
      deviceId: "d",
      applicationId: "continuo",
      acr: "aal1",
      amr: ["pwd"],
      authTime: 0,
    },
  });

  test("reads themself, however often, at the price of once", async () => {
    const people = store();
    const users = createUsers(people, caller(ada.id));
    const found = await Promise.all([users.me(), users.find(ada.id), users.find(ada.id)]);
    expect(found).toEqual([ada, ada, ada]);
    expect(people.asked).toEqual([ada.id]);
  });

  test("cannot read another, and nobody is asked about it", async () => {
    const people = store();
    expect(await createUsers(people, caller("0199a1c2-0000-7000-8000-000000000002")).find(ada.id)).toBeNull();
    expect(await createUsers(people, { kind: "anonymous" }).find(ada.id)).toBeNull();
    expect(await createUsers(people, { kind: "anonymous" }).me()).toBeNull();
    expect(await createUsers(people, { kind: "service", name: "gateway" }).find(ada.id)).toBeNull();
    expect(people.asked).toEqual([]);
  });
});
