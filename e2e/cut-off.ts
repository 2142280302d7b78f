/** What signing out does to open sockets: which ones it ends, with which reason, and how soon. */
import { expect } from "vitest";
import type { z } from "zod";
import type { CountingSocket, Member, SocketEnd } from "./crowd.ts";
import { ask, eventually } from "./graph-client.ts";
import { RECEIPT, SIGN_OUT_DEVICE } from "./operations.ts";
import type { System } from "./system.ts";

/** Far above any expected latency; the measured ones are printed. Milliseconds. */
const CLOSE_TIMEOUT_MS = 5_000;

/** The two devices of each person. */
export function pairsOf(members: readonly Member[]): (readonly [Member, Member])[] {
  const pairs: (readonly [Member, Member])[] = [];
  for (const [index, first] of members.entries()) {
    const second = members[index + 1];
    if (second?.userId === first.userId) pairs.push([first, second]);
  }
  return pairs;
}

type Asked<Operation> = Operation extends { data: z.ZodType<infer Data> } ? Data : never;

/** The answer to signing out a device. */
export type SignOut = Asked<typeof SIGN_OUT_DEVICE>["signOutDevice"];
/** When the sign-out was committed. */
export async function atOf({ receipt }: SignOut): Promise<Date> {
  if (!receipt) throw new Error("nobody was signed out");
  return new Date(receipt.at);
}

/** How the socket ended. Throws if it stays open. */
export async function endOf({ ended }: CountingSocket): Promise<SocketEnd> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("a socket stayed open")), 2 * CLOSE_TIMEOUT_MS);
  });
  return Promise.race([ended, late]).finally(() => clearTimeout(timer));
}

/** How long after `at` each socket was told the reason `why` and closed. */
export async function cutOff(sockets: readonly CountingSocket[], why: string, at: Date): Promise<number[]> {
  const ends = await Promise.all(sockets.map(endOf));
  for (const { code, reason } of ends) expect(`${code} ${reason}`).toBe(`4403 SESSION_ENDED: ${why}`);
  for (const { lastWords } of sockets) expect(lastWords).toEqual(["SESSION_ENDED"]);
  const latencies = ends.map((end) => end.at - at.getTime());
  expect(Math.max(...latencies)).toBeLessThan(CLOSE_TIMEOUT_MS);
  return latencies;
}

/** Checks the complete receipt: `sockets` sockets were closed, and every gateway acknowledged. */
async function confirmed(
  system: System,
  { accessToken }: Member,
  { receipt }: SignOut,
  sockets: number,
): Promise<void> {
  const { revocationReceipt } = await eventually(
    "a complete receipt",
    () => ask(system.urls[0], RECEIPT, { seq: receipt?.seq }, accessToken),
    (answer) => answer.revocationReceipt.completedAt !== null,
  );
  expect(revocationReceipt.pendingReplicas).toEqual([]);
  expect(revocationReceipt.acks.reduce((sum, ack) => sum + ack.socketsClosed, 0)).toBe(sockets);
  expect(revocationReceipt.acks).toHaveLength(system.urls.length);
}

/**
 * The laptop signs the phone out and checks the receipt. Resolves to how long after the sign-out each of the phone's
 * sockets closed.
 */
export async function signOutPhone([laptop, phone]: readonly [Member, Member], system: System): Promise<number[]> {
  const { signOutDevice } = await ask(system.urls[0], SIGN_OUT_DEVICE, { id: phone.deviceId }, laptop.accessToken);
  const latencies = await cutOff(phone.sockets, "SIGNED_OUT_REMOTELY", await atOf(signOutDevice));
  await confirmed(system, laptop, signOutDevice, phone.sockets.length);
  return latencies;
}

/** Prints the median and the 99th percentile. */
export function say(what: string, latencies: readonly number[]): void {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share: number): string => `${Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN)} ms`;
  process.stdout.write(`  ${what}: p50 ${at(0.5)}, p99 ${at(0.99)} of ${sorted.length}\n`);
}
