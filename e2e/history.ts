/**
 * A simulated world's activity, against a real server: a person with several devices whose clocks are wrong, a bad
 * network, and the same oracle to check against. A seed determines what they do, but not how fast the server is.
 */
import { PushRequest } from "@continuo/merge/protocol";
import {
  ALL_FIELDS,
  BRIEF,
  BRIEF_FIELDS,
  createDevice,
  createOracle,
  createRandom,
  type Device,
  type Network,
  type Stood,
  type StoodUnit,
} from "@continuo/user-state/simulation";
import type { HttpFault } from "@continuo/testkit";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { isTransient, type Ground } from "./state-client.ts";

export interface HistoryReport {
  readonly changes: number;
  readonly settled: number;
  readonly refused: number;
  /** Entries that stood when everything was erased. */
  readonly erased: number;
  /** Unexpired TTL entries while everything was at rest, and their tombstones after expiry. */
  readonly kept: number;
  readonly expired: number;
  /** How often each network fault occurred. */
  readonly faults: Readonly<Record<HttpFault, number>>;
}

const DEVICES = 4;
const HOUR_MS = 3_600_000;
/** How long the devices are used offline before they first connect. */
const OFFLINE_HOURS = 8;
const LONGEST_STEP_MS = 30;
const LONGEST_DELAY_MS = 150;
/** Longest time that a push takes, waiting for a connection to Postgres and for the network. */
const TRAVEL_MS = 8_000;
const UNAUTHENTICATED = 0.03;
const ROUNDS = 100;

const Outcome = z.object({
  seq: z.number(),
  status: z.string(),
  rev: z.number().nullable(),
  stamp: z.object({ ms: z.number(), counter: z.number(), clientId: z.string() }).nullable(),
  first: z.object({ status: z.string() }).nullable(),
});
const Asked = z.object({ variables: z.object({ input: PushRequest }) });
const Told = z.object({
  data: z.object({ pushState: z.object({ outcomes: z.array(Outcome), headRev: z.number() }) }),
});

/**
 * Resolves as soon as that many more pushes have been answered, so that a process killed then dies in the middle of its work.
 */
export type Load = (answers: number) => Promise<void>;

interface Lives {
  readonly seeds: readonly number[];
  readonly steps: number;
  readonly rage: (load: Load) => Promise<void>;
  /** Waits until all TTL entries have expired, and has them tombstoned; without it, no entry has a TTL. */
  readonly expireAndRetain?: () => Promise<void>;
}

/** Lives a history for each seed on the same ground, all in parallel and for as long as `rage` lasts. See `liveOne`. */
export async function liveThrough(
  ground: Ground,
  { seeds, steps, rage, expireAndRetain }: Lives,
): Promise<HistoryReport[]> {
  let isOver = false;
  let answers = 0;
  let waiting: { until: number; go: () => void } | undefined;
  const answered = (): void => {
    answers += 1;
    if (waiting !== undefined && answers >= waiting.until) waiting.go();
  };
  const load: Load = async (more) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting = { until: answers + more, go: resolve };
    await promise;
  };
  const isUnderFire = (): boolean => !isOver;
  const together = expireAndRetain && onceFor(seeds.length, expireAndRetain);
  const raging = rage(load).finally(() => (isOver = true));
  const [reports] = await Promise.all([
    Promise.all(
      seeds.map((seed) => liveOne(ground, { seed, steps, isUnderFire, answered, expireAndRetain: together })),
    ),
    raging,
  ]);
  return reports;
}

/** Runs `work` once, for all, when `many` callers have asked for it. */
function onceFor(many: number, work: () => Promise<void>): () => Promise<void> {
  const done = Promise.withResolvers<void>();
  let asked = 0;
  return () => {
    asked += 1;
    if (asked === many) done.resolve(work());
    return done.promise;
  };
}

/**
 * Takes at least `steps` steps, and continues while `isUnderFire`, calling `answered` for each push that is answered;
 * then the network heals and everything comes to rest. The person erases everything, lives on for a quarter as long,
 * and everything comes to rest again. TTL entries are there at that point, and nowhere once they have expired and
 * `expireAndRetain` is done. Throws a Violation when a promise was broken.
 */
