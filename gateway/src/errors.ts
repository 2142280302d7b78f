/**
 * The shape of every error that leaves the gateway: code, reason, details, request id; the same over HTTP and
 * WebSocket. Anything that is neither our own error nor graphql's complaint about the request is a bug: masked here,
 * logged where it occurs.
 */
import { SIGNATURE_ALGORITHMS } from "@continuo/access";
import { AppError, type ErrorCode, HTTP_STATUS, isAppError } from "@continuo/errors";
import { GraphQLError, type GraphQLFormattedError } from "graphql";
import { isErrorCode, longestRetryAfterMs, UNEXPECTED } from "./subgraph/subgraph-error.ts";

/** Formats an error for its client. */
export function formatGraphQLError(error: GraphQLError, requestId: string): GraphQLFormattedError {
  const { message, path, locations, extensions } = error;
  const place = { ...(path && { path }), ...(locations && { locations }) };
  const cause = causeOf(error);
  if (isAppError(cause)) return { message: cause.message, ...place, extensions: extensionsOf(cause, requestId) };
  const { code, reason, details } = extensions;
  if (isErrorCode(code) && typeof reason === "string")
    return { message, ...place, extensions: { code, reason, ...(details !== undefined && { details }), requestId } };
  return { message: UNEXPECTED.message, ...place, extensions: { ...UNEXPECTED.extensions, requestId } };
}

/** Formats several errors. */
export function formatGraphQLErrors(errors: readonly GraphQLError[], requestId: string): GraphQLFormattedError[] {
  return errors.map((error) => formatGraphQLError(error, requestId));
}

/** The error that was originally thrown. */
export function causeOf(error: GraphQLError): unknown {
  return error.originalError ?? error;
}

/** An AppError as a GraphQLError. */
export function toGraphQLError(error: AppError): GraphQLError {
  const { code, reason, details } = error;
  return new GraphQLError(error.message, {
    originalError: error,
    extensions: { code, reason, ...(details && { details }) },
  });
}

/** The error for a session that has ended. */
export function sessionEnded(endReason: string): AppError {
  return new AppError("UNAUTHENTICATED", "SESSION_ENDED", "The session has ended.", { details: { endReason } });
}

/** The HTTP status and headers of an error that ends a whole operation. */
export interface HttpHead {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
}

const heads = new WeakMap<GraphQLError, HttpHead>();

/** The error's HTTP status and headers; undefined for an error of an operation that ran. */
export function headOf(error: GraphQLError): HttpHead | undefined {
  return heads.get(error);
}

function withHead(error: GraphQLError, head: HttpHead): GraphQLError {
  heads.set(error, head);
  return error;
}

/** A request that is itself at fault; HTTP 400 unless `head` says otherwise. */
export function requestFault(reason: string, message: string, head: HttpHead = { status: 400 }): GraphQLError {
  return withHead(new GraphQLError(message, { extensions: { code: "BAD_USER_INPUT", reason } }), head);
}

/** graphql's messages repeat names and whole values, which may be as long as the request. */
const LONGEST_FAULT = 1_000;

/** graphql's own error about a request, with our reason: HTTP 400. */
export function asFault(reason: string, error: GraphQLError): GraphQLError {
  const { nodes, source, positions } = error;
  const message = error.message.length > LONGEST_FAULT ? `${error.message.slice(0, LONGEST_FAULT)}…` : error.message;
  const place = { nodes: nodes ?? null, source: source ?? null, positions: positions ?? null };
  const extensions = { code: "BAD_USER_INPUT", reason };
  return withHead(new GraphQLError(message, { ...place, extensions }), { status: 400 });
}

/**
 * An AppError that ends a whole operation, with its HTTP status and challenge. `isBound`: the caller's token is bound
 * to a key.
 */
export function operationRefused(error: AppError, isBound = false): GraphQLError {
  return withHead(toGraphQLError(error), { status: HTTP_STATUS[error.code], headers: challenge(error, isBound) });
}

/** The response to an HTTP request that failed before or outside GraphQL. */
export interface HttpFault {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly errors: readonly GraphQLFormattedError[] };
}

