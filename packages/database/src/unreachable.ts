import { SetupError } from "./setup-error.ts";

/** Says why the database at `url` cannot be reached, without its password: SetupError E_DB_UNREACHABLE. */
export function databaseUnreachable(url: string, cause: unknown): SetupError {
  const { host, pathname } = new URL(url);
  const why = cause instanceof AggregateError ? cause.errors.map(String).join("; ") : String(cause);
  return new SetupError(
    "E_DB_UNREACHABLE",
    `The database ${pathname.slice(1)} on ${host} cannot be reached: ${why.replace(/^(\w*[eE]rror: )+/, "")}.`,
    "Check that the server runs there, and user, password and database name in DATABASE_URL.",
    cause,
  );
}
