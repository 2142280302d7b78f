/**
 * A form posted by an OAuth client, and the credentials in it (RFC 6749 sections 2.3.1 and 3.2).
 * Only parses: the application feature authenticates the client.
 */
import { AppError } from "@continuo/errors";
import { CLIENT_ASSERTION_TYPE } from "../application/client-assertion.ts";
import { clientInvalid, type ClientCredentials } from "../application/client-authentication.ts";

/** Parameters by name, each at most once. */
export type Form = ReadonlyMap<string, string>;

/**
 * Parses `application/x-www-form-urlencoded`; an empty value counts as absent. Throws
 * BAD_USER_INPUT/PARAMETER_REPEATED.
 */
export function parseForm(text: string): Form {
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(text)) {
    if (form.has(name)) throw new AppError("BAD_USER_INPUT", "PARAMETER_REPEATED", "A parameter is repeated.");
    if (value !== "") form.set(name, value);
  }
  return form;
}

/** A required parameter. Throws BAD_USER_INPUT/PARAMETER_MISSING. */
export function required(form: Form, name: string): string {
  const value = form.get(name);
  if (value !== undefined) return value;
  throw new AppError("BAD_USER_INPUT", "PARAMETER_MISSING", `The parameter ${name} is missing.`);
}

const BASIC = /^Basic +([A-Za-z0-9+/]+=*)$/i;

/**
 * Credentials by client_secret_basic, client_secret_post, private_key_jwt, or client_id alone; undefined when there are none.
 * Throws BAD_USER_INPUT: CLIENT_AUTHENTICATION_AMBIGUOUS when there are two, AUTHORIZATION_INVALID, PARAMETER_MISSING;
 * UNAUTHENTICATED/CLIENT_INVALID for an assertion of another type.
 */
export function credentialsOf(authorization: string | undefined, form: Form): ClientCredentials | undefined {
  const id = form.get("client_id");
  const secret = form.get("client_secret");
  const assertion = assertionOf(form);
  const basic = authorization === undefined ? undefined : fromBasic(authorization);
  const ways = [basic, secret, assertion].filter((way) => way !== undefined).length;
  if (ways > 1 || (basic !== undefined && id !== undefined && id !== basic.id))
    throw new AppError(
      "BAD_USER_INPUT",
      "CLIENT_AUTHENTICATION_AMBIGUOUS",
      "The client authenticates in two ways: use one.",
    );
  if (basic !== undefined) return basic;
  if (assertion !== undefined) return { id, assertion };
  return id === undefined ? undefined : { id, secret };
}

/** RFC 7521 section 4.2: both parameters, or neither. */
function assertionOf(form: Form): string | undefined {
  if (!form.has("client_assertion") && !form.has("client_assertion_type")) return undefined;
  const type = required(form, "client_assertion_type");
  const assertion = required(form, "client_assertion");
  if (type !== CLIENT_ASSERTION_TYPE) throw clientInvalid("an assertion of another type");
  return assertion;
}

/**
 * Id and secret are each form-encoded before joining (RFC 6749 section 2.3.1). Some libraries send public clients with
 * an empty secret.
 */
function fromBasic(authorization: string): ClientCredentials {
  const [, encoded = ""] = BASIC.exec(authorization) ?? [];
  const [, id = "", secret = ""] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, "base64").toString()) ?? [];
  try {
    const [decodedId, decodedSecret] = [id, secret].map((text) => decodeURIComponent(text.replaceAll("+", " ")));
    if (decodedId) return { id: decodedId, secret: decodedSecret || undefined };
  } catch {
    // Malformed percent-encoding.
  }
  throw new AppError("BAD_USER_INPUT", "AUTHORIZATION_INVALID", "Authorization must be Basic, with id and secret.");
}