async function liveOne(
  ground: Ground,
  options: {
    seed: number;
    steps: number;
    isUnderFire: () => boolean;
    answered: () => void;
    expireAndRetain: (() => Promise<void>) | undefined;
  },
): Promise<HistoryReport> {
  const { seed, steps, isUnderFire, answered, expireAndRetain } = options;
  const random = createRandom(seed);
  const counts = { changes: 0, settled: 0, refused: 0, erased: 0, kept: 0, expired: 0 };
  const fields = expireAndRetain === undefined ? ALL_FIELDS : [...ALL_FIELDS, ...BRIEF_FIELDS];
  let isHealed = false;
  let backMs = 0;
  let mistake: { readonly cause: unknown } | undefined;
  let lookedAt: number | undefined;
  const now = (): number => lookedAt ?? Date.now() - backMs;
  const oracle = createOracle({ now, travelMs: TRAVEL_MS, fields, hearsAll: false });
  await using connection = await ground.connect({
    faultOf: () => (isHealed ? "NONE" : faultOf(random.next())),
    lateMs: () => random.below(LONGEST_DELAY_MS),
    isSignedOut: () => !isHealed && random.chance(UNAUTHENTICATED),
    overheard(request, answer) {
      const asked = Asked.safeParse(JSON.parse(request));
      const told = Told.safeParse(JSON.parse(answer));
      if (!asked.success || !told.success) return;
      try {
        oracle.committed({ request: asked.data.variables.input, ...told.data.data.pushState });
      } catch (cause) {
        // Thrown from here, it would look like a network fault.
        mistake ??= { cause };
      }
      answered();
    },
  });

  const under = new Set<Promise<void>>();
  const network: Network = {
    send(_sender, ask, answer) {
      const way: Promise<void> = ask()
        .then(answer)
        .catch((cause: unknown) => {
          if (!isTransient(cause)) mistake ??= { cause };
        })
        .finally(() => under.delete(way));
      under.add(way);
    },
  };
  const surroundings = { random, now, server: connection.server, network, oracle, defect: undefined, counts };
  const ids = await Promise.all(Array.from({ length: DEVICES }, () => connection.enrol()));
  const devices = ids.map((id) =>
    createDevice(surroundings, () => Math.round((random.next() * 2 - 1) * 48 * HOUR_MS), id),
  );

  // Long ago, and not in the order of arrival.
  for (const device of devices)
    for (backMs = OFFLINE_HOURS * HOUR_MS; backMs > 0; backMs -= random.below(2 * HOUR_MS))
      device.act({ key: random.pick(["a", "b", "old"]) });
  backMs = 0;

  async function live(isOver: (taken: number) => boolean): Promise<void> {
    isHealed = false;
    for (let taken = 0; !isOver(taken); taken += 1) {
      const device = random.pick(devices);
      const roll = random.below(100);
      if (roll < 30) device.act();
      else if (roll < 60 && !device.isOffline) device.push();
      else if (roll < 75 && !device.isOffline) device.pull();
      else if (roll < 90 && !device.isOffline) device.listen();
      else if (roll < 97) device.isOffline = !device.isOffline;
      else device.setClock(Math.round((random.next() * 2 - 1) * HOUR_MS));
      await delay(random.below(LONGEST_STEP_MS));
    }
  }

  const headRev = (): number => Math.max(...devices.map(({ replica }) => replica.rev));
  const isAtRest = (): boolean =>
    devices.every(({ replica: { queue, staged, rev } }) => queue.length === 0 && staged === null && rev === headRev());

  async function rest(): Promise<void> {
    isHealed = true;
    for (let round = 0; round < ROUNDS && (round < 3 || !isAtRest()); round += 1) {
      for (const device of devices) {
        device.push();
        device.pull();
      }
      await Promise.all(under);
    }
  }

  /** Checks every promise against the state at one moment. */
  async function look(known: readonly Device[]): Promise<Stood> {
    if (mistake !== undefined) throw mistake.cause;
    const stood = await connection.stood();
    lookedAt = Date.now();
    oracle.check(stood);
    oracle.end(
      stood,
      known.map(({ replica }) => replica),
    );
    lookedAt = undefined;
    return stood;
  }

  /** Writes TTL entries again, some of them where no other device writes. */
  async function keepBriefly(): Promise<void> {
    for (const [index, device] of devices.entries())
      for (const field of BRIEF_FIELDS) for (const key of ["a", `own-${index}`]) device.act({ key, field });
    await rest();
    counts.kept += briefIn(await look(devices)).filter(({ expiresAt }) => (expiresAt ?? 0) > Date.now()).length;
  }

  await live((taken) => taken >= steps && !isUnderFire());
  await rest();
  if (expireAndRetain !== undefined) await keepBriefly();
  // Erases at rest, since otherwise nobody could say which pushes came before it; changes still queued on devices count
  // as earlier.
  const { units } = await connection.stood();
  for (const device of devices) device.act();
  counts.erased = await connection.erase(ids[0] ?? "");
  if (counts.erased !== units.size) throw new Error(`${counts.erased} of ${units.size} entries were erased`);
  oracle.erased(undefined);
  await live((taken) => taken >= steps / 4);
  await rest();
  if (expireAndRetain !== undefined) {
    await keepBriefly();
    await expireAndRetain();
    await rest();
  }
  const fresh = createDevice(surroundings, () => 0, await connection.enrol());
  for (let round = 0; round < ROUNDS && (round === 0 || fresh.replica.staged !== null); round += 1) {
    fresh.pull();
    await Promise.all(under);
  }
  const all = [...devices, fresh];
  const stood = await look(all);
  oracle.expireAndRetain(
    stood,
    all.map(({ replica }) => replica),
  );
  counts.expired = briefIn(stood).filter(({ deleted }) => deleted).length;
  return { ...counts, faults: connection.counts };
}

function briefIn({ units }: Stood): StoodUnit[] {
  return [...units].flatMap(([id, unit]) => (id.startsWith(`["${BRIEF.name}"`) ? [unit] : []));
}

/** One request in five is lost, and one in four of the answers to the others. */
function faultOf(roll: number): HttpFault {
  if (roll < 0.15) return "LOSE_REQUEST";
  if (roll < 0.2) return "HALF_OPEN";
  if (roll < 0.4) return "LOSE_ANSWER";
  if (roll < 0.5) return "LATE";
  return roll < 0.58 ? "DOUBLE" : "NONE";
}