/** Converts anything thrown into that response. `authorization` is the request's header. */
export function toHttpFault(thrown: unknown, requestId: string, authorization?: string): HttpFault {
  const error = isAppError(thrown) ? thrown : fromFramework(thrown);
  const body = { errors: [{ message: error.message, extensions: extensionsOf(error, requestId) }] };
  const headers = { ...challenge(error, /^dpop /i.test(authorization ?? "")), ...retryAfter(error.details) };
  return { status: statusOf(thrown, error), headers, body };
}

/** The Retry-After header, if the details have `retryAfterMs`. */
export function retryAfter(details: AppError["details"]): Record<string, string> {
  const retryAfterMs = longestRetryAfterMs([{ extensions: { details } }]);
  return retryAfterMs > 0 ? { "retry-after": toSeconds(retryAfterMs) } : {};
}

/** Milliseconds as a `Retry-After` value (RFC 9110 section 10.2.3): whole seconds, rounded up. */
export function toSeconds(ms: number): string {
  return String(Math.ceil(ms / 1_000));
}

function statusOf(thrown: unknown, error: AppError): number {
  return isAppError(thrown) ? HTTP_STATUS[error.code] : frameworkStatus(thrown);
}

/**
 * The WWW-Authenticate challenge for a faulty token, proof or sign-in: RFC 6750 section 3, RFC 9449 sections 7.1 and 9,
 * RFC 9470 section 3.
 */
function challenge({ code, reason, message, details }: AppError, isBound: boolean): Record<string, string> {
  const error = challengeOf(code, reason);
  if (error === undefined) return {};
  const algorithms = `algs="${SIGNATURE_ALGORITHMS.join(" ")}"`;
  if (reason === "SIGN_IN_REQUIRED") return { "www-authenticate": `Bearer, DPoP ${algorithms}` };
  const isDpop = isBound || reason.startsWith("DPOP_");
  const parameters = [
    `error="${error}"`,
    `error_description="${message.replaceAll(/["\\]/g, "'")}"`,
    ...parametersOf(details),
    ...(isDpop ? [algorithms] : []),
  ];
  return { "www-authenticate": `${isDpop ? "DPoP" : "Bearer"} ${parameters.join(", ")}` };
}

function challengeOf(code: ErrorCode, reason: string): string | undefined {
  if (code === "STEP_UP_REQUIRED") return "insufficient_user_authentication";
  if (code === "UNAUTHENTICATED") return PROOF_ERRORS[reason] ?? "invalid_token";
  return reason === "INSUFFICIENT_SCOPE" ? "insufficient_scope" : undefined;
}

function parametersOf({ scope, acrValues, maxAge }: Readonly<Record<string, unknown>> = {}): string[] {
  return [
    ...(typeof scope === "string" ? [`scope="${scope}"`] : []),
    ...(Array.isArray(acrValues) && acrValues.length > 0 ? [`acr_values="${acrValues.join(" ")}"`] : []),
    ...(typeof maxAge === "number" ? [`max_age="${maxAge}"`] : []),
  ];
}

const PROOF_ERRORS: Readonly<Record<string, string>> = {
  DPOP_PROOF_INVALID: "invalid_dpop_proof",
  DPOP_NONCE_REQUIRED: "use_dpop_nonce",
};

function fromFramework(thrown: unknown): AppError {
  const status = frameworkStatus(thrown);
  if (status === 413) return new AppError("BAD_USER_INPUT", "BODY_TOO_LARGE", "The request is larger than 1 MiB.");
  if (status < 500) return new AppError("BAD_USER_INPUT", "REQUEST_INVALID", "The request is not valid.");
  return new AppError("INTERNAL_SERVER_ERROR", "UNEXPECTED", UNEXPECTED.message, { cause: thrown });
}

function frameworkStatus(thrown: unknown): number {
  const status =
    typeof thrown === "object" && thrown !== null && "statusCode" in thrown ? thrown.statusCode : undefined;
  return typeof status === "number" && status >= 400 && status < 600 ? status : 500;
}

function extensionsOf({ code, reason, details }: AppError, requestId: string): Record<string, unknown> {
  return { code, reason, ...(details && { details }), requestId };
}
