import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold, histories, replicaId } from "./history.fixture.ts";
import type { Applied, Context } from "./kind.ts";
import { payloads } from "./payload.fixture.ts";
import type { Payload } from "./payload.ts";
import { fenced, MAX_DEVICES, progress, resumeOf } from "./progress.ts";
import { compareStamps } from "./stamp.ts";
import type { ProgressState } from "./state.ts";

type Report = Extract<Payload<"PROGRESS">, { type: "REPORT" }>;

const PHONE = 0;
const TV = 1;

/** A film somebody watches: what is done to it, one thing a second. */
function createFilm() {
  let rev = 0;
  const film = {
    state: progress.initial,
    do(replica: number, payload: Payload<"PROGRESS">, context: Partial<Context> = {}): Applied<ProgressState> {
      rev += 1;
      const stamp = { ms: rev * 1_000, counter: 0, clientId: replicaId(replica) };
      const deviceId = replicaId(replica, "d");
      const applied = progress.apply(film.state, payload, {
        stamp,
        seen: null,
        deviceId,
        baseRev: rev - 1,
        rev,
        ...context,
      });
      film.state = applied.state;
      return applied;
    },
    report: (
      replica: number,
      intent: Report["intent"],
      position: number,
      context: Partial<Context & Pick<Report, "epoch" | "fence">> = {},
    ) => {
      const { epoch = 0, fence, ...rest } = context;
      const lease = fence === undefined ? {} : { fence };
      const report = { type: "REPORT", epoch, position, duration: 7_000, unit: "SECONDS", intent, ...lease } as const;
      return film.do(replica, report, rest);
    },
    takeOver: (fence: number) => {
      film.state = fenced(film.state, fence);
    },
    answer: () => resumeOf(film.state).answer?.position ?? null,
  };
  return film;
}

