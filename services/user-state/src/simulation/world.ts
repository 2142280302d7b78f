/**
 * A simulated world: a person with several devices, a server and a bad network, in virtual time; everything follows
 * from a seed. The devices run `@continuo/replica`, the server its real use cases over a store in memory; the rest is
 * chance, faults, and the oracle that checks the promises (`oracle.ts`).
 */
import { createRetention } from "../retention/retention.ts";
import type { Defect } from "./defects.ts";
import { createDevice, KEYS, type Device } from "./device.ts";
import { createLeases } from "./leases.ts";
import { ALL_FIELDS, BRIEF_MS, DEFINITION, NAMES, PASSING_FIELDS, PLAIN_FIELDS } from "./life.ts";
import { createMemory, type Stored } from "./memory.ts";
import { createVirtualNetwork, TIMEOUT_MS } from "./network.ts";
import { createOracle } from "./oracle.ts";
import { createRandom } from "./random.ts";
import { assertCounted } from "./rules.ts";
import { createMemoryServer } from "./server.ts";

export interface Options {
  readonly seed: number;
  /** How many steps happen before the network heals and everything settles. */
  readonly steps: number;
  readonly defect?: Defect | undefined;
}

/** The summary of a run, identical for the same options. */
export interface Report {
  readonly changes: number;
  readonly settled: number;
  readonly refused: number;
  readonly lost: number;
  readonly doubled: number;
  readonly restores: number;
  readonly erasures: number;
  /** Units that expired. */
  readonly expired: number;
  /** A hash of everything that happened, in order. */
  readonly digest: string;
}

const START = Date.UTC(2026, 0, 1);
const DEVICES = 4;
const DAY_MS = 24 * 3_600_000;
const LONGEST_STEP_MS = 400;

/** Runs a world to its end. Throws a Violation when a promise was broken on the way. */
export async function simulate({ seed, steps, defect }: Options): Promise<Report> {
  const random = createRandom(seed);
  const counts = { changes: 0, settled: 0, refused: 0, lost: 0, doubled: 0, restores: 0, erasures: 0, expired: 0 };
  let digest = 0;
  let time = START;
  const now = (): number => time;
  let backup: { readonly stored: Stored; readonly mark: number } | undefined;
  const isOld = random.chance(0.25);
  // A restored backup brings back erased state, which the operator must erase again.
  const isErasing = seed % 5 === 3;
  const isRestored = random.chance(0.2) && !isErasing;

  const memory = createMemory(random.uuid(), { now, counts });
  // Texts are slow: one world in seven has them.
  const isPassing = seed % 6 === 2;
  const fields = isPassing ? PASSING_FIELDS : seed % 7 === 3 ? ALL_FIELDS : PLAIN_FIELDS;
  const oracle = createOracle({ now, travelMs: TIMEOUT_MS + LONGEST_STEP_MS, fields, hearsAll: true });
  const network = createVirtualNetwork({ random, now, counts });
  const isCalm = (): boolean => network.isHealed;
  const server = createMemoryServer({ memory, random, oracle, isCalm, now, defect });
  // In one world in five devices take over from each other, unless months pass: fences are not remembered for ever.
  const leases = seed % 5 === 1 && !isOld ? createLeases({ memory, random, oracle, now }) : undefined;
  const retain = createRetention(memory.retention);
  const erase = isErasing ? server.erase : undefined;
  const surroundings = { random, now, server, erase, leases, network, oracle, defect, counts };
  const devices = Array.from({ length: DEVICES }, () =>
    createDevice(surroundings, () => Math.round((random.next() * 2 - 1) * 2 * DAY_MS)),
  );

  const note = (what: string): void => {
    for (const character of what) digest = (Math.imul(digest, 31) + character.charCodeAt(0)) >>> 0;
  };

  async function step(): Promise<void> {
    const device = random.pick(devices);
    const roll = random.below(100);
    if (roll < 25) device.act();
    else if (roll < 40 && !device.isOffline) device.push();
    else if (roll < 50 && !device.isOffline) device.pull();
    else if (roll < 58 && !device.isOffline) device.listen();
    else if (roll < 92) await network.deliverOne();
    else if (roll < 95) device.isOffline = !device.isOffline;
    else if (roll < 96) device.setClock(Math.round((random.next() * 2 - 1) * 3_600_000));
    else if (roll < 97 && isOld)
      await (random.chance(0.5) ? pass(random.pick([1, 30, 100, 200]) * DAY_MS) : absence(device));
    else if (roll < 98 && isRestored) backUpOrRestore();
    if (leases !== undefined && random.chance(0.05)) device.takeOver(random.pick(KEYS));
    if (isErasing && random.chance(0.01)) {
      device.erase(random.chance(0.4) ? undefined : [isPassing ? random.pick(NAMES) : DEFINITION.name]);
      counts.erasures += 1;
    }
    time += random.below(LONGEST_STEP_MS);
    network.expire();
    oracle.check(memory.stored());
    note(`${roll} ${device.replica.queue.length} ${memory.stored().head.rev};`);
  }

  async function pass(ms: number): Promise<void> {
    time += ms;
    network.clear();
    const { prunedRev } = memory.stored().head;
    await retain(new AbortController().signal);
    if (defect === "GC_WITHOUT_FENCE") {
      const stored = memory.stored();
      memory.restore({ ...stored, head: { ...stored.head, prunedRev } });
    }
  }

  /** A device makes a change and stays offline for months while the others continue. */
  async function absence(absent: Device): Promise<void> {
    const where = { key: "a", field: random.pick(["title", "title", "info", "note"] as const) };
    absent.isOffline = true;
    absent.act(where);
    for (const months of [1, 3, 3]) {
      for (const device of devices.filter((each) => each !== absent)) {
        device.isOffline = false;
        device.act(where);
        for (let tries = 0; tries < 3; tries += 1) {
          device.push();
          device.pull();
          await network.deliverAll();
        }
      }
      await pass(months * 31 * DAY_MS);
    }
    absent.isOffline = false;
  }

  function backUpOrRestore(): void {
    if (backup === undefined) {
      backup = { stored: memory.stored(), mark: oracle.mark() };
      return;
    }
    const { head } = backup.stored;
    const epoch = defect === "RESET_TOKEN_REUSED" ? head.epoch : random.uuid();
    memory.restore({ ...backup.stored, head: { ...head, epoch } });
    oracle.restored(backup.mark);
    for (const device of devices) device.hangUp();
    backup = undefined;
    counts.restores += 1;
  }

  for (let taken = 0; taken < steps; taken += 1) await step();

  network.heal();
  for (const device of devices) device.isOffline = false;
  for (let round = 0; round < 60; round += 1) {
    for (const device of devices) {
      device.push();
      device.pull();
      await network.deliverAll();
    }
    time += 100;
  }
  const fresh = createDevice(surroundings, () => 0);
  for (let round = 0; round < 400 && (round === 0 || fresh.replica.staged !== null); round += 1) {
    fresh.pull();
    await network.deliverAll();
  }
  oracle.end(
    memory.stored(),
    [...devices, fresh].map(({ replica }) => replica),
  );
  assertCounted(memory.stored().head.usage, memory.stored().units.values());
  time += BRIEF_MS;
  if (isPassing) oracle.alone(devices);
  return { ...counts, digest: digest.toString(16) };
}
