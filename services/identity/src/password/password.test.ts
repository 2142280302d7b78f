import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assertAcceptable, Password, PASSWORD_LENGTH } from "./password.ts";

const EMAIL = "ada.lovelace@analytical.example";

describe("a new password", () => {
  test.each([
    ["correct horse battery staple"],
    ["Tr0ub4dor&3 and some more"],
    ["пароль с картошкой и луком"],
    ["🐎🔋📎✅🧀🎻🪐🌋🧭🦉🛶🪁🧵🗿🐙"],
    ["monday michael dragon shadow"],
    ["               x  y  z  q   m   k"],
  ])("may be %j", (password) => {
    expect(() => assertAcceptable(password, EMAIL)).not.toThrow();
  });

  test.each([
    ["fourteen chars", "PASSWORD_TOO_SHORT"],
    ["🐎".repeat(14), "PASSWORD_TOO_SHORT"],
    ["x9".repeat(129), "PASSWORD_TOO_LONG"],
    ["passwordpassword", "PASSWORD_TOO_COMMON"],
    ["PasswordPassword", "PASSWORD_TOO_COMMON"],
    ["ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ", "PASSWORD_TOO_COMMON"],
    ["1qaz2wsx3edc4rfv", "PASSWORD_TOO_COMMON"],
    ["qwertyuiop123456789", "PASSWORD_TOO_COMMON"],
    ["michaelsuperman1", "PASSWORD_TOO_COMMON"],
    ["aaaaaaaaaaaaaaaaaaaa", "PASSWORD_TOO_COMMON"],
    ["abcabcabcabcabcabc", "PASSWORD_TOO_COMMON"],
    ["x7Kq9ZtLx7Kq9ZtLx7K", "PASSWORD_TOO_COMMON"],
    ["abcdefghijklmnopqrs", "PASSWORD_TOO_COMMON"],
    ["98765432109876543", "PASSWORD_TOO_COMMON"],
    ["11111112222222333333", "PASSWORD_TOO_COMMON"],
    ["ada.lovelace@analytical.example", "PASSWORD_TOO_COMMON"],
    ["ada.lovelace123456", "PASSWORD_TOO_COMMON"],
    ["continuopassword", "PASSWORD_TOO_COMMON"],
  ])("is never %j: %s", (password, reason) => {
    expect(() => assertAcceptable(password, EMAIL)).toThrow(
      expect.objectContaining({ code: "BAD_USER_INPUT", reason }),
    );
  });

  test("of random characters is acceptable at any length allowed", () => {
    const character = fc.constantFrom(...Array.from("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.!"));
    const random = fc
      .array(character, { minLength: PASSWORD_LENGTH.min, maxLength: PASSWORD_LENGTH.max })
      .map((characters) => characters.join(""))
      .filter((password) => new Set(password).size >= 10);
    const accepted = fc.property(random, (password) => assertAcceptable(password, EMAIL));
    expect(fc.check(accepted)).toMatchObject({ failed: false });
  });

  test("is kept as received but for its Unicode form: two ways to type an accent agree", () => {
    expect(Password.parse("  cafe\u0301 au lait, s'il vous plai\u0302t ")).toBe(
      Password.parse("  caf\u00e9 au lait, s'il vous pla\u00eet "),
    );
    expect(Password.parse("  Kept  As It Is  ")).toBe("  Kept  As It Is  ");
  });

  test("that is not well-formed Unicode is refused, since two such would count as one", () => {
    expect(Password.safeParse("half a surrogate \ud800 here").success).toBe(false);
  });
});
