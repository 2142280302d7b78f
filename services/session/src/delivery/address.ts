/**
 * Where a delivery may go. Operators enter the addresses and foreign name servers resolve them, so each address is
 * checked when connecting. Not a firewall: an installation may forbid more.
 */
import { BlockList, isIP } from "node:net";

/** Special-purpose networks that the internet does not route (RFC 6890), and tunnels to them. */
const special = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const) {
  special.addSubnet(network, prefix, "ipv4");
}
for (const [network, prefix] of [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
] as const) {
  special.addSubnet(network, prefix, "ipv6");
}
const unicast = new BlockList();
unicast.addSubnet("2000::", 3, "ipv6");

/** Whether an IP address belongs to the public internet. */
export function isPublicAddress(address: string): boolean {
  if (isIP(address) === 4) return !special.check(address, "ipv4");
  return isIP(address) === 6 && unicast.check(address, "ipv6") && !special.check(address, "ipv6");
}

/** Public addresses only over https; private ones over http or https, only where the installation allows it. */
export function mayConnect(protocol: string, address: string, allowPrivate: boolean): boolean {
  return isPublicAddress(address) ? protocol === "https:" : allowPrivate;
}

/** The fault of an address that an operator enters; undefined when there is none. Host names are checked on use. */
export function faultOfAddress(url: string, allowPrivate: boolean): string | undefined {
  const parsed = URL.parse(url);
  if (parsed === null) return "not an address";
  if (parsed.protocol !== "https:" && !(allowPrivate && parsed.protocol === "http:")) return "not https";
  if (parsed.username !== "" || parsed.password !== "") return "has a user or password in it";
  if (url.includes("#")) return "has a fragment";
  const host = hostOf(parsed);
  if (isIP(host) !== 0 && !mayConnect(parsed.protocol, host, allowPrivate)) return "a private address";
  return undefined;
}

/** The host as Node's resolver wants it: an IPv6 address without its brackets. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}
