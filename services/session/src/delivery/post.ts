/** One POST to a foreign address: bounded in time and size, to permitted addresses only, following no redirects. */
import { lookup, type LookupAddress, type LookupAllOptions } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { Agent, request } from "undici";
import { hostOf, mayConnect } from "./address.ts";

/** The answer's status, or the reason why there is none. */
export type PostResult =
  | { readonly status: number; readonly retryAfter: string | undefined }
  | { readonly fault: "ADDRESS_REFUSED" | "TIMED_OUT" | "UNREACHABLE" };

export interface Post extends AsyncDisposable {
  /** Throws only when `signal` aborts. */
  send(
    url: string,
    message: { readonly headers: Readonly<Record<string, string>>; readonly body: string },
    signal: AbortSignal,
  ): Promise<PostResult>;
}

/** The signature of `dns.lookup` with `all: true`. */
export type Resolve = (
  hostname: string,
  options: LookupAllOptions,
  callback: (fault: NodeJS.ErrnoException | null, found: LookupAddress[]) => void,
) => void;

class AddressRefused extends Error {
  override readonly name = "AddressRefused";
}

const TIMEOUT_MS = 5_000;
/** An answer's body is unused; this much is read so that the connection can be reused. */
const BODY_BYTES = 16_384;

/** Has connections of its own, which disposing closes. `resolve` defaults to the system's resolver. */
export function createPost(options: { allowPrivate: boolean; timeoutMs?: number; resolve?: Resolve }): Post {
  const { allowPrivate, timeoutMs = TIMEOUT_MS, resolve = lookup } = options;
  const agentFor = (protocol: string): Agent =>
    new Agent({
      connect: {
        lookup: guardedLookup(resolve, (address) => mayConnect(protocol, address, allowPrivate)),
        timeout: timeoutMs,
      },
      connections: 8,
      pipelining: 1,
      maxResponseSize: BODY_BYTES,
    });
  const agents = new Map(["http:", "https:"].map((protocol) => [protocol, agentFor(protocol)]));

  return {
    async send(url, { headers, body }, signal) {
      const target = URL.parse(url);
      const dispatcher = agents.get(target?.protocol ?? "");
      if (target === null || dispatcher === undefined) return { fault: "ADDRESS_REFUSED" };
      const host = hostOf(target);
      // An IP address is never looked up, so check it here.
      if (isIP(host) !== 0 && !mayConnect(target.protocol, host, allowPrivate)) return { fault: "ADDRESS_REFUSED" };
      const late = AbortSignal.timeout(timeoutMs);
      try {
        const bounded = AbortSignal.any([signal, late]);
        const response = await request(target, { method: "POST", dispatcher, headers, body, signal: bounded });
        // The status decides; a fault while reading the body changes nothing.
        await response.body.dump({ limit: BODY_BYTES, signal: bounded }).catch(() => undefined);
        const retryAfter = response.headers["retry-after"];
        return {
          status: response.statusCode,
          retryAfter: typeof retryAfter === "string" ? retryAfter : undefined,
        };
      } catch (cause) {
        signal.throwIfAborted();
        if (late.aborted) return { fault: "TIMED_OUT" };
        return { fault: cause instanceof AddressRefused ? "ADDRESS_REFUSED" : "UNREACHABLE" };
      }
    },

    [Symbol.asyncDispose]: async () => void (await Promise.all([...agents.values()].map((agent) => agent.destroy()))),
  };
}

/** Resolves only to permitted addresses, which are the ones connected to, so DNS rebinding has no effect. */
function guardedLookup(resolve: Resolve, permits: (address: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (fault, found) => {
      if (fault !== null) return callback(fault, []);
      const permitted = found.filter(({ address }) => permits(address));
      const [first] = permitted;
      if (first === undefined) return callback(new AddressRefused(`${hostname} is at no permitted address`), []);
      if (options.all === true) return callback(null, permitted);
      return callback(null, first.address, first.family);
    });
  };
}
