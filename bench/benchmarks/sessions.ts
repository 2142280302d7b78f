/**
 * The everyday work of a session engine, beside what people run instead (better-auth and oidc-provider on the same
 * Postgres, express-session on Redis, each set up for speed as its own documentation says) and beside the floor.
 */
import { openContender, type Contender, type ContenderOptions, type Effort } from "../contender.ts";
import { wireRequest } from "../drivers/graphql-client.ts";
import type { HttpRequest } from "../peers/peer.ts";
import type { Subject } from "../subject.ts";

/** What opening a benchmark needs. */
export interface Opening {
  readonly subject: Subject;
  readonly effort: Effort;
  readonly stack: AsyncDisposableStack;
}

/** A contender that answers HTTP requests; its CPU time is that of `processes`. */
interface HttpContender {
  readonly name: string;
  readonly origin: string;
  readonly processes: NonNullable<ContenderOptions["processes"]>;
}

/** Repeats the same requests for the whole turn. */
export async function openRepeated(
  { subject, effort, stack }: Opening,
  { name, origin, processes, requests }: HttpContender & { readonly requests: readonly HttpRequest[] },
): Promise<Contender> {
  const bound = { seconds: effort.seconds };
  const options = { origin, requests };
  return stack.use(
    await openContender(subject, { name, driver: "http", options, workers: effort.workers, bound, processes }),
  );
}

/** Requests that take effect only once: `supply` makes as many as a turn needs. */
export async function openOnce(
  { subject, effort, stack }: Opening,
  contender: HttpContender & { readonly supply: () => Promise<readonly HttpRequest[]> },
): Promise<Contender> {
  const { name, origin, processes, supply } = contender;
  const { workers } = effort;
  const bound = { operations: OPERATIONS_ONCE };
  return stack.use(
    await openContender(subject, { name, driver: "http-once", options: { origin }, workers, bound, processes, supply }),
  );
}

/** Operations per turn that cannot be repeated: about a second's worth, so that the aftermath of a revocation counts too. */
export const OPERATIONS_ONCE = 1_600;

/** A GraphQL operation as an HTTP request to `/graphql`; the answer must contain `expect`. */
export function graphqlRequest(
  operation: { readonly name: string; readonly query: string },
  variables: Readonly<Record<string, unknown>>,
  { accessToken, expect }: { accessToken?: string; expect: string },
): HttpRequest {
  const { body, authorization } = wireRequest(operation, variables, accessToken);
  const headers = { "content-type": "application/json", ...(authorization && { authorization }) };
  return { method: "POST", path: "/graphql", headers, body, expect };
}
