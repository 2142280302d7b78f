/**
 * A form that an OAuth client posts, and who the client says it is (RFC 6749 sections 2.3.1 and 3.2).
 * It judges the form alone: whether the client is who it says is the application's to know.
 */
import { AppError } from "@continuo/errors";
import type { ClientCredentials } from "../application/application.ts";

/** Parameters by name, each at most once. */
export type Form = ReadonlyMap<string, string>;

/** Reads `application/x-www-form-urlencoded`; an empty value counts as none. Throws BAD_USER_INPUT/PARAMETER_REPEATED. */
export function parseForm(text: string): Form {
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(text)) {
    if (form.has(name)) throw new AppError("BAD_USER_INPUT", "PARAMETER_REPEATED", "A parameter is there twice.");
    if (value !== "") form.set(name, value);
  }
  return form;
}

/** A parameter that must be there. Throws BAD_USER_INPUT/PARAMETER_MISSING. */
export function required(form: Form, name: string): string {
  const value = form.get(name);
  if (value !== undefined) return value;
  throw new AppError("BAD_USER_INPUT", "PARAMETER_MISSING", `The parameter ${name} is missing.`);
}

const BASIC = /^Basic +([A-Za-z0-9+/]+=*)$/i;

/**
 * Credentials by client_secret_basic, client_secret_post, or client_id alone. Throws BAD_USER_INPUT:
 * CLIENT_AUTHENTICATION_AMBIGUOUS when there are two, AUTHORIZATION_INVALID; undefined when there are none.
 */
export function credentialsOf(authorization: string | undefined, form: Form): ClientCredentials | undefined {
  const id = form.get("client_id");
  const secret = form.get("client_secret");
  if (authorization === undefined) return id === undefined ? undefined : { id, secret };
  const basic = fromBasic(authorization);
  if (secret === undefined && (id === undefined || id === basic.id)) return basic;
  throw new AppError("BAD_USER_INPUT", "CLIENT_AUTHENTICATION_AMBIGUOUS", "The client authenticates in two ways.");
}

/** Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1). */
function fromBasic(authorization: string): ClientCredentials {
  const [, encoded = ""] = BASIC.exec(authorization) ?? [];
  const [, id = "", secret = ""] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, "base64").toString()) ?? [];
  try {
    const [decodedId, decodedSecret] = [id, secret].map((text) => decodeURIComponent(text.replaceAll("+", " ")));
    if (decodedId) return { id: decodedId, secret: decodedSecret };
  } catch {
    // A percent sign that encodes nothing.
  }
  throw new AppError("BAD_USER_INPUT", "AUTHORIZATION_INVALID", "Authorization must be Basic, with id and secret.");
}
