import type { ErrorCode } from "./codes.ts";

/** `details` are shown to the client; `cause` only goes to the log. */
export interface AppErrorOptions {
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/**
 * The one error that may reach a client. `code` says how to react, `reason` (UPPER_SNAKE) which case it is.
 * The message is written for the client: never SQL, a token or a stack trace.
 */
export class AppError extends Error {
  override readonly name = "AppError";
  readonly code: ErrorCode;
  readonly reason: string;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, reason: string, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.reason = reason;
    this.details = options.details;
  }
}

/** Whether something thrown is an AppError. */
export function isAppError(thrown: unknown): thrown is AppError {
  return thrown instanceof AppError;
}