describe("progress", () => {
  it("goes on where somebody acted last, of all devices and in whatever order they are heard", () => {
    fc.assert(
      fc.property(histories(progress, payloads.PROGRESS), ({ rounds, otherwise }) => {
        const { state } = fold(progress, otherwise);
        const reports = rounds.flat().flatMap(({ payload, context }) => {
          if (payload.type === "RESTART" || payload.epoch !== state.epoch) return [];
          return [{ ...payload, stamp: context.stamp }];
        });
        const acted = reports.filter(({ intent }) => intent !== "PASSIVE");
        const [last] = acted.toSorted((one, other) => compareStamps(other.stamp, one.stamp));
        expect(resumeOf(state).answer?.stamp).toEqual(last?.stamp);
        const furthest = acted.length === 0 ? undefined : Math.max(...acted.map(({ position }) => position));
        expect(resumeOf(state).furthest?.position).toBe(furthest);
      }),
      { numRuns: 500 },
    );
  });

  it("is not moved by a television that was left paused", () => {
    const film = createFilm();
    film.report(TV, "PAUSE", 50);
    film.report(PHONE, "PLAY", 60);
    film.report(PHONE, "PAUSE", 3_000);
    for (let heartbeat = 0; heartbeat < 3; heartbeat += 1)
      expect(film.report(TV, "PASSIVE", 50)).toMatchObject({ outcome: "APPLIED" });
    expect(film.answer()).toBe(3_000);
    expect(resumeOf(film.state, "FURTHEST").answer?.position).toBe(3_000);
    expect(resumeOf(film.state).alternatives).toMatchObject([{ position: 50, intent: "PASSIVE" }]);
  });

  it("is not lost when the only device goes on reporting passively", () => {
    const film = createFilm();
    film.report(TV, "PAUSE", 50);
    film.report(TV, "PASSIVE", 4_000);
    expect(film.answer()).toBe(50);
    expect(resumeOf(film.state).furthest?.position).toBe(50);
  });

  it("is furthest where somebody was first, whoever is heard first", () => {
    for (const phoneFirst of [true, false]) {
      const film = createFilm();
      for (const replica of phoneFirst ? [PHONE, TV] : [TV, PHONE])
        film.report(replica, "PAUSE", 3_000, { stamp: { ms: replica, counter: 0, clientId: replicaId(replica) } });
      expect(resumeOf(film.state).furthest?.deviceId).toBe(replicaId(PHONE, "d"));
    }
  });

  it("has no answer as long as nobody acted", () => {
    const film = createFilm();
    film.report(TV, "PASSIVE", 50);
    expect(resumeOf(film.state)).toEqual({ epoch: 0, answer: null, alternatives: [], furthest: null });
  });

  it("goes back when somebody rewinds, unless the policy is FURTHEST", () => {
    const film = createFilm();
    film.report(PHONE, "PLAY", 3_000);
    film.report(PHONE, "SEEK", 100);
    expect(film.answer()).toBe(100);
    const furthest = resumeOf(film.state, "FURTHEST");
    expect(furthest.answer?.position).toBe(3_000);
    expect(furthest.alternatives).toMatchObject([{ position: 100 }]);
  });

  it("begins again in a new epoch, and what is late from the old one counts no more", () => {
    const film = createFilm();
    film.report(TV, "FINISH", 7_000);
    expect(film.do(PHONE, { type: "RESTART", epoch: 1 }).outcome).toBe("APPLIED");
    expect(film.do(TV, { type: "RESTART", epoch: 1 }).outcome).toBe("NOOP");
    expect(progress.view(film.state)).toBeUndefined();
    expect(film.report(TV, "FINISH", 7_000)).toMatchObject({ outcome: "SUPERSEDED", losers: [{ value: 7_000 }] });
    film.report(PHONE, "PLAY", 10, { epoch: 1 });
    expect(progress.view(film.state)).toMatchObject({ epoch: 1, answer: { position: 10 }, furthest: { position: 10 } });
  });

  it("offers other devices only when they are materially elsewhere", () => {
    const film = createFilm();
    film.report(TV, "PAUSE", 1_000);
    film.report(PHONE, "PAUSE", 1_100);
    expect(resumeOf(film.state).alternatives).toEqual([]);
    film.report(PHONE, "PAUSE", 1_141);
    expect(resumeOf(film.state).alternatives).toMatchObject([{ position: 1_000 }]);
  });

  it("asks the person only when devices went different ways without knowing of each other", () => {
    const film = createFilm();
    film.report(TV, "PAUSE", 1_000);
    film.report(PHONE, "PAUSE", 3_000);
    expect(resumeOf(film.state, "ASK").answer?.position).toBe(3_000);
    film.report(TV, "PAUSE", 2_000, { baseRev: 1 });
    const asked = resumeOf(film.state, "ASK");
    expect(asked.answer).toBeNull();
    expect(asked.alternatives.map(({ position }) => position)).toEqual([2_000, 3_000]);
    film.report(PHONE, "PLAY", 3_000);
    expect(resumeOf(film.state, "ASK").answer?.position).toBe(3_000);
  });

  it("never asks somebody who uses one device, however it rounds", () => {
    const film = createFilm();
    film.report(PHONE, "PAUSE", 1_000, { baseRev: 0 });
    film.report(PHONE, "PAUSE", 3_000, { baseRev: 0 });
    expect(resumeOf(film.state, "ASK").answer?.position).toBe(3_000);
  });

  it("remembers so many devices, and of those the ones that acted last", () => {
    const film = createFilm();
    for (let device = 0; device < 2 * MAX_DEVICES; device += 1) {
      film.report(device % 10 === 0 ? 9 : device, device % 2 === 0 ? "PLAY" : "PASSIVE", device);
      expect(film.answer()).toBe(device % 2 === 0 ? device : device - 1);
    }
    expect(film.state.devices).toHaveLength(MAX_DEVICES);

    const cinema = createFilm();
    cinema.report(PHONE, "PAUSE", 3_000);
    for (let device = 1; device <= MAX_DEVICES; device += 1) cinema.report(device, "PASSIVE", device);
    expect(cinema.answer()).toBe(3_000);
  });
});

