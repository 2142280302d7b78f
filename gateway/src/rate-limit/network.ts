/**
 * A request's network, at the granularity in which addresses are assigned: to a household, a campus or a rented
 * machine.
 */
import type { IncomingMessage } from "node:http";
import ipaddr from "ipaddr.js";
import { LRUCache } from "lru-cache";

const PREFIX_BITS = { ipv4: 24, ipv6: 64 };
/**
 * The number of addresses, and of networks, whose parsed form is cached: parsing costs more than everything else here.
 */
const REMEMBERED = 10_000;
/** No address is longer, so longer text was made up by a client and is not cached. */
const LONGEST = 64;

/** Caches the results of `read`. */
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
 * The network of a request's sender as a prefix, for example `192.0.2.0/24`. Each of the `trustedProxyHops` proxies in
 * front appends to X-Forwarded-For; entries before theirs may be forged by clients. Undefined for this machine itself,
 * so that an operator who forgets to configure a local proxy does not put all clients under one limit.
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

/**
 * The IPv6 prefix length that a session stores: what a provider assigns to a customer, not one of the customer's
 * networks.
 */
const REMEMBERED_BITS = 48;

/**
 * The prefix that a session stores for a network: `192.0.2.0/24`, `2001:db8:1::/48`; undefined if the network is not
 * known.
 */
export function ipPrefixOf(network: string | undefined): string | undefined {
  return network === undefined ? undefined : rememberedPrefixOf(network);
}

const rememberedPrefixOf = remembering((network) => {
  if (!ipaddr.isValidCIDR(network)) return undefined;
  const [address] = ipaddr.parseCIDR(network);
  return address.kind() === "ipv6" ? `${truncate(address, REMEMBERED_BITS)}/${REMEMBERED_BITS}` : network;
});

const prefixOf = remembering((address) => {
  // Senders without a valid address share one limit.
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
