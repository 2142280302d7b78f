import { describe, expect, it } from "vitest";
import { credentialsOf, parseForm, required } from "./client-request.ts";

const form = (text: string): ReturnType<typeof parseForm> => parseForm(text);
const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

describe("a form", () => {
  it("has each parameter once; without a value it is not there (RFC 6749 section 3.2)", () => {
    expect(required(form("a=1&b=%2B+"), "b")).toBe("+ ");
    expect(() => form("a=1&a=1")).toThrow("twice");
    expect(() => required(form("a="), "a")).toThrow("a is missing");
  });
});

describe("a client's credentials", () => {
  it.each([
    ["none", undefined, "", undefined],
    ["a name alone", undefined, "client_id=app", { id: "app" }],
    ["in the form", undefined, "client_id=app&client_secret=s", { id: "app", secret: "s" }],
    ["in the header", basic("app:s"), "", { id: "app", secret: "s" }],
    ["in the header, encoded as forms are", basic("a%3Ab:s%25%2B+"), "", { id: "a:b", secret: "s%+ " }],
    ["in the header, the name in the form too", basic("app:s"), "client_id=app", { id: "app", secret: "s" }],
    ["in the header, with a colon in the secret", basic("app:s:t"), "", { id: "app", secret: "s:t" }],
  ])("are found: %s", (_what, authorization, text, expected) => {
    expect(credentialsOf(authorization, form(text))).toEqual(expected);
  });

  it.each([
    ["two ways at once", basic("app:s"), "client_id=app&client_secret=s"],
    ["two names", basic("app:s"), "client_id=other"],
    ["another scheme", "Bearer token", ""],
    ["no name", basic(":s"), ""],
    ["not base64", "Basic %%%", ""],
    ["a percent sign that encodes nothing", basic("app:%"), ""],
  ])("are refused: %s", (_what, authorization, text) => {
    expect(() => credentialsOf(authorization, form(text))).toThrow(expect.objectContaining({ code: "BAD_USER_INPUT" }));
  });
});
