import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold, histories, replicaId } from "./history.fixture.ts";
import type { Applied, Context } from "./kind.ts";
import { payloads } from "./payload.fixture.ts";
import type { Payload } from "./payload.ts";
import { MAX_DEVICES, progress, resumeOf } from "./progress.ts";
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
      context: Partial<Context & Pick<Report, "epoch">> = {},
    ) => {
      const { epoch = 0, ...rest } = context;
      return film.do(replica, { type: "REPORT", epoch, position, duration: 7_000, unit: "SECONDS", intent }, rest);
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
