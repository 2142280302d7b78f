/** Tells an unavailable dependency from a bug of ours, by the codes of Node, Postgres and Prisma. */
import { z } from "zod";

/** Node's codes for a connection that could not be made, or that broke. */
const CONNECTION = /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/;
/**
 * SQLSTATE: connection exceptions; no disk, memory or connection left; shutting down, starting up; and what may succeed
 * on a retry: serialization failure, deadlock, lock timeout, cancelled or timed-out statement.
 */
const SQLSTATE = /^(08...|40001|40P01|53...|55P03|57014|57P0[123])$/;
/** Prisma: unreachable, timed out, connection closed, no free connection. */
const PRISMA = /^P(1001|1002|1008|1017|2024)$/;
/** Errors that `pg` throws without a code. */
const WORDS =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;
/** Prisma's driver adapters, by kind. */
const KIND = /^(DatabaseNotReachable|ConnectionClosed|SocketTimeout|TooManyConnections)$/;

const Fault = z.looseObject({
  code: z.string().optional().catch(undefined),
  originalCode: z.string().optional().catch(undefined),
  kind: z.string().optional().catch(undefined),
  message: z.string().catch(""),
  cause: z.unknown().optional(),
  errors: z.array(z.unknown()).catch([]),
  meta: z.looseObject({ driverAdapterError: z.unknown().optional() }).optional().catch(undefined),
});

const DEEPEST = 5;

/** Whether `thrown`, or what caused it, says that a dependency cannot be reached. */
export function isOutage(thrown: unknown, depth = 0): boolean {
  if (typeof thrown !== "object" || thrown === null || depth > DEEPEST) return false;
  const { success, data } = Fault.safeParse({ ...thrown, ...namedOf(thrown) });
  if (!success) return false;
  const codes = [data.code, data.originalCode].filter((code) => code !== undefined);
  if (codes.some((code) => CONNECTION.test(code) || SQLSTATE.test(code) || PRISMA.test(code))) return true;
  if (WORDS.test(data.message) || (data.kind !== undefined && KIND.test(data.kind))) return true;
  return [data.cause, data.meta?.driverAdapterError, ...data.errors].some((inner) => isOutage(inner, depth + 1));
}

/** Properties of errors that are not enumerable. */
function namedOf(thrown: object): Record<string, unknown> {
  if (!(thrown instanceof Error)) return {};
  const errors = thrown instanceof AggregateError ? { errors: thrown.errors } : {};
  return { message: thrown.message, cause: thrown.cause, ...errors };
}
