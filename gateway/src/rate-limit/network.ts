/** Where a request comes from, as coarsely as addresses are given out: to a household, a campus or a rented machine. */
import type { IncomingMessage } from "node:http";
import ipaddr from "ipaddr.js";
import { LRUCache } from "lru-cache";

const PREFIX_BITS = { ipv4: 24, ipv6: 64 };
/** Of addresses, and of networks: reading one costs more than all else that is done with it. */
const REMEMBERED = 10_000;
/** What is longer, a client has made up. */
const LONGEST = 64;

/** What `read` said of a text before. */
function remembering(read: (text: string) => string | undefined): (text: string) => string | undefined {
  const known = new LRUCache<string, { readonly said: string | undefined }>({ max: REMEMBERED });
  return (text) => {
    const seen = known.get(text);
    if (seen) return seen.said;
    const said = read(text);
    if (text.length <= LONGEST) known.set(text, { said });
    return said;
  };
}

/** The network of a request's sender; undefined for this machine. */
export type NetworkOf = (request: Pick<IncomingMessage, "headers" | "socket">) => string | undefined;

/**
 * The network of a request's sender as a prefix, for example `192.0.2.0/24`. Each of `trustedProxyHops` proxies in front
 * has appended to X-Forwarded-For; what stands before that, clients may have made up. Undefined for this machine itself:
 * whoever forgets to say that a proxy runs on it must not share one limit with everybody.
 */
export function networkOf(
  {
    headers,
    socket,
  }: Pick<IncomingMessage, "headers"> & { readonly socket: { readonly remoteAddress?: string | undefined } },
  trustedProxyHops: number,
): string | undefined {
  const forwarded = String(headers["x-forwarded-for"] ?? "")
    .split(",")
    .map((address) => address.trim());
  const address = trustedProxyHops > 0 ? forwarded.at(-trustedProxyHops) || forwarded[0] : undefined;
  return prefixOf(address || (socket.remoteAddress ?? ""));
}

/** IPv6 as a session remembers it: what a customer is given, not a network of theirs. */
const REMEMBERED_BITS = 48;

/** What a session remembers of a network: `192.0.2.0/24`, `2001:db8:1::/48`; undefined where that is not known. */
export function ipPrefixOf(network: string | undefined): string | undefined {
  return network === undefined ? undefined : rememberedPrefixOf(network);
}

const rememberedPrefixOf = remembering((network) => {
  if (!ipaddr.isValidCIDR(network)) return undefined;
  const [address] = ipaddr.parseCIDR(network);
  return address.kind() === "ipv6" ? `${truncate(address, REMEMBERED_BITS)}/${REMEMBERED_BITS}` : network;
});

const prefixOf = remembering((address) => {
  // Nobody's address: all of those share one limit.
  if (!ipaddr.isValid(address)) return "unknown";
  const parsed = ipaddr.process(address);
  if (parsed.range() === "loopback") return undefined;
  const bits = PREFIX_BITS[parsed.kind()];
  return `${truncate(parsed, bits)}/${bits}`;
});

function truncate(address: ipaddr.IPv4 | ipaddr.IPv6, bits: number): string {
  const bytes = address.toByteArray().map((byte, index) => (index * 8 < bits ? byte : 0));
  return ipaddr.fromByteArray(bytes).toString();
}
