import { SetupError } from "./setup-error.ts";

/** Says why the database at `url` cannot be reached, without its password: SetupError E_DB_UNREACHABLE. */
export function databaseUnreachable(url: string, cause: unknown): SetupError {
  const { host, pathname } = new URL(url);
  return new SetupError(
    "E_DB_UNREACHABLE",
    `The database ${pathname.slice(1)} on ${host} cannot be reached: ${whyOf(cause)}.`,
    "Check that the server runs there, and user, password and database name in DATABASE_URL.",
    cause,
  );
}

/** Says why the Redis at `url` cannot be reached, without its password: SetupError E_REDIS_UNREACHABLE. */
export function redisUnreachable(url: string, cause: unknown): SetupError {
  return new SetupError(
    "E_REDIS_UNREACHABLE",
    `Redis on ${new URL(url).host} cannot be reached: ${whyOf(cause)}.`,
    "Check that the server runs there, and host, port and password in REDIS_URL.",
    cause,
  );
}

function whyOf(cause: unknown): string {
  const why = cause instanceof AggregateError ? cause.errors.map(String).join("; ") : String(cause);
  return why.replace(/^(\w*[eE]rror: )+/, "");
}
