import { describe, expect, it } from "vitest";
import { credentialsOf, parseForm, required } from "./client-request.ts";

const form = (text: string): ReturnType<typeof parseForm> => parseForm(text);
const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

describe("a form", () => {
  it("has each parameter once; without a value it is not there (RFC 6749 section 3.2)", () => {
    expect(required(form("a=1&b=%2B+"), "b")).toBe("+ ");
    expect(() => form("a=1&a=1")).toThrow("repeated");
    expect(() => required(form("a="), "a")).toThrow("a is missing");
  });
});

const type = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

describe("a client's credentials", () => {
  it.each([
    ["none", undefined, "", undefined],
    ["a name alone", undefined, "client_id=app", { id: "app" }],
    ["in the form", undefined, "client_id=app&client_secret=s", { id: "app", secret: "s" }],
    ["in the header", basic("app:s"), "", { id: "app", secret: "s" }],
    ["in the header, a name alone", basic("app:"), "", { id: "app", secret: undefined }],
    ["in the header, encoded as forms are", basic("a%3Ab:s%25%2B+"), "", { id: "a:b", secret: "s%+ " }],
    ["in the header, the name in the form too", basic("app:s"), "client_id=app", { id: "app", secret: "s" }],
    ["an assertion", undefined, `${type}&client_assertion=a.b.c`, { id: undefined, assertion: "a.b.c" }],
    ["an assertion and a name", undefined, `${type}&client_assertion=a&client_id=app`, { id: "app", assertion: "a" }],
    ["in the header, with a colon in the secret", basic("app:s:t"), "", { id: "app", secret: "s:t" }],
  ])("are found: %s", (_what, authorization, text, expected) => {
    expect(credentialsOf(authorization, form(text))).toEqual(expected);
  });

  it("are refused for an assertion of another type", () => {
    const saml = form(
      "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer&client_assertion=a",
    );
    expect(() => credentialsOf(undefined, saml)).toThrow(expect.objectContaining({ reason: "CLIENT_INVALID" }));
  });

  it.each([
    ["two ways at once", basic("app:s"), "client_id=app&client_secret=s"],
    ["a secret and an assertion", undefined, `client_id=app&client_secret=s&${type}&client_assertion=a`],
    ["the header and an assertion", basic("app:s"), `${type}&client_assertion=a`],
    ["an assertion of no type", undefined, "client_assertion=a"],
    ["a type without an assertion", undefined, type],
    ["two names", basic("app:s"), "client_id=other"],
    ["another scheme", "Bearer token", ""],
    ["no name", basic(":s"), ""],
    ["not base64", "Basic %%%", ""],
    ["a percent sign that encodes nothing", basic("app:%"), ""],
  ])("are refused: %s", (_what, authorization, text) => {
    expect(() => credentialsOf(authorization, form(text))).toThrow(expect.objectContaining({ code: "BAD_USER_INPUT" }));
  });
});