describe("progress that a device has taken over", () => {
  it("is where it was, and goes on where the new holder goes", () => {
    const film = createFilm();
    film.report(TV, "PLAY", 1_000, { fence: 1 });
    film.takeOver(2);
    expect(film.answer()).toBe(1_000);
    expect(film.report(PHONE, "SEEK", 200, { fence: 2 })).toMatchObject({ outcome: "APPLIED" });
    expect(film.answer()).toBe(200);
  });

  it("is not moved by the device that held it, which keeps its own place", () => {
    const film = createFilm();
    film.report(TV, "PLAY", 1_000, { fence: 1 });
    film.takeOver(2);
    for (const intent of ["PLAY", "SEEK", "FINISH", "PASSIVE"] as const) {
      expect(film.report(TV, intent, 5_000, { fence: 1 })).toMatchObject({ outcome: "MERGED" });
      for (const policy of ["LATEST_INTENT", "FURTHEST", "ASK"] as const)
        expect(resumeOf(film.state, policy)).toMatchObject({
          answer: { position: 1_000 },
          furthest: { position: 1_000 },
        });
      expect(film.state.devices).toMatchObject([{ latest: { position: 5_000, intent } }]);
      // It is still there to choose.
      const places = intent === "PASSIVE" ? [] : [5_000];
      expect(resumeOf(film.state).alternatives.map(({ position }) => position)).toEqual(places);
    }
    film.report(PHONE, "PLAY", 1_010, { fence: 2 });
    expect(resumeOf(film.state).alternatives).toMatchObject([{ position: 5_000 }]);
  });

  it("is not begun anew by the device that held it", () => {
    const film = createFilm();
    film.report(TV, "PLAY", 1_000, { fence: 1 });
    film.takeOver(2);
    expect(film.do(TV, { type: "RESTART", epoch: 1, fence: 1 })).toMatchObject({ outcome: "SUPERSEDED" });
    expect(film.report(TV, "PLAY", 10, { epoch: 1, fence: 1 })).toMatchObject({
      outcome: "SUPERSEDED",
      losers: [{ value: 10 }],
    });
    expect(film.answer()).toBe(1_000);
    film.do(PHONE, { type: "RESTART", epoch: 1, fence: 2 });
    expect(film.state).toEqual({ epoch: 1, devices: [], furthest: null, fence: 2 });
    film.report(PHONE, "PLAY", 5, { epoch: 1 });
    expect(film.report(TV, "PLAY", 20, { epoch: 1, fence: 1 }).outcome).toBe("MERGED");
    expect(film.answer()).toBe(5);
  });

  it("follows whoever holds no lease by their stamps, and believes no fence that was never given", () => {
    const film = createFilm();
    film.takeOver(2);
    film.report(PHONE, "PLAY", 10);
    expect(film.answer()).toBe(10);
    film.report(TV, "PLAY", 20, { fence: 1_000_000_000 });
    expect(film.answer()).toBe(20);
    expect(film.state.fence).toBe(2);
    film.report(PHONE, "PLAY", 30, { fence: 2 });
    expect(film.answer()).toBe(30);
  });

  it("stays taken over: an older fence than its own changes nothing", () => {
    const film = createFilm();
    film.takeOver(3);
    const { state } = film;
    film.takeOver(2);
    expect(film.state).toBe(state);
  });

  it("is moved by nothing under an older fence, whatever else happened and in whatever order", () => {
    fc.assert(
      fc.property(histories(progress, payloads.PROGRESS), fc.nat(20), ({ otherwise }, at) => {
        let state = fold(progress, otherwise.slice(0, at)).state;
        state = fenced(state, 1);
        for (const [index, { payload, context }] of otherwise.slice(at).entries()) {
          const before = state;
          ({ state } = progress.apply(state, { ...payload, fence: 0 }, { ...context, rev: at + index + 1 }));
          for (const policy of ["LATEST_INTENT", "FURTHEST", "ASK"] as const)
            expect(resumeOf(state, policy).answer).toEqual(resumeOf(before, policy).answer);
          expect(state).toMatchObject({ epoch: before.epoch, furthest: before.furthest, fence: 1 });
        }
      }),
      { numRuns: 500 },
    );
  });
});
